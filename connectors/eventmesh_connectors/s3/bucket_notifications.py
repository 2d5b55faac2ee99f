"""What a bucket's notifications say, however they came: S3's own message, wrapped by SNS, or
EventBridge's (semantics 8.1, 8.2). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from eventmesh_connectors.s3.keys import KeyFilter, decode_key, encode_key

_REASONS = {
    "PutObject": "ObjectCreated:Put",
    "POST Object": "ObjectCreated:Post",
    "CopyObject": "ObjectCreated:Copy",
    "CompleteMultipartUpload": "ObjectCreated:CompleteMultipartUpload",
}
_DETAIL_TYPES = {
    "Object Created": "ObjectCreated:Put",
    "Object Deleted": "ObjectRemoved:Delete",
    "Object Restore Initiated": "ObjectRestore:Post",
    "Object Restore Completed": "ObjectRestore:Completed",
    "Object Restore Expired": "ObjectRestore:Delete",
    "Object Storage Class Changed": "LifecycleTransition",
    "Object Access Tier Changed": "IntelligentTiering",
    "Object ACL Updated": "ObjectAcl:Put",
    "Object Tags Added": "ObjectTagging:Put",
    "Object Tags Deleted": "ObjectTagging:Delete",
}
#: these are of event version 2.3, the rest of 2.1 (semantics 8.1)
_NEWER = ("ObjectAcl", "ObjectTagging", "LifecycleTransition", "LifecycleExpiration")
_NEWER_VERSION, _VERSION = "2.3", "2.1"
_MOST_WRAPPINGS = 3


def wanted_names(names: Iterable[str]) -> Callable[[str], bool]:
    """Tells whether an `eventName` (without `s3:`) is covered by configured names; `:*` covers a
    family."""
    plain = [name.removeprefix("s3:") for name in names]
    exact = frozenset(name for name in plain if not name.endswith("*"))
    families = tuple(name[:-1] for name in plain if name.endswith("*"))
    return lambda name: name in exact or (bool(families) and name.startswith(families))


def read_records(body: Any) -> list[dict[str, Any]] | None:
    """The S3 records of a message's body (parsed JSON); [] for S3's test message, None when the
    body is no notification of a bucket."""
    for _ in range(_MOST_WRAPPINGS):
        if not isinstance(body, dict):
            return None
        if body.get("Event") == "s3:TestEvent":
            return []
        if _is_from_eventbridge(body):
            return [_translate(body)]
        if isinstance(records := body.get("Records"), list):
            return [_tidied(record) for record in records] if _are_s3(records) else None
        if body.get("Type") != "Notification" or not isinstance(body.get("Message"), str):
            return None
        try:
            body = orjson.loads(body["Message"])
        except orjson.JSONDecodeError:
            return None
    return None


class NotificationFilter:
    """The records a mapping is about."""

    def __init__(self, bucket: str, names: Sequence[str], key_filter: KeyFilter) -> None:
        self._bucket = bucket
        self._is_wanted = wanted_names(names)
        self._filter = key_filter

    def foreign_bucket(self, records: Iterable[Mapping[str, Any]]) -> str | None:
        """The name of another bucket that a record is of."""
        for record in records:
            name = str(record["s3"]["bucket"]["name"])
            if name != self._bucket:
                return name
        return None

    def events(self, records: Iterable[Mapping[str, Any]]) -> list[bytes]:
        """The events of wanted records, one each."""
        return [
            orjson.dumps({"Records": [record]})
            for record in records
            if self._is_wanted(record["eventName"])
            and self._filter.matches(decode_key(record["s3"]["object"]["key"]))
        ]


def _are_s3(records: Sequence[Any]) -> bool:
    for record in records:
        try:
            texts = (
                record["eventName"],
                record["s3"]["bucket"]["name"],
                record["s3"]["object"]["key"],
            )
        except (KeyError, TypeError):
            return False
        if not all(isinstance(text, str) for text in texts):
            return False
    return bool(records)


def _tidied(record: dict[str, Any]) -> dict[str, Any]:
    """A record as S3 writes it; other makers prefix the name, or encode keys otherwise."""
    record["eventName"] = record["eventName"].removeprefix("s3:")
    described = record["s3"]["object"]
    if "%20" in (key := described["key"]) or "%2F" in key or "%2f" in key:
        described["key"] = encode_key(decode_key(key))
    return record


def _is_from_eventbridge(body: Mapping[str, Any]) -> bool:
    if body.get("source") != "aws.s3" or body.get("detail-type") not in _DETAIL_TYPES:
        return False
    try:
        texts = (body["detail"]["bucket"]["name"], body["detail"]["object"]["key"])
    except (KeyError, TypeError):
        return False
    return all(isinstance(text, str) for text in texts)


def _translate(body: Mapping[str, Any]) -> dict[str, Any]:
    """An event of EventBridge as S3's own record. Its key is not encoded, S3's is."""
    detail = body["detail"]
    name, bucket = _event_name(body["detail-type"], detail), detail["bucket"]["name"]
    return {
        "eventVersion": _NEWER_VERSION if name.startswith(_NEWER) else _VERSION,
        "eventSource": "aws:s3",
        "awsRegion": body.get("region", ""),
        "eventTime": _milliseconds(str(body.get("time", ""))),
        "eventName": name,
        "userIdentity": {"principalId": f"AWS:{detail.get('requester', '')}"},
        "requestParameters": {"sourceIPAddress": detail.get("source-ip-address", "")},
        "responseElements": {
            "x-amz-request-id": detail.get("request-id", ""),
            "x-amz-id-2": "",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "EventBridge",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": str(body.get("account", ""))},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": _translate_object(detail["object"], name),
        },
    }


def _event_name(detail_type: str, detail: Mapping[str, Any]) -> str:
    name, reason = _DETAIL_TYPES[detail_type], detail.get("reason")
    if detail_type == "Object Created":
        return _REASONS.get(str(reason), name)
    if detail_type != "Object Deleted":
        return name
    family = "LifecycleExpiration" if reason == "Lifecycle Expiration" else "ObjectRemoved"
    marker = detail.get("deletion-type") == "Delete Marker Created"
    return f"{family}:{'DeleteMarkerCreated' if marker else 'Delete'}"


def _translate_object(described: Mapping[str, Any], name: str) -> dict[str, Any]:
    translated: dict[str, Any] = {"key": encode_key(described["key"].encode())}
    gone = name.startswith(("ObjectRemoved", "LifecycleExpiration"))
    for theirs, ours in (("size", "size"), ("etag", "eTag")):
        if theirs in described and not gone:
            translated[ours] = described[theirs]
    for theirs, ours in (("version-id", "versionId"), ("sequencer", "sequencer")):
        if described.get(theirs):
            translated[ours] = described[theirs]
    return translated


def _milliseconds(time: str) -> str:
    """EventBridge tells whole seconds; S3 milliseconds."""
    return f"{time[:-1]}.000Z" if time.endswith("Z") and "." not in time else time
