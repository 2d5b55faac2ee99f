"""Sample events of services that call a function: S3, SNS, EventBridge, schedules (semantics 8.1 to
8.3)."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote_plus

from eventmesh.cli.samples_scene import Event, Sample, Scene, parse_object


def _s3(
    name: str,
    scene: Scene,
    *,
    bucket: str = "my-bucket",
    key: str = "photos/my cat.jpg",
    size: int = 1024,
    version_id: str = "",
) -> Event:
    """`key` as people write it; the event has it encoded. `version_id` is of a versioned bucket."""
    settings: Event = {
        "s3SchemaVersion": "1.0",
        "configurationId": scene.uuid(),
        "bucket": {
            "name": bucket,
            "ownerIdentity": {"principalId": f"A{scene.letters(13)}"},
            "arn": f"arn:aws:s3:::{bucket}",
        },
    }
    version = {"versionId": version_id} if version_id else {}
    records = []
    for number in range(scene.count):
        facts = _s3_object(name, scene, key, size, number) | version
        records.append(_s3_record(name, scene, {**settings, "object": facts}))
    return {"Records": records}


def _s3_delete_marker(
    scene: Scene,
    *,
    bucket: str = "my-bucket",
    key: str = "photos/my cat.jpg",
    version_id: str = "096fKKXTRTtl3on89fVO.nfljtsv6qko",
) -> Event:
    name = "ObjectRemoved:DeleteMarkerCreated"
    return _s3(name, scene, bucket=bucket, key=key, version_id=version_id)


def _s3_record(name: str, scene: Scene, facts: Event) -> Event:
    record: Event = {
        "eventVersion": "2.3" if name.startswith(("ObjectTagging", "ObjectAcl")) else "2.1",
        "eventSource": "aws:s3",
        "awsRegion": scene.region,
        "eventTime": scene.iso_milliseconds,
        "eventName": name,
        "userIdentity": {"principalId": f"AWS:AIDA{scene.letters(17)}"},
        "requestParameters": {"sourceIPAddress": "203.0.113.7"},
        "responseElements": {
            "x-amz-request-id": scene.letters(16),
            "x-amz-id-2": scene.token(57),
        },
        "s3": facts,
    }
    if name == "ObjectRestore:Completed":
        record["glacierEventData"] = _restored(scene)
    return record


def _restored(scene: Scene) -> Event:
    return {
        "restoreEventData": {
            "lifecycleRestorationExpiryTime": scene.iso_milliseconds,
            "lifecycleRestoreStorageClass": "GLACIER",
        }
    }


def _s3_object(name: str, scene: Scene, key: str, size: int, number: int) -> Event:
    """Deleted objects have neither size nor tag, tagged ones neither size nor sequencer."""
    facts: Event = {"key": quote_plus(key, safe="/")}
    removed = name.startswith("ObjectRemoved")
    labelled = name.startswith(("ObjectTagging", "ObjectAcl"))
    if not removed and not labelled:
        facts["size"] = size
    if not removed:
        facts["eTag"] = scene.hexadecimal(32)
    if not labelled:
        facts["sequencer"] = f"00{int(scene.now):08X}{number:08X}"
    return facts


def _s3_eventbridge(
    scene: Scene, *, bucket: str = "my-bucket", key: str = "photos/my cat.jpg", size: int = 1024
) -> Event:
    detail = {
        "version": "0",
        "bucket": {"name": bucket},
        "object": {
            "key": key,
            "size": size,
            "etag": scene.hexadecimal(32),
            "sequencer": f"00{int(scene.now):08X}{0:08X}",
        },
        "request-id": scene.letters(16),
        "requester": scene.account,
        "source-ip-address": "203.0.113.7",
        "reason": "PutObject",
    }
    return _envelope(scene, "Object Created", "aws.s3", [f"arn:aws:s3:::{bucket}"], detail)


def _sns(
    scene: Scene,
    *,
    topic: str = "my-topic",
    message: str = '{"order": 1}',
    subject: str = "",
    attributes: str = "{}",
) -> Event:
    arn = scene.arn("sns", topic)
    subscription = f"{arn}:{scene.uuid()}"
    host = f"https://sns.{scene.region}.amazonaws.com/"
    values = parse_object("attributes", attributes)
    fixed = {
        "SignatureVersion": "1",
        "Signature": scene.token(64),
        "SigningCertUrl": f"{host}SimpleNotificationService-{scene.hexadecimal(32)}.pem",
        "UnsubscribeUrl": f"{host}?Action=Unsubscribe&SubscriptionArn={subscription}",
        "MessageAttributes": {
            name: {"Type": "String", "Value": str(value)} for name, value in values.items()
        },
    }
    records = [
        {
            "EventVersion": "1.0",
            "EventSubscriptionArn": subscription,
            "EventSource": "aws:sns",
            "Sns": {
                "Type": "Notification",
                "MessageId": scene.uuid(),
                "TopicArn": arn,
                "Subject": subject or None,
                "Message": message,
                "Timestamp": scene.iso_milliseconds,
                **fixed,
            },
        }
        for _ in range(scene.count)
    ]
    return {"Records": records}


def _eventbridge(
    scene: Scene,
    *,
    source: str = "my.application",
    detail_type: str = "Order Placed",
    detail: str = '{"order": 1}',
    resource: str = "",
) -> Event:
    resources = [resource] if resource else []
    return _envelope(scene, detail_type, source, resources, parse_object("detail", detail))


def _schedule(scene: Scene, *, rule: str = "my-schedule") -> Event:
    arn = scene.arn("events", f"rule/{rule}")
    return _envelope(scene, "Scheduled Event", "aws.events", [arn], {})


def _scheduler(scene: Scene, *, schedule: str = "my-schedule", group: str = "default") -> Event:
    """Of EventBridge Scheduler without an input of its own: `detail` is a text there."""
    arn = scene.arn("scheduler", f"schedule/{group}/{schedule}")
    event = _envelope(scene, "Scheduled Event", "aws.scheduler", [arn], {})
    return event | {"detail": "{}"}


def _envelope(
    scene: Scene, detail_type: str, source: str, resources: list[str], detail: Event
) -> Event:
    return {
        "version": "0",
        "id": scene.uuid(),
        "detail-type": detail_type,
        "source": source,
        "account": scene.account,
        "time": scene.iso_seconds,
        "region": scene.region,
        "resources": resources,
        "detail": detail,
    }


_S3_EVENTS = {
    "s3-put": ("ObjectCreated:Put", "an object was written to a bucket"),
    "s3-post": ("ObjectCreated:Post", "an object was uploaded by a form"),
    "s3-copy": ("ObjectCreated:Copy", "an object was copied into a bucket"),
    "s3-multipart": ("ObjectCreated:CompleteMultipartUpload", "an upload in parts was completed"),
    "s3-delete": ("ObjectRemoved:Delete", "an object was deleted"),
    "s3-restore": ("ObjectRestore:Completed", "an archived object was restored"),
    "s3-tagging": ("ObjectTagging:Put", "an object's tags were changed"),
    "s3-acl": ("ObjectAcl:Put", "an object's access control list was changed"),
}
PUSH_SAMPLES = {
    **{
        kind: Sample(summary, partial(_s3, name), batched=True)
        for kind, (name, summary) in _S3_EVENTS.items()
    },
    "eventbridge": Sample("an event of an EventBridge bus", _eventbridge),
    "s3-delete-marker": Sample(
        "an object of a versioned bucket was deleted", _s3_delete_marker, batched=True
    ),
    "s3-eventbridge": Sample("an object was written, told by EventBridge", _s3_eventbridge),
    "schedule": Sample("a scheduled EventBridge rule fired", _schedule),
    "scheduler": Sample("a schedule of EventBridge Scheduler fired", _scheduler),
    "sns": Sample("a message of an SNS topic", _sns, batched=True),
}
