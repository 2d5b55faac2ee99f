"""Sample events have the very keys and encodings of the real ones (semantics 4 to 8)."""

from __future__ import annotations

import ast
import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventmesh.cli
from eventmesh.cli.samples import SAMPLES, generate, list_settings

NOW = 1711032638.511
ISO = "2024-03-21T14:50:38.511Z"
S3_RECORD = (
    "eventVersion eventSource awsRegion eventTime eventName userIdentity requestParameters "
    "responseElements s3"
)
SQS_RECORD = (
    "messageId receiptHandle body attributes messageAttributes md5OfBody eventSource "
    "eventSourceARN awsRegion"
)
EVENTBRIDGE = "version id detail-type source account time region resources detail"
V2 = "version routeKey rawPath rawQueryString headers requestContext isBase64Encoded"
WEBSOCKET_CONTEXT = (
    "routeKey eventType extendedRequestId requestTime messageDirection stage connectedAt "
    "requestTimeEpoch identity requestId domainName connectionId apiId"
)
WINDOW = (
    "Records window state shardId eventSourceARN isFinalInvokeForWindow isWindowTerminatedEarly"
)


def make(kind: str, count: int = 1, /, **settings: str) -> Any:
    return generate(kind, settings, count, NOW, Random(7))


def record(kind: str, /, **settings: str) -> Any:
    (only,) = make(kind, **settings)["Records"]
    return only


