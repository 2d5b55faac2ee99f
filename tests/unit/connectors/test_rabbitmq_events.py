"""RabbitMQ messages as Lambda's events (semantics 7.2)."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from eventmesh_connectors.rabbitmq import events, samples
from eventmesh_connectors.rabbitmq.addresses import parse_address

ARN = "arn:aws:mq:us-east-1:000000000000:broker:b:b-1"
NOW = 1_700_000_000.0


def delivered(
    body: bytes = b"{}",
    *,
    redelivered: bool = False,
    exchange: str = "",
    tag: int = 1,
    **properties: Any,
) -> DeliveredMessage:
    header = ContentHeader(body_size=len(body), properties=Basic.Properties(**properties))
    delivery = Basic.Deliver("c", tag, redelivered, exchange, "orders")
    return DeliveredMessage(delivery=delivery, header=header, body=body, channel=None)  # type: ignore[arg-type]


def writer(*, counts_retries: bool = False) -> events.RecordWriter:
    return events.RecordWriter(ARN, "orders", "/", counts_retries=counts_retries)


def write(message: DeliveredMessage, **options: bool) -> Any:
    return writer(**options).write(message, "1:1", NOW, None)


def event_of(message: DeliveredMessage) -> Any:
    return json.loads(write(message).event)


def test_a_full_message_has_the_shape_of_aws() -> None:
    message = delivered(
        b'{"a": 1}',
        content_type="text/plain",
        headers={"header1": "value1", "numberInHeader": 10},
        delivery_mode=1,
        priority=34,
        expiration="60000",
        timestamp=datetime(1970, 1, 1, 0, 33, 41, tzinfo=UTC),
        user_id="AIDACKCEVSQ6C2EXAMPLE",
    )
    assert event_of(message) == {
        "basicProperties": {
            "contentType": "text/plain",
            "contentEncoding": None,
            "headers": {
                "header1": {"bytes": [118, 97, 108, 117, 101, 49]},
                "numberInHeader": 10,
            },
            "deliveryMode": 1,
            "priority": 34,
            "correlationId": None,
            "replyTo": None,
            "expiration": "60000",
            "messageId": None,
            "timestamp": "Jan 1, 1970, 12:33:41 AM",
            "type": None,
            "userId": "AIDACKCEVSQ6C2EXAMPLE",
            "appId": None,
            "clusterId": None,
            "bodySize": 8,
        },
        "redelivered": False,
        "data": "eyJhIjogMX0=",
    }


def test_a_message_without_properties_or_body() -> None:
    event = event_of(delivered(b"", redelivered=True))
    assert event["redelivered"] is True
    assert event["data"] == ""
    assert event["basicProperties"]["headers"] is None
    assert event["basicProperties"]["bodySize"] == 0


def test_the_envelope_keys_messages_by_queue_and_virtual_host() -> None:
    two_hosts = events.RecordWriter(ARN, 'or"ders', "prod", counts_retries=False)
    records = [two_hosts.write(delivered(body), "1:1", NOW, None) for body in (b"1", b"2")]
    event = json.loads(two_hosts.join(records))
    assert event["eventSource"] == "aws:rmq"
    assert event["eventSourceArn"] == ARN
    messages = event["rmqMessagesByQueue"]['or"ders::prod']
    assert [base64.b64decode(one["data"]) for one in messages] == [b"1", b"2"]
    assert list(event["rmqMessagesByQueue"]) == ['or"ders::prod']


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("é", {"bytes": [195, 169]}),
        (b"\xff\x00", {"bytes": [255, 0]}),
        (bytearray(b"ab"), {"bytes": [97, 98]}),
        (True, True),
        (-3, -3),
        (2**63, 2**63),
        (1.5, 1.5),
        (None, None),
        (Decimal("1.25"), 1.25),
        (datetime(2026, 12, 31, 13, 5, 9, tzinfo=UTC), "Dec 31, 2026, 1:05:09 PM"),
        ([1, "a"], [1, {"bytes": [97]}]),
        ({"k": {"n": "v"}}, {"k": {"n": {"bytes": [118]}}}),
        (float("nan"), None),
    ],
)
def test_header_values(value: Any, expected: Any) -> None:
    headers = event_of(delivered(headers={"h": value}))["basicProperties"]["headers"]
    assert headers == {"h": expected}


def test_headers_nested_too_deeply_are_cut() -> None:
    value: Any = 1
    for _ in range(300):
        value = [value]
    found = event_of(delivered(headers={"h": value}))["basicProperties"]["headers"]["h"]
    depth = 0
    while found is not None:
        found, depth = found[0], depth + 1
    assert depth == 19


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 3, 4, 0, 0, 0, tzinfo=UTC), "Mar 4, 2026, 12:00:00 AM"),
        (datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC), "Mar 4, 2026, 12:00:00 PM"),
        (datetime(2026, 3, 4, 23, 59, 59, tzinfo=UTC), "Mar 4, 2026, 11:59:59 PM"),
        (
            datetime(2026, 3, 4, 1, 0, 0, tzinfo=timezone(timedelta(hours=2))),
            "Mar 3, 2026, 11:00:00 PM",
        ),
    ],
)
def test_timestamps_are_american_and_in_utc(moment: datetime, text: str) -> None:
    assert events.format_timestamp(moment) == text


def test_the_id_is_the_message_id_else_that_of_the_delivery() -> None:
    assert write(delivered(message_id="m-1")).id == "m-1"
    assert write(delivered()).id == "1:1"


def test_where_retries_are_counted_the_id_survives_a_delivery() -> None:
    first = write(delivered(b"x", tag=1), counts_retries=True).id
    again = write(delivered(b"x", tag=9, redelivered=True), counts_retries=True).id
    assert first == again
    assert len(first) == 32
    assert write(delivered(b"y"), counts_retries=True).id != first
    assert write(delivered(b"x", exchange="e"), counts_retries=True).id != first
    assert write(delivered(b"x", message_id="m"), counts_retries=True).id == "m"


def test_age_counts_from_the_publishers_timestamp_unless_it_lies_ahead() -> None:
    sent = datetime.fromtimestamp(NOW - 60, UTC)
    assert write(delivered(timestamp=sent)).arrived_at == NOW - 60
    assert write(delivered(timestamp=datetime(2999, 1, 1, tzinfo=UTC))).arrived_at == NOW
    assert write(delivered()).arrived_at == NOW


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": [1]}', {"a": [1]}),
        (b" [1]", [1]),
        (b"12", "12"),
        (b"{broken", "{broken"),
        ("é".encode(), "é"),
        (b"", ""),
    ],
)
def test_filters_see_the_decoded_data(body: bytes, expected: Any) -> None:
    fields = events.read_fields(write(delivered(body, message_id="m")))
    assert fields["data"] == expected
    assert fields["basicProperties"]["messageId"] == "m"


def test_data_that_is_no_text_is_left_out() -> None:
    assert "data" not in events.read_fields(write(delivered(b"\xff\xfe")))


def test_the_batch_is_described() -> None:
    one = write(delivered(message_id="a", timestamp=datetime.fromtimestamp(NOW - 1.5, UTC)))
    two = write(delivered(message_id="b"))
    assert events.describe_batch(ARN, "orders", "/", [two, one]) == {
        "RabbitMQBatchInfo": {
            "brokerArn": ARN,
            "queue": "orders",
            "virtualHost": "/",
            "messageIds": ["b", "a"],
            "approximateArrivalOfFirstRecord": "2023-11-14T22:13:18.500Z",
            "approximateArrivalOfLastRecord": "2023-11-14T22:13:20.000Z",
            "batchSize": 2,
        }
    }


def test_the_arn_stays_the_same_for_a_broker() -> None:
    one = events.build_arn("eu-west-1", "1", parse_address("amqp://u:secret@mq/prod"))
    two = events.build_arn("eu-west-1", "1", parse_address("amqp://mq:5672/"))
    assert one == two
    assert one.startswith("arn:aws:mq:eu-west-1:1:broker:mq:b-")
    assert events.build_arn("eu-west-1", "1", parse_address("amqp://mq:5673/")) != one


def test_the_sample_is_an_event() -> None:
    [message] = samples.SAMPLE_EVENTS["rabbitmq"]["rmqMessagesByQueue"]["orders::/"]
    assert json.loads(base64.b64decode(message["data"])) == {"order": 1, "total": 12.5}


@given(st.binary(max_size=300))
def test_any_body_survives(body: bytes) -> None:
    assert base64.b64decode(event_of(delivered(body))["data"]) == body
