"""Records of a queue, to the byte (semantics 5.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh_connectors.sqs import connector
from eventmesh_connectors.sqs.events import RecordWriter, describe_batch, join_records, read_fields
from tests.unit.connectors.fake_aws import ARN, message

NOW = 1_700_000_000.5


def writer(*, windowed: bool = False, arn: str = ARN) -> RecordWriter:
    return RecordWriter(arn, "eu-west-1", windowed=windowed)


def test_a_record_to_the_byte() -> None:
    record = writer().write(message(1), NOW)
    assert record.event == (
        b'{"messageId":"id-1","receiptHandle":"handle-1","body":"text","attributes":'
        b'{"ApproximateReceiveCount":"1","SentTimestamp":"1545082649183","SenderId":"AIDA1",'
        b'"ApproximateFirstReceiveTimestamp":"1545082649185"},"messageAttributes":{},'
        b'"md5OfBody":"1cb251ec0d568de6a929b520c4aed8d1","eventSource":"aws:sqs",'
        b'"eventSourceARN":"arn:aws:sqs:eu-west-1:123456789012:orders","awsRegion":"eu-west-1"}'
    )
    assert (record.id, record.handle, record.key) == ("id-1", "handle-1", "")
    assert record.arrived_at == 1545082649.183


def test_message_attributes_are_lower_camel_case_with_empty_lists() -> None:
    given_message = message(1) | {
        "MessageAttributes": {
            "n": {"StringValue": "v", "DataType": "String"},
            "b": {"BinaryValue": b"\x00\xff", "DataType": "Binary"},
        },
        "MD5OfMessageAttributes": "d25a6aea97eb8f585bfa92d314504a92",
    }
    event = writer().write(given_message, NOW).event
    assert (
        b'"messageAttributes":{"n":{"stringValue":"v","stringListValues":[],"binaryListValues":[],'
        b'"dataType":"String"},"b":{"binaryValue":"AP8=","stringListValues":[],'
        b'"binaryListValues":[],"dataType":"Binary"}},'
        b'"md5OfMessageAttributes":"d25a6aea97eb8f585bfa92d314504a92","md5OfBody":'
    ) in event


def test_the_md5_of_no_attributes_is_null_with_a_window_and_absent_without() -> None:
    assert b'"messageAttributes":{},"md5OfMessageAttributes":null,"md5OfBody"' in (
        writer(windowed=True).write(message(1), NOW).event
    )
    assert b"md5OfMessageAttributes" not in writer().write(message(1), NOW).event


def test_fifo_attributes_come_in_aws_s_order_and_the_group_is_the_key() -> None:
    given_message = message(
        1,
        MessageDeduplicationId="d",
        MessageGroupId="g",
        SequenceNumber="18849496460467696128",
        AWSTraceHeader="Root=1-5",
        NewOne="x",
    )
    record = writer(arn=f"{ARN}.fifo").write(given_message, NOW)
    assert list(json.loads(record.event)["attributes"]) == [
        "ApproximateReceiveCount",
        "AWSTraceHeader",
        "SentTimestamp",
        "SequenceNumber",
        "MessageGroupId",
        "SenderId",
        "MessageDeduplicationId",
        "ApproximateFirstReceiveTimestamp",
        "NewOne",
    ]
    assert record.key == "g"
    # fair queues: a standard queue's group is no order
    assert writer().write(given_message, NOW).key == ""


def test_what_an_emulator_leaves_out_is_filled_in() -> None:
    bare = {"MessageId": "m", "ReceiptHandle": "h", "Body": "text"}
    event = json.loads(writer().write(bare, NOW).event)
    assert event["attributes"] == {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1700000000500",
        "SenderId": "AIDAEVENTMESH00000000",
        "ApproximateFirstReceiveTimestamp": "1700000000500",
    }
    assert event["md5OfBody"] == "1cb251ec0d568de6a929b520c4aed8d1"


@given(st.text(st.characters(exclude_categories=())))
def test_any_body_survives(body: str) -> None:
    event = writer().write(message(1, body), NOW).event
    assert json.loads(event)["body"] == body


def test_an_event_joins_records() -> None:
    records = [writer().write(message(number), NOW) for number in (1, 2)]
    event = json.loads(join_records(records))
    assert list(event) == ["Records"]
    assert [record["messageId"] for record in event["Records"]] == ["id-1", "id-2"]


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ('{"a": [1]}', {"a": [1]}),
        (" [1, 2]", [1, 2]),
        ("plain", "plain"),
        ("5", "5"),
        ('"text"', '"text"'),
        ("{broken", "{broken"),
    ],
)
def test_filters_see_a_body_that_is_a_json_object_or_array(body: str, seen: Any) -> None:
    fields = read_fields(writer().write(message(1, body), NOW))
    assert fields["body"] == seen
    assert fields["eventSource"] == "aws:sqs"


def test_batch_info_names_messages_and_times() -> None:
    records = [
        writer().write(message(1), NOW),
        writer().write(message(2, SentTimestamp="1545082649000"), NOW),
    ]
    assert describe_batch(ARN, records) == {
        "SQSBatchInfo": {
            "queueArn": ARN,
            "messageIds": ["id-1", "id-2"],
            "approximateArrivalOfFirstRecord": "2018-12-17T21:37:29.000Z",
            "approximateArrivalOfLastRecord": "2018-12-17T21:37:29.183Z",
            "batchSize": 2,
        }
    }


def test_samples_are_events() -> None:
    assert connector.sample_events["sqs"]["Records"][0]["body"] == '{"order": 1}'
    fifo = connector.sample_events["sqs-fifo"]["Records"][0]
    assert fifo["attributes"]["MessageGroupId"] == "customer-1"
    assert fifo["eventSourceARN"].endswith(".fifo")