def decoded(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


def find(event: Any, path: str) -> Any:
    """The part of `event` at `path`: keys and list positions between spaces."""
    for step in path.split():
        event = event[int(step)] if isinstance(event, list) else event[step]
    return event


@pytest.mark.parametrize(
    ("kind", "settings", "path", "keys"),
    [
        ("activemq", {}, "", "eventSource eventSourceArn messages"),
        (
            "activemq",
            {},
            "messages 0",
            "messageID messageType deliveryMode replyTo type expiration priority correlationId "
            "redelivered destination data timestamp brokerInTime brokerOutTime properties",
        ),
        (
            "alb",
            {},
            "",
            "requestContext httpMethod path queryStringParameters headers body isBase64Encoded",
        ),
        (
            "alb",
            {"multi_value": "true"},
            "",
            "requestContext httpMethod path multiValueQueryStringParameters multiValueHeaders "
            "body isBase64Encoded",
        ),
        ("alb", {}, "requestContext elb", "targetGroupArn"),
        ("codepipeline", {}, "CodePipeline.job", "id accountId data"),
        (
            "codepipeline",
            {},
            "CodePipeline.job data",
            "actionConfiguration inputArtifacts outputArtifacts artifactCredentials",
        ),
        (
            "cognito",
            {},
            "",
            "version triggerSource region userPoolId userName callerContext request response",
        ),
        ("cognito", {}, "callerContext", "awsSdkVersion clientId"),
        ("cognito", {}, "request", "userAttributes validationData"),
        ("cognito", {}, "response", "autoConfirmUser autoVerifyEmail autoVerifyPhone"),
        (
            "cognito",
            {"trigger": "TokenGeneration_Authentication"},
            "request",
            "userAttributes groupConfiguration",
        ),
        (
            "config-scheduled",
            {},
            "",
            "version invokingEvent ruleParameters resultToken eventLeftScope executionRoleArn "
            "configRuleArn configRuleName configRuleId accountId",
        ),
        ("documentdb", {}, "", "eventSourceArn eventSource events"),
        (
            "documentdb",
            {},
            "events 0 event",
            "_id clusterTime documentKey fullDocument ns operationType",
        ),
        (
            "documentdb",
            {"operation": "update"},
            "events 0 event",
            "_id clusterTime documentKey fullDocument ns operationType updateDescription",
        ),
        (
            "documentdb",
            {"operation": "delete"},
            "events 0 event",
            "_id clusterTime documentKey ns operationType",
        ),
        (
            "dynamodb",
            {},
            "Records 0",
            "eventID eventName eventVersion eventSource awsRegion dynamodb eventSourceARN",
        ),
        (
            "dynamodb-expiry",
            {},
            "Records 0",
            "eventID eventName eventVersion eventSource awsRegion dynamodb eventSourceARN "
            "userIdentity",
        ),
        ("dynamodb-window", {}, "", WINDOW),
        ("eventbridge", {}, "", EVENTBRIDGE),
        ("firehose", {}, "", "invocationId deliveryStreamArn region records"),
        ("firehose", {}, "records 0", "recordId approximateArrivalTimestamp data"),
        (
            "firehose",
            {"source_stream": "s"},
            "",
            "invocationId deliveryStreamArn sourceKinesisStreamArn region records",
        ),
        (
            "firehose",
            {"source_stream": "s"},
            "records 0 kinesisRecordMetadata",
            "shardId partitionKey approximateArrivalTimestamp sequenceNumber subsequenceNumber",
        ),
        ("function-url", {}, "", V2),
        ("http-v2", {}, "", V2),
        (
            "http-v2",
            {
                "body": "x",
                "query": "a=1",
                "headers": '{"cookie": "c=1"}',
                "path": "/thumbs/7",
                "route": "GET /thumbs/{name}",
            },
            "",
            f"{V2} body cookies queryStringParameters pathParameters",
        ),
        (
            "http-v2",
            {},
            "requestContext",
            "accountId apiId domainName domainPrefix http requestId routeKey stage time timeEpoch",
        ),
        ("http-v2", {}, "requestContext http", "method path protocol sourceIp userAgent"),
        (
            "http-v1",
            {},
            "",
            "resource path httpMethod headers multiValueHeaders queryStringParameters "
            "multiValueQueryStringParameters pathParameters stageVariables requestContext body "
            "isBase64Encoded",
        ),
        (
            "http-v1",
            {},
            "requestContext",
            "accountId apiId deploymentId domainName domainPrefix extendedRequestId httpMethod "
            "identity path protocol requestId requestTime requestTimeEpoch resourceId "
            "resourcePath stage",
        ),
        (
            "http-v1",
            {},
            "requestContext identity",
            "accessKey accountId caller cognitoAuthenticationProvider cognitoAuthenticationType "
            "cognitoIdentityId cognitoIdentityPoolId principalOrgId sourceIp user userAgent "
            "userArn",
        ),
        ("kafka", {}, "", "eventSource eventSourceArn bootstrapServers records"),
        ("kafka-self-managed", {}, "", "eventSource bootstrapServers records"),
        (
            "kafka",
            {},
            "records orders-0 0",
            "topic partition offset timestamp timestampType key value headers",
        ),
        (
            "kinesis",
            {},
            "Records 0",
            "kinesis eventSource eventVersion eventID eventName invokeIdentityArn awsRegion "
            "eventSourceARN",
        ),
        (
            "kinesis",
            {},
            "Records 0 kinesis",
            "kinesisSchemaVersion partitionKey sequenceNumber data approximateArrivalTimestamp",
        ),
        ("kinesis-window", {}, "", WINDOW),
        ("rabbitmq", {}, "", "eventSource eventSourceArn rmqMessagesByQueue"),
        ("rabbitmq", {}, "rmqMessagesByQueue orders::/ 0", "basicProperties redelivered data"),
        (
            "rabbitmq",
            {},
            "rmqMessagesByQueue orders::/ 0 basicProperties",
            "contentType contentEncoding headers deliveryMode priority correlationId replyTo "
            "expiration messageId timestamp type userId appId clusterId bodySize",
        ),
        ("s3-put", {}, "Records 0", S3_RECORD),
        ("s3-restore", {}, "Records 0", f"{S3_RECORD} glacierEventData"),
        ("s3-put", {}, "Records 0 s3", "s3SchemaVersion configurationId bucket object"),
        ("s3-put", {}, "Records 0 s3 bucket", "name ownerIdentity arn"),
        ("s3-batch", {}, "", "invocationSchemaVersion invocationId job tasks"),
        ("s3-batch", {}, "tasks 0", "taskId s3Key s3VersionId s3BucketArn"),
        ("s3-eventbridge", {}, "", EVENTBRIDGE),
        (
            "s3-eventbridge",
            {},
            "detail",
            "version bucket object request-id requester source-ip-address reason",
        ),
        ("schedule", {}, "", EVENTBRIDGE),
        ("scheduler", {}, "", EVENTBRIDGE),
        ("sns", {}, "Records 0", "EventVersion EventSubscriptionArn EventSource Sns"),
        (
            "sns",
            {},
            "Records 0 Sns",
            "Type MessageId TopicArn Subject Message Timestamp SignatureVersion Signature "
            "SigningCertUrl UnsubscribeUrl MessageAttributes",
        ),
        ("sqs", {}, "Records 0", SQS_RECORD),
        ("sqs", {"attributes": '{"n": "v"}'}, "Records 0", f"{SQS_RECORD} md5OfMessageAttributes"),
        (
            "sqs",
            {},
            "Records 0 attributes",
            "ApproximateReceiveCount SentTimestamp SenderId ApproximateFirstReceiveTimestamp",
        ),
        (
            "sqs-fifo",
            {},
            "Records 0 attributes",
            "ApproximateReceiveCount SentTimestamp SenderId ApproximateFirstReceiveTimestamp "
            "SequenceNumber MessageGroupId MessageDeduplicationId",
        ),
        ("websocket", {}, "", "requestContext body isBase64Encoded"),
        ("websocket", {}, "requestContext", f"{WEBSOCKET_CONTEXT} messageId"),
        (
            "websocket",
            {"event": "CONNECT"},
            "",
            "headers multiValueHeaders requestContext isBase64Encoded",
        ),
        ("websocket", {"event": "CONNECT"}, "requestContext", WEBSOCKET_CONTEXT),
        (
            "websocket",
            {"event": "DISCONNECT"},
            "requestContext",
            f"{WEBSOCKET_CONTEXT} disconnectStatusCode disconnectReason",
        ),
    ],
)
def test_keys(kind: str, settings: dict[str, str], path: str, keys: str) -> None:
    assert sorted(find(make(kind, **settings), path)) == sorted(keys.split())


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("activemq", "eventSource", "aws:mq"),
        ("documentdb", "eventSource", "aws:docdb"),
        ("documentdb", "events 0 event clusterTime $timestamp", {"t": 1711032638, "i": 1}),
        ("documentdb", "events 0 event ns", {"db": "shop", "coll": "orders"}),
        ("dynamodb", "Records 0 eventSource", "aws:dynamodb"),
        ("dynamodb", "Records 0 eventVersion", "1.1"),
        ("dynamodb", "Records 0 dynamodb ApproximateCreationDateTime", 1711032638.0),
        (
            "dynamodb",
            "Records 0 eventSourceARN",
            "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2024-03-21T14:50:38.511",
        ),
        ("eventbridge", "time", "2024-03-21T14:50:38Z"),
        ("firehose", "records 0 approximateArrivalTimestamp", 1711032638511),
        ("function-url", "requestContext accountId", "anonymous"),
        ("function-url", "requestContext stage", "$default"),
        ("function-url", "requestContext timeEpoch", 1711032638511),
        ("http-v1", "requestContext requestTime", "21/Mar/2024:14:50:38 +0000"),
        ("http-v1", "requestContext path", "/prod/thumbs/cat.jpg"),
        ("http-v1", "body", None),
        ("http-v1", "queryStringParameters", None),
        ("http-v2", "requestContext time", "21/Mar/2024:14:50:38 +0000"),
        ("http-v2", "requestContext accountId", "123456789012"),
        ("kafka", "eventSource", "aws:kafka"),
        ("kafka-self-managed", "eventSource", "SelfManagedKafka"),
        ("kafka", "records orders-0 0 timestamp", 1711032638511),
        ("kafka", "records orders-0 0 timestampType", "CREATE_TIME"),
        ("kinesis", "Records 0 eventSource", "aws:kinesis"),
        ("kinesis", "Records 0 eventName", "aws:kinesis:record"),
        ("kinesis", "Records 0 kinesis approximateArrivalTimestamp", 1711032638.511),
        (
            "rabbitmq",
            "rmqMessagesByQueue orders::/ 0 basicProperties timestamp",
            "Mar 21, 2024, 2:50:38 PM",
        ),
        ("rabbitmq", "eventSource", "aws:rmq"),
        ("s3-put", "Records 0 eventTime", ISO),
        ("s3-put", "Records 0 eventSource", "aws:s3"),
        ("s3-put", "Records 0 s3 bucket arn", "arn:aws:s3:::my-bucket"),
        ("s3-put", "Records 0 s3 object sequencer", "0065FC493E00000000"),
        ("schedule", "detail-type", "Scheduled Event"),
        ("schedule", "source", "aws.events"),
        ("schedule", "resources", ["arn:aws:events:us-east-1:123456789012:rule/my-schedule"]),
        ("schedule", "detail", {}),
        ("scheduler", "detail", "{}"),
        ("sns", "Records 0 Sns Timestamp", ISO),
        ("sns", "Records 0 Sns Subject", None),
        ("sqs", "Records 0 attributes SentTimestamp", "1711032638511"),
        ("sqs", "Records 0 eventSourceARN", "arn:aws:sqs:us-east-1:123456789012:my-queue"),
        ("step-functions", "", {"order": 1}),
        ("websocket", "requestContext messageDirection", "IN"),
    ],
)
def test_values(kind: str, path: str, value: Any) -> None:
    found = find(make(kind), path)
    assert found == value
    assert type(found) is type(value)


