"""Changes of items as handlers and filters see them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from eventmesh.pulling import StreamSource
from eventmesh.records import Record
from eventmesh.testing import FakeClock
from eventmesh_connectors.dynamodb import DynamoDbOptions, DynamoDbSource, connector
from eventmesh_connectors.dynamodb.records import ChangeWriter
from eventmesh_connectors.shards import Listing
from tests.unit.connectors.recording_target import RecordingTarget, make_context

TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
ARN = f"{TABLE}/stream/2024-03-21T14:50:00.000"
SHARD = "shardId-00000001711032600000-ab12cd34"
WRITER = ChangeWriter(SHARD, ARN, "us-east-1")


def found(name: str = "INSERT", **changes: Any) -> dict[str, Any]:
    """A member of GetRecords' answer."""
    return {
        "eventID": "7de3041dd709b024af6f29e4fa13d34c",
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1711032638,
            "Keys": {"id": {"S": "a"}},
            "NewImage": {"id": {"S": "a"}, "n": {"N": "1.50"}},
            "SequenceNumber": "14000000000000000000001",
            "SizeBytes": 29,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **changes,
        },
    }


def test_the_record_byte_by_byte() -> None:
    record = WRITER.write(found())
    assert record.event == (
        b'{"eventID":"7de3041dd709b024af6f29e4fa13d34c","eventName":"INSERT","eventVersion":"1.1",'
        b'"eventSource":"aws:dynamodb","awsRegion":"us-east-1","dynamodb":{'
        b'"ApproximateCreationDateTime":1711032638.0,"Keys":{"id":{"S":"a"}},'
        b'"NewImage":{"id":{"S":"a"},"n":{"N":"1.50"}},"SequenceNumber":"14000000000000000000001",'
        b'"SizeBytes":29,"StreamViewType":"NEW_AND_OLD_IMAGES"},"eventSourceARN":'
        b'"arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2024-03-21T14:50:00.000"}'
    )
    number = "14000000000000000000001"
    assert record == Record(number, record.event, 1711032638.0, SHARD, number, '{"id":{"S":"a"}}')


def test_values_stay_as_they_are_on_the_wire() -> None:
    image = {
        "b": {"B": "AAEC"},
        "bs": {"BS": ["AAEC", "/w=="]},
        "big": {"N": "123456789012345678901234567890.123"},
        "null": {"NULL": True},
        "deep": {"M": {"list": {"L": [{"BOOL": False}, {"N": "1"}]}}},
    }
    record = WRITER.write(found("REMOVE", OldImage=image))
    assert orjson.loads(record.event)["dynamodb"]["OldImage"] == image


def test_the_key_is_the_items_whatever_order_its_attributes_come_in() -> None:
    one = WRITER.write(found(Keys={"id": {"S": "a"}, "at": {"N": "1"}}))
    other = WRITER.write(found("MODIFY", Keys={"at": {"N": "1"}, "id": {"S": "a"}}))
    assert one.key == other.key == '{"at":{"N":"1"},"id":{"S":"a"}}'


def test_expired_items_say_who_removed_them() -> None:
    expired = found("REMOVE") | {
        "userIdentity": {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
    }
    event = orjson.loads(WRITER.write(expired).event)
    assert event["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert "userIdentity" not in orjson.loads(WRITER.write(found()).event)


def make_source(clock: FakeClock, **options: Any) -> DynamoDbSource:
    context = make_context(RecordingTarget(), clock)
    return DynamoDbSource(DynamoDbOptions(**options), context)


def test_filters_see_the_record_as_it_is(clock: FakeClock) -> None:
    source = make_source(clock, table="orders")
    record = WRITER.write(found())
    assert source.fields(record) == orjson.loads(record.event)


def test_failure_records_name_the_range_with_seconds(clock: FakeClock) -> None:
    source = make_source(clock, table="orders")
    source._stream = Listing(ARN, 0.0, 0.0, [])
    first = WRITER.write(found(SequenceNumber="9", ApproximateCreationDateTime=1711032630))
    assert source.batch_info([first, WRITER.write(found())]) == {
        "DDBStreamBatchInfo": {
            "shardId": SHARD,
            "startSequenceNumber": "9",
            "endSequenceNumber": "14000000000000000000001",
            "approximateArrivalOfFirstRecord": "2024-03-21T14:50:30Z",
            "approximateArrivalOfLastRecord": "2024-03-21T14:50:38Z",
            "batchSize": 2,
            "streamArn": ARN,
        }
    }


def test_it_is_a_stream(clock: FakeClock) -> None:
    source = make_source(clock, table="orders")
    assert isinstance(source, StreamSource)
    assert source.filter_payload == ("dynamodb", "refuse")


def test_options() -> None:
    options = DynamoDbOptions.model_validate("orders")
    assert (options.table, options.stream_arn) == ("orders", None)
    assert options.resource == "orders"
    assert (options.poll_interval, options.records_per_read, options.batch_size) == (
        0.25,
        1000,
        100,
    )


@pytest.mark.parametrize(
    "given", [ARN, {"table": ARN}, {"stream_arn": ARN}, {"table": ARN, "batch_size": 5}]
)
def test_a_streams_arn_may_stand_for_the_table(given: Any) -> None:
    options = DynamoDbOptions.model_validate(given)
    assert (options.table, options.stream_arn, options.resource) == (None, ARN, ARN)
    assert options.stream_region == "us-east-1"


def test_a_tables_arn_gives_its_region() -> None:
    options = DynamoDbOptions.model_validate(TABLE)
    assert (options.table, options.stream_region) == (TABLE, "us-east-1")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "give table: or stream_arn:, one of them"),
        ({"table": "orders", "stream_arn": ARN}, "one of them"),
        ("a b", "'a b' is not a table"),
        ({"stream_arn": TABLE}, "is not a stream; write arn:aws:dynamodb"),
        ({"table": "orders", "poll_interval": 0}, "poll_interval"),
        ({"table": "orders", "records_per_read": 1001}, "records_per_read"),
    ],
)
def test_mistakes_are_refused(given: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        DynamoDbOptions.model_validate(given)


def test_a_start_at_a_time_is_refused_in_awss_words() -> None:
    with pytest.raises(ValueError, match=f"Unsupported starting position for arn type: {ARN}"):
        DynamoDbOptions(
            stream_arn=ARN, starting_position="at_timestamp", starting_position_timestamp=1.0
        )


def test_every_setting_is_described() -> None:
    for name, field in DynamoDbOptions.model_fields.items():
        assert field.description, name


def test_the_connector() -> None:
    assert connector.source is DynamoDbSource
    (record,) = connector.sample_events["dynamodb"]["Records"]
    assert record["dynamodb"]["ApproximateCreationDateTime"] == 1774245600.0
    assert len(record["eventID"]) == 32
