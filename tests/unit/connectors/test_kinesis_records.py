"""Kinesis records as handlers and filters see them, byte by byte."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh.connectors import Options
from eventmesh.pulling import StreamSource
from eventmesh.records import Record
from eventmesh.testing import FakeClock
from eventmesh_connectors.kinesis import KinesisOptions, KinesisSource, connector
from eventmesh_connectors.kinesis.records import KinesisWriter, kinesis_fields
from eventmesh_connectors.shards import Listing
from tests.unit.connectors.recording_target import RecordingTarget, make_context

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
NUMBER = "49590338271490256608559692538361571095921575989136588898"
WRITER = KinesisWriter("shardId-000000000000", ARN, "us-east-1", "arn:aws:iam::1:role/lambda-role")


def found(data: bytes = b"hello", key: str = "k", **changes: Any) -> dict[str, Any]:
    """A member of GetRecords' answer."""
    return {
        "SequenceNumber": NUMBER,
        "ApproximateArrivalTimestamp": 1545084650.987,
        "Data": b64encode(data).decode(),
        "PartitionKey": key,
        "EncryptionType": "NONE",
        **changes,
    }


def test_the_record_byte_by_byte() -> None:
    record = WRITER.write(found())
    assert record.event == (
        b'{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"k","sequenceNumber":"'
        b'49590338271490256608559692538361571095921575989136588898","data":"aGVsbG8=",'
        b'"approximateArrivalTimestamp":1545084650.987},"eventSource":"aws:kinesis",'
        b'"eventVersion":"1.0","eventID":"shardId-000000000000:'
        b'49590338271490256608559692538361571095921575989136588898",'
        b'"eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::1:role/lambda-role",'
        b'"awsRegion":"us-east-1",'
        b'"eventSourceARN":"arn:aws:kinesis:us-east-1:000000000000:stream/orders"}'
    )
    assert record == Record(
        NUMBER, record.event, 1545084650.987, "shardId-000000000000", NUMBER, "k"
    )


@given(st.binary(max_size=200), st.text(st.characters(codec="utf-8"), min_size=1, max_size=256))
@settings(max_examples=60)
def test_any_payload_and_key_arrive(data: bytes, key: str) -> None:
    record = WRITER.write(found(data, key))
    kinesis = orjson.loads(record.event)["kinesis"]
    assert kinesis["data"] == b64encode(data).decode()
    assert kinesis["partitionKey"] == record.key == key


def test_times_are_numbers_with_a_fraction() -> None:
    record = WRITER.write(found(ApproximateArrivalTimestamp=1545084650))
    assert b'"approximateArrivalTimestamp":1545084650.0}' in record.event


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b'{"order": 1}', {"order": 1}),
        (b" [1, 2]", [1, 2]),
        (b"{not json", "{not json"),
        (b"17", "17"),
        (b'"text"', '"text"'),
        (b"", ""),
        ("é".encode(), "é"),
    ],
)
def test_filters_see_the_payload_decoded_under_data(data: bytes, seen: Any) -> None:
    fields = kinesis_fields(WRITER.write(found(data)))
    assert fields == {
        "data": seen,
        "kinesisSchemaVersion": "1.0",
        "partitionKey": "k",
        "sequenceNumber": NUMBER,
        "approximateArrivalTimestamp": 1545084650.987,
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000000:{NUMBER}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::1:role/lambda-role",
        "awsRegion": "us-east-1",
        "eventSourceARN": ARN,
    }


def test_payloads_that_are_no_text_are_left_out() -> None:
    fields = kinesis_fields(WRITER.write(found(b"\xff\xfe")))
    assert "data" not in fields
    assert fields["partitionKey"] == "k"


def make_source(clock: FakeClock, **options: Any) -> KinesisSource:
    context = make_context(RecordingTarget(), clock)
    return KinesisSource(KinesisOptions(**options), context)


def test_failure_records_name_the_range_with_milliseconds(clock: FakeClock) -> None:
    source = make_source(clock, stream="orders")
    source._stream = Listing(ARN, 0.0, 0.0, [])
    records = [
        WRITER.write(found(SequenceNumber="9", ApproximateArrivalTimestamp=1711032630.1)),
        WRITER.write(found(SequenceNumber="10", ApproximateArrivalTimestamp=1711032638)),
    ]
    assert source.batch_info(records) == {
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000000",
            "startSequenceNumber": "9",
            "endSequenceNumber": "10",
            "approximateArrivalOfFirstRecord": "2024-03-21T14:50:30.100Z",
            "approximateArrivalOfLastRecord": "2024-03-21T14:50:38.000Z",
            "batchSize": 2,
            "streamArn": ARN,
        }
    }


def test_it_is_a_stream(clock: FakeClock) -> None:
    source = make_source(clock, stream="orders")
    assert isinstance(source, StreamSource)
    assert source.filter_payload == ("data", "refuse")


def test_options() -> None:
    options = KinesisOptions.model_validate("orders")
    assert options.resource == options.stream_name == "orders"
    assert options.stream_region is None
    assert (options.poll_interval, options.records_per_read, options.batch_size) == (1.0, 1000, 100)
    assert options.starting_position == "trim_horizon"


def test_an_arn_gives_name_and_region() -> None:
    options = KinesisOptions.model_validate(ARN.replace("us-east-1", "eu-west-1"))
    assert (options.stream_name, options.stream_region) == ("orders", "eu-west-1")
    assert options.resource == ARN.replace("us-east-1", "eu-west-1")
    assert KinesisOptions(stream=ARN, region="eu-north-1").stream_region == "eu-north-1"


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        ("", "is not a stream"),
        ("a b", "'a b' is not a stream; write its name"),
        ("arn:aws:sqs:us-east-1:000000000000:orders", "is not a stream"),
        (f"{ARN}/consumer/c:1", "this is the ARN of a consumer"),
    ],
)
def test_what_is_no_stream_is_refused(stream: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        KinesisOptions(stream=stream)


@pytest.mark.parametrize("setting", [{"poll_interval": 0}, {"records_per_read": 10_001}])
def test_limits(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        KinesisOptions(stream="orders", **setting)


def test_every_setting_is_described() -> None:
    for name, field in KinesisOptions.model_fields.items():
        assert field.description, name


def test_the_connector() -> None:
    assert connector.source is KinesisSource
    assert issubclass(connector.source_options or int, Options)
    (record,) = connector.sample_events["kinesis"]["Records"]
    assert record["kinesis"]["data"] == "eyJvcmRlciI6IDF9"
    assert record["eventID"] == f"shardId-000000000000:{record['kinesis']['sequenceNumber']}"