# every kind


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_same_seed_gives_the_same_event(kind: str) -> None:
    text = json.dumps(make(kind))
    assert json.dumps(make(kind)) == text
    assert json.loads(text) == make(kind)
    if kind not in ("kafka-self-managed", "step-functions"):  # nothing in them is drawn
        assert json.dumps(generate(kind, {}, 1, NOW, Random(8))) != text


@pytest.mark.parametrize("kind", SAMPLES)
def test_callers_may_change_an_event(kind: str) -> None:
    def spoil(value: Any) -> None:
        for child in value.values() if isinstance(value, dict) else value:
            if isinstance(child, (dict, list)):
                spoil(child)
        value.clear()

    before = json.dumps(make(kind))
    spoil(make(kind))
    assert json.dumps(make(kind)) == before


@pytest.mark.parametrize("kind", SAMPLES)
def test_region_and_account_are_settings_of_all(kind: str) -> None:
    settings = list_settings(kind)
    assert settings["region"] == "us-east-1"
    assert settings["account"] == "123456789012"
    text = json.dumps(make(kind, region="eu-central-1", account="999988887777"))
    assert "us-east-1" not in text
    assert "123456789012" not in text


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_default_may_be_given_as_text(kind: str) -> None:
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in list_settings(kind).items()
    }
    assert make(kind, **texts) == make(kind)


@pytest.mark.parametrize("kind", sorted(kind for kind in SAMPLES if SAMPLES[kind].batched))
def test_count_is_the_number_of_records(kind: str) -> None:
    event = make(kind, 3)
    if kind == "cloudwatch-logs":
        event = json.loads(gzip.decompress(base64.b64decode(event["awslogs"]["data"])))
    records = next(
        event[key]
        for key in (
            "Records",
            "records",
            "messages",
            "events",
            "tasks",
            "logEvents",
            "rmqMessagesByQueue",
        )
        if key in event
    )
    if isinstance(records, dict):
        (records,) = records.values()
    assert len(records) == 3
    if kind != "rabbitmq":
        assert len({json.dumps(each) for each in records}) == 3


@pytest.mark.parametrize("kind", sorted(kind for kind in SAMPLES if not SAMPLES[kind].batched))
def test_some_events_are_about_one_thing(kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind} is always about one thing: count must be 1"):
        make(kind, 2)


def test_kinds_are_sorted_and_summed_up() -> None:
    assert list(SAMPLES) == sorted(SAMPLES)
    assert len(SAMPLES) == 38
    assert all(re.fullmatch(r"[a-z0-9-]{3,18}", kind) for kind in SAMPLES)
    assert all(0 < len(sample.summary) < 60 for sample in SAMPLES.values())


def test_identifiers_are_fresh_by_default() -> None:
    assert generate("schedule", {}, 1, NOW)["id"] != generate("schedule", {}, 1, NOW)["id"]
    assert re.fullmatch(
        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        make("schedule")["id"],
    )


def test_the_modules_know_no_command_line() -> None:
    assert eventmesh.cli.__file__ is not None
    modules = sorted(Path(eventmesh.cli.__file__).parent.glob("samples*.py"))
    assert len(modules) == 8
    for module in modules:
        imported = {
            alias.name if isinstance(node, ast.Import) else node.module or ""
            for node in ast.walk(ast.parse(module.read_text()))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        assert {n for n in imported if "click" in n or n.startswith("eventmesh")} <= {
            f"eventmesh.cli.{m.stem}" for m in modules
        }


# mistakes


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("s3-putt", {}, "no sample event 's3-putt'; did you mean s3-put? Kinds: activemq, alb, "),
        ("S3_PUT", {}, "no sample event 'S3_PUT'; did you mean s3-put? "),
        ("qqqq", {}, "no sample event 'qqqq'. Kinds: activemq, "),
        (
            "s3-put",
            {"buckt": "b"},
            "s3-put has no setting 'buckt'; did you mean bucket? "
            "Settings: account, bucket, key, region, size, version_id",
        ),
        ("schedule", {"x": ""}, "schedule has no setting 'x'. Settings: account, region, rule"),
        ("s3-put", {"size": "big"}, "size: 'big' is not a whole number"),
        ("s3-put", {"size": "-1"}, "size: '-1' is not a whole number"),
        ("alb", {"multi_value": "yes"}, "multi_value: 'yes' is neither true nor false"),
        ("eventbridge", {"detail": "{"}, "detail: not JSON: "),
        ("eventbridge", {"detail": "[" * 100_000}, "detail: not JSON: "),
        ("eventbridge", {"detail": '{"a": NaN}'}, "detail: not JSON: NaN is not a JSON value"),
        ("eventbridge", {"detail": "[1]"}, "detail: not a JSON object: [1]"),
        ("dynamodb", {"operation": "UPSERT"}, "operation: 'UPSERT' is not one of INSERT, MODIFY"),
        ("dynamodb", {"view": "ALL"}, "view: 'ALL' is not one of NEW_AND_OLD_IMAGES, NEW_IMAGE"),
        ("kinesis-window", {"window_seconds": "0"}, "window_seconds: 0 is not between 1 and 900"),
        ("http-v2", {"path": "x"}, "path: 'x' does not start with /"),
        ("http-v1", {"path": "/x?a=1"}, "path: '/x?a=1' has a query; that is the setting query"),
        (
            "http-v2",
            {"path": "/a/b", "route": "GET /a/{x}/c"},
            "path: '/a/b' does not match the route '/a/{x}/c'",
        ),
        ("websocket", {"event": "HELLO"}, "event: 'HELLO' is not one of CONNECT, MESSAGE, DISCON"),
        ("cognito", {"trigger": "X"}, "trigger: 'X' is not one of PreSignUp_SignUp, "),
    ],
)
def test_mistakes_are_explained(kind: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make(kind, **settings)


def test_no_records_are_no_event() -> None:
    with pytest.raises(ValueError, match="count: 0 is less than 1"):
        make("sqs", 0)


# S3


@pytest.mark.parametrize(
    ("kind", "name", "version", "facts"),
    [
        ("s3-put", "ObjectCreated:Put", "2.1", {"key", "size", "eTag", "sequencer"}),
        ("s3-post", "ObjectCreated:Post", "2.1", {"key", "size", "eTag", "sequencer"}),
        ("s3-copy", "ObjectCreated:Copy", "2.1", {"key", "size", "eTag", "sequencer"}),
        (
            "s3-multipart",
            "ObjectCreated:CompleteMultipartUpload",
            "2.1",
            {"key", "size", "eTag", "sequencer"},
        ),
        ("s3-delete", "ObjectRemoved:Delete", "2.1", {"key", "sequencer"}),
        (
            "s3-delete-marker",
            "ObjectRemoved:DeleteMarkerCreated",
            "2.1",
            {"key", "sequencer", "versionId"},
        ),
        ("s3-restore", "ObjectRestore:Completed", "2.1", {"key", "size", "eTag", "sequencer"}),
        ("s3-tagging", "ObjectTagging:Put", "2.3", {"key", "eTag"}),
        ("s3-acl", "ObjectAcl:Put", "2.3", {"key", "eTag"}),
    ],
)
def test_s3_objects(kind: str, name: str, version: str, facts: set[str]) -> None:
    event = record(kind)
    assert (event["eventName"], event["eventVersion"]) == (name, version)
    assert set(event["s3"]["object"]) == facts


def test_s3_keys_are_encoded_in_notifications_only() -> None:
    key = "a dir/b+c & \u00e9~.txt"
    encoded = "a+dir/b%2Bc+%26+%C3%A9~.txt"
    assert record("s3-put", key=key)["s3"]["object"]["key"] == encoded
    assert make("s3-batch", key=key)["tasks"][0]["s3Key"] == encoded
    assert make("s3-eventbridge", key=key)["detail"]["object"]["key"] == key


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_s3_keys_are_read_back(key: str) -> None:
    encoded = record("s3-put", key=key)["s3"]["object"]["key"]
    assert unquote_plus(encoded) == key
    assert encoded.isascii()


def test_s3_settings() -> None:
    event = record("s3-put", bucket="b", key="k", size="5", version_id="v1", region="eu-west-1")
    assert event["awsRegion"] == "eu-west-1"
    assert event["s3"]["bucket"]["name"] == "b"
    facts = event["s3"]["object"]
    assert (facts["size"], facts["versionId"]) == (5, "v1")
    assert re.fullmatch("[0-9a-f]{32}", facts["eTag"])


def test_s3_sequencers_grow() -> None:
    records = make("s3-put", 3)["Records"]
    sequencers = [each["s3"]["object"]["sequencer"] for each in records]
    assert sequencers == sorted(set(sequencers))
    assert len({each["s3"]["configurationId"] for each in records}) == 1


# queues


def test_sqs_digests() -> None:
    event = record("sqs", body="h\u00e9llo", attributes='{"n": "v", "a": 1}')
    assert event["md5OfBody"] == hashlib.md5("h\u00e9llo".encode()).hexdigest()
    framed = (
        b"\0\0\0\x01a\0\0\0\x06Number\x01\0\0\0\x011"
        + b"\0\0\0\x01n\0\0\0\x06String\x01\0\0\0\x01v"
    )
    assert event["md5OfMessageAttributes"] == hashlib.md5(framed).hexdigest()
    assert event["messageAttributes"]["n"] == {
        "stringValue": "v",
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": "String",
    }


def test_sqs_attributes_are_texts() -> None:
    event = record("sqs", receive_count="3")
    assert event["attributes"]["ApproximateReceiveCount"] == "3"
    assert all(isinstance(value, str) for value in event["attributes"].values())
    assert event["receiptHandle"].startswith("AQEB")


def test_sqs_fifo_messages_are_distinct_and_in_order() -> None:
    attributes = [each["attributes"] for each in make("sqs-fifo", 3, group="g")["Records"]]
    numbers = [each["SequenceNumber"] for each in attributes]
    assert numbers == sorted(set(numbers))
    assert {len(number) for number in numbers} == {20}
    assert {each["MessageGroupId"] for each in attributes} == {"g"}
    assert len({each["MessageDeduplicationId"] for each in attributes}) == 3


def test_activemq_messages() -> None:
    (message,) = make("activemq", queue="q", body="ABC", properties='{"k": "v"}')["messages"]
    assert message["data"] == "QUJD"
    assert message["destination"] == {"physicalName": "q"}
    assert message["properties"] == {"k": "v"}
    assert message["messageType"] == "jms/text-message"
    assert make("activemq", binary="true")["messages"][0]["messageType"] == "jms/bytes-message"


def test_rabbitmq_messages() -> None:
    event = make(
        "rabbitmq", queue="q", virtual_host="v", body="h\u00e9", headers='{"h":"val","n":10}'
    )
    (message,) = event["rmqMessagesByQueue"]["q::v"]
    assert decoded(message["data"]) == "h\u00e9"
    assert message["basicProperties"]["headers"] == {"h": {"bytes": [118, 97, 108]}, "n": 10}
    assert message["basicProperties"]["bodySize"] == 3


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (0, "Jan 1, 1970, 12:00:00 AM"),
        (43_200, "Jan 1, 1970, 12:00:00 PM"),
        (2021.9999, "Jan 1, 1970, 12:33:42 AM"),
    ],
)
def test_rabbitmq_times_are_american(now: float, text: str) -> None:
    event = generate("rabbitmq", {}, 1, now, Random(7))
    (messages,) = event["rmqMessagesByQueue"].values()
    assert messages[0]["basicProperties"]["timestamp"] == text


# streams


def test_kinesis_records() -> None:
    first, second = make("kinesis", 2, data="hello", partition_key="k", shard="shardId-1")[
        "Records"
    ]
    assert first["kinesis"]["data"] == "aGVsbG8="
    assert first["kinesis"]["partitionKey"] == "k"
    number = first["kinesis"]["sequenceNumber"]
    assert re.fullmatch("49[0-9]{54}", number)
    assert first["eventID"] == f"shardId-1:{number}"
    assert int(second["kinesis"]["sequenceNumber"]) == int(number) + 1


@pytest.mark.parametrize("kind", ["kinesis-window", "dynamodb-window"])
def test_windows_are_aligned(kind: str) -> None:
    event = make(kind, 2, window_seconds="120")
    assert event["window"] == {"start": "2024-03-21T14:50:00Z", "end": "2024-03-21T14:52:00Z"}
    assert event["state"] == {}
    assert event["isFinalInvokeForWindow"] is event["isWindowTerminatedEarly"] is False
    assert event["eventSourceARN"] == event["Records"][0]["eventSourceARN"]


@pytest.mark.parametrize(
    ("operation", "view", "images"),
    [
        ("INSERT", "NEW_AND_OLD_IMAGES", {"NewImage"}),
        ("MODIFY", "NEW_AND_OLD_IMAGES", {"NewImage", "OldImage"}),
        ("REMOVE", "NEW_AND_OLD_IMAGES", {"OldImage"}),
        ("INSERT", "NEW_IMAGE", {"NewImage"}),
        ("MODIFY", "NEW_IMAGE", {"NewImage"}),
        ("REMOVE", "NEW_IMAGE", set()),
        ("INSERT", "OLD_IMAGE", set()),
        ("MODIFY", "OLD_IMAGE", {"OldImage"}),
        ("REMOVE", "OLD_IMAGE", {"OldImage"}),
        ("MODIFY", "KEYS_ONLY", set()),
    ],
)
def test_dynamodb_images(operation: str, view: str, images: set[str]) -> None:
    event = record("dynamodb", operation=operation, view=view)
    assert event["eventName"] == operation
    assert event["dynamodb"]["StreamViewType"] == view
    facts = {"ApproximateCreationDateTime", "Keys", "SequenceNumber", "SizeBytes", "StreamViewType"}
    assert set(event["dynamodb"]) == facts | images


def test_dynamodb_items_are_typed() -> None:
    item = '{"s": "x", "n": 1.5, "b": true, "z": null, "l": ["x", 1], "m": {"k": false}}'
    change = record("dynamodb", keys='{"id": 101}', item=item)["dynamodb"]
    assert change["Keys"] == {"id": {"N": "101"}}
    assert change["NewImage"] == {
        "id": {"N": "101"},
        "s": {"S": "x"},
        "n": {"N": "1.5"},
        "b": {"BOOL": True},
        "z": {"NULL": True},
        "l": {"L": [{"S": "x"}, {"N": "1"}]},
        "m": {"M": {"k": {"BOOL": False}}},
    }


def test_dynamodb_sizes_are_as_documented() -> None:
    change = record("dynamodb", keys='{"Id": 101}', item='{"Message": "New item!"}')["dynamodb"]
    assert change["SizeBytes"] == 26


def test_expired_items_were_removed_by_dynamodb() -> None:
    event = record("dynamodb-expiry")
    assert event["eventName"] == "REMOVE"
    assert event["userIdentity"] == {
        "type": "Service",
        "principalId": "dynamodb.amazonaws.com",
    }
    assert "OldImage" in event["dynamodb"]


@pytest.mark.parametrize("kind", ["kafka", "kafka-self-managed"])
def test_kafka_records(kind: str) -> None:
    event = make(kind, 2, topic="t", partition="3", offset="9", key="ab", headers='{"h": "hel"}')
    first, second = event["records"]["t-3"]
    assert (first["key"], decoded(first["value"])) == ("YWI=", '{"order": 1}')
    assert first["headers"] == [{"h": [104, 101, 108]}]
    assert (first["topic"], first["partition"]) == ("t", 3)
    assert (first["offset"], second["offset"]) == (9, 10)


def test_kafka_tombstones() -> None:
    (only,) = make("kafka", key="", value="")["records"]["orders-0"]
    assert only["key"] is only["value"] is None


def test_documentdb_documents() -> None:
    change = make("documentdb", document='{"a": 1}')["events"][0]["event"]
    assert change["fullDocument"] == {**change["documentKey"], "a": 1}
    assert re.fullmatch("65fc493e[0-9a-f]{16}", change["documentKey"]["_id"]["$oid"])


# HTTP


def test_http_v2_request() -> None:
    event = make(
        "http-v2",
        method="POST",
        path="/thumbs/my%20cat",
        query="a=1&a=2&b=%26",
        headers='{"X-One": "1", "x-two": ["2", "3"], "Cookie": "c1=v1; c2=v2"}',
        body="{}",
        route="POST /thumbs/{name}",
    )
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == "/thumbs/my cat"
    assert event["rawQueryString"] == "a=1&a=2&b=%26"
    assert event["queryStringParameters"] == {"a": "1,2", "b": "&"}
    assert event["pathParameters"] == {"name": "my cat"}
    assert event["cookies"] == ["c1=v1", "c2=v2"]
    headers = event["headers"]
    assert (headers["x-one"], headers["x-two"]) == ("1", "2,3")
    assert "cookie" not in headers
    assert all(name == name.lower() for name in headers)
    assert (headers["content-type"], headers["content-length"]) == ("application/json", "2")
    assert (event["body"], event["isBase64Encoded"]) == ("{}", False)
    assert event["routeKey"] == event["requestContext"]["routeKey"] == "POST /thumbs/{name}"


def test_function_url_request() -> None:
    event = make("function-url", path="/my%20cat", headers='{"Cookie": "a=1;b=2"}')
    assert event["rawPath"] == "/my%20cat"
    assert event["cookies"] == ["a=1", "b=2"]
    assert event["headers"]["cookie"] == "a=1; b=2"
    context = event["requestContext"]
    assert re.fullmatch(r"[a-z0-9]{32}\.lambda-url\.us-east-1\.on\.aws", context["domainName"])
    assert context["domainName"] == event["headers"]["host"]
    assert context["domainPrefix"] == context["apiId"]


def test_http_v1_request() -> None:
    event = make(
        "http-v1",
        method="PUT",
        path="/my%20cat/",
        query="a=1&a=2",
        headers='{"X-Two": ["2", "3"], "user-agent": "me"}',
        body="text",
    )
    assert event["path"] == "/my%20cat/"
    assert event["pathParameters"] == {"proxy": "my%20cat"}
    assert event["queryStringParameters"] == {"a": "2"}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert (event["headers"]["X-Two"], event["multiValueHeaders"]["X-Two"]) == ("3", ["2", "3"])
    assert "User-Agent" not in event["headers"]
    assert event["requestContext"]["identity"]["userAgent"] == "me"
    assert (event["body"], event["isBase64Encoded"]) == ("text", False)


@pytest.mark.parametrize(
    ("route", "path", "resource", "parameters"),
    [
        ("/{proxy+}", "/", "/", None),
        ("/{proxy+}", "/a/b", "/{proxy+}", {"proxy": "a/b"}),
        ("/a/{b}/{rest+}", "/a/1/2/3/", "/a/{b}/{rest+}", {"b": "1", "rest": "2/3"}),
        ("/a", "/a", "/a", None),
    ],
)
def test_http_v1_resources(
    route: str, path: str, resource: str, parameters: dict[str, str] | None
) -> None:
    event = make("http-v1", route=route, path=path)
    assert event["resource"] == event["requestContext"]["resourcePath"] == resource
    assert event["pathParameters"] == parameters


def test_alb_requests() -> None:
    settings = {"query": "a=%201&a=2&b", "headers": '{"X-Two": ["2", "3"]}'}
    single = make("alb", **settings)
    assert single["queryStringParameters"] == {"a": "2", "b": ""}
    assert single["headers"]["x-two"] == "3"
    assert single["body"] == ""
    several = make("alb", multi_value="true", **settings)
    assert several["multiValueQueryStringParameters"] == {"a": ["%201", "2"], "b": [""]}
    assert several["multiValueHeaders"]["x-two"] == ["2", "3"]


@pytest.mark.parametrize("kind", ["http-v2", "function-url", "alb"])
@pytest.mark.parametrize(
    ("media", "binary"),
    [
        ("text/plain; charset=utf-8", False),
        ("application/json", False),
        ("application/problem+json", False),
        ("image/png", True),
        ("application/x-www-form-urlencoded", True),
    ],
)
def test_bodies_that_are_not_text_are_base64(kind: str, media: str, binary: bool) -> None:
    event = make(kind, body="x=1", headers=json.dumps({"content-type": media}))
    assert event["isBase64Encoded"] is binary
    assert event["body"] == ("eD0x" if binary else "x=1")


# other services


def test_sns_messages() -> None:
    event = record("sns", topic="t", message="m", subject="s", attributes='{"n": "v"}')
    assert event["Sns"]["TopicArn"] == "arn:aws:sns:us-east-1:123456789012:t"
    assert event["EventSubscriptionArn"].startswith(event["Sns"]["TopicArn"] + ":")
    assert (event["Sns"]["Message"], event["Sns"]["Subject"]) == ("m", "s")
    assert event["Sns"]["MessageAttributes"] == {"n": {"Type": "String", "Value": "v"}}


def test_eventbridge_events() -> None:
    event = make("eventbridge", source="s", detail_type="d", detail='{"a": 1}', resource="arn:x")
    assert (event["source"], event["detail-type"]) == ("s", "d")
    assert (event["detail"], event["resources"]) == ({"a": 1}, ["arn:x"])


def test_cloudwatch_logs_are_compressed() -> None:
    event = make("cloudwatch-logs", 2, log_group="g", log_stream="s", message="m\u00e9")
    assert list(event) == ["awslogs"]
    assert list(event["awslogs"]) == ["data"]
    inner = json.loads(gzip.decompress(base64.b64decode(event["awslogs"]["data"], validate=True)))
    assert sorted(inner) == [
        "logEvents",
        "logGroup",
        "logStream",
        "messageType",
        "owner",
        "subscriptionFilters",
    ]
    assert (inner["messageType"], inner["logGroup"], inner["logStream"]) == (
        "DATA_MESSAGE",
        "g",
        "s",
    )
    first, second = inner["logEvents"]
    assert sorted(first) == ["id", "message", "timestamp"]
    assert (first["message"], first["timestamp"]) == ("m\u00e9", 1711032638511)
    assert re.fullmatch("[0-9]{56}", first["id"])
    assert int(second["id"]) == int(first["id"]) + 1


def test_firehose_records() -> None:
    event = make("firehose", 2, data="hello", source_stream="k", partition_key="p")
    assert event["sourceKinesisStreamArn"] == "arn:aws:kinesis:us-east-1:123456789012:stream/k"
    first, second = event["records"]
    assert first["data"] == "aGVsbG8="
    assert first["recordId"] != second["recordId"]
    assert first["kinesisRecordMetadata"]["partitionKey"] == "p"


def test_config_rules_hold_json_in_text() -> None:
    event = make("config-scheduled", parameters='{"a": "b"}')
    assert json.loads(event["ruleParameters"]) == {"a": "b"}
    assert json.loads(event["invokingEvent"]) == {
        "awsAccountId": "123456789012",
        "notificationCreationTime": ISO,
        "messageType": "ScheduledNotification",
        "recordVersion": "1.0",
    }


def test_codepipeline_configuration() -> None:
    def configuration(**settings: str) -> Any:
        data = make("codepipeline", **settings)["CodePipeline.job"]["data"]
        return data["actionConfiguration"]["configuration"]

    assert configuration(function="f") == {"FunctionName": "f"}
    assert configuration(user_parameters="p") == {
        "FunctionName": "my-function",
        "UserParameters": "p",
    }


def test_step_functions_tokens() -> None:
    event = make("step-functions", input='{"a": 1}', token="true")
    assert event.pop("TaskToken")
    assert event == {"a": 1}


@pytest.mark.parametrize(
    ("settings", "route"),
    [
        ({}, "$default"),
        ({"route": "chat"}, "chat"),
        ({"event": "CONNECT", "route": "chat"}, "$connect"),
        ({"event": "DISCONNECT"}, "$disconnect"),
    ],
)
def test_websocket_routes(settings: dict[str, str], route: str) -> None:
    context = make("websocket", connection="c1", **settings)["requestContext"]
    assert (context["routeKey"], context["connectionId"]) == (route, "c1")
