"""ActiveMQ messages as Lambda's events (semantics 7.1), and the connector's settings."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pydantic import ValidationError

from eventmesh.records import Outcome, Record
from eventmesh_connectors.activemq import (
    ActiveMqDestinationOptions,
    ActiveMqOptions,
    events,
    samples,
)
from eventmesh_connectors.activemq.consumer import Message, QueueConsumer
from eventmesh_connectors.activemq.source import Delivery, sort_outcomes

NOW = 1_598_827_811.959
HEADERS = {
    "message-id": "ID:b-9bcfa592",
    "destination": "/queue/testQueue",
    "subscription": "eventmesh",
    "ack": "ID:b-1:1",
    "persistent": "true",
    "priority": "1",
    "expires": "60000",
    "timestamp": "1598827811958",
    "correlation-id": "c",
    "k": "v",
}


def write(headers: dict[str, str], body: bytes = b"ABC", *, again: bool = False) -> Record:
    return events.RecordWriter("arn").write(headers, body, NOW, None, again=again)


def test_a_message_has_the_shape_of_aws() -> None:
    record = write(HEADERS)
    assert json.loads(record.event) == {
        "messageID": "ID:b-9bcfa592",
        "messageType": "jms/text-message",
        "deliveryMode": 2,
        "replyTo": None,
        "type": None,
        "expiration": "60000",
        "priority": 1,
        "correlationId": "c",
        "redelivered": False,
        "destination": {"physicalName": "testQueue"},
        "data": "QUJD",
        "timestamp": 1598827811958,
        "brokerInTime": 1598827811958,
        "brokerOutTime": 1598827811959,
        "properties": {"k": "v"},
    }
    assert (record.id, record.arrived_at) == ("ID:b-9bcfa592", 1_598_827_811.958)


def test_a_bytes_message_without_properties() -> None:
    event = json.loads(write({"message-id": "m", "content-length": "2"}, b"\xff\x00").event)
    assert event["messageType"] == "jms/bytes-message"
    assert base64.b64decode(event["data"]) == b"\xff\x00"
    assert (event["deliveryMode"], event["expiration"], event["priority"]) == (1, "0", 0)
    assert event["timestamp"] == 1598827811959
    assert event["properties"] == {}


def test_redelivered_by_the_broker_or_by_us() -> None:
    assert json.loads(write({"redelivered": "true"}).event)["redelivered"] is True
    assert json.loads(write({}, again=True).event)["redelivered"] is True


def test_a_broken_timestamp_is_the_time_of_arrival() -> None:
    assert write({"timestamp": "soon"}).arrived_at == NOW
    assert write({"timestamp": "9" * 40}).arrived_at == NOW


def test_the_envelope() -> None:
    writer = events.RecordWriter("arn:aws:mq:1")
    event = json.loads(writer.join([write(HEADERS), write(HEADERS)]))
    assert (event["eventSource"], event["eventSourceArn"]) == ("aws:mq", "arn:aws:mq:1")
    assert len(event["messages"]) == 2
    assert list(event) == ["eventSource", "eventSourceArn", "messages"]


@pytest.mark.parametrize(
    ("body", "expected"), [(b'{"a": 1}', {"a": 1}), (b"12", "12"), (b"{", "{"), (b"", "")]
)
def test_filters_see_the_decoded_data(body: bytes, expected: Any) -> None:
    fields = events.read_fields(write(HEADERS, body))
    assert fields["data"] == expected
    assert fields["properties"] == {"k": "v"}


def test_data_that_is_no_text_is_left_out() -> None:
    assert "data" not in events.read_fields(write(HEADERS, b"\xff"))


def test_the_batch_is_described() -> None:
    info = events.describe_batch("arn", "orders", [write(HEADERS)])["ActiveMQBatchInfo"]
    assert info["messageIds"] == ["ID:b-9bcfa592"]
    assert info["approximateArrivalOfFirstRecord"] == "2020-08-30T22:50:11.958Z"


def test_the_sample_is_an_event() -> None:
    [message] = samples.SAMPLE_EVENTS["activemq"]["messages"]
    assert message["destination"] == {"physicalName": "orders"}


def test_settings() -> None:
    short = ActiveMqOptions.model_validate("orders")
    assert (short.queue, short.batch_size, short.maximum_batching_window) == ("orders", 100, 0.5)
    assert (short.prefetch_count, short.maximum_redeliveries) == (200, 5)
    assert (short.resource, short.address.shown) == ("orders", "localhost:61613")
    options = ActiveMqOptions(queue="q", url="stomp+ssl://mq.example", password="hunter2")
    assert (options.address.port, options.address.tls) == (61614, True)
    assert options.resource == "q@mq.example:61614"
    assert "hunter2" not in repr(options)
    assert ActiveMqDestinationOptions.model_validate("dead").queue == "dead"


@pytest.mark.parametrize(
    "settings",
    [
        {"queue": ""},
        {"queue": "a b"},
        {"queue": "a,b"},
        {"queue": "orders.*"},
        {"queue": "orders?consumer.exclusive=true"},
        {"queue": "q", "url": "tcp://h:61616"},
        {"queue": "q", "url": "stomp://u:hunter2@h"},
        {"queue": "q", "url": "stomp://h:99999"},
        {"queue": "q", "maximum_redeliveries": -2},
    ],
)
def test_mistakes_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        ActiveMqOptions.model_validate(settings)
    assert "hunter2" not in str(caught.value)


def test_what_becomes_of_messages() -> None:
    consumer = QueueConsumer(ActiveMqOptions(queue="q"))

    def outcome(failures: int, succeeded: bool, attempted: bool = True) -> Outcome:
        message = Message({}, b"", failures)
        record = Record("m", b"", 0.0, handle=Delivery(consumer, message))
        return Outcome(record, succeeded, attempted)

    outcomes = [outcome(0, True), outcome(0, False), outcome(5, False), outcome(5, False, False)]
    messages = [one.record.handle.message for one in outcomes]
    found = sort_outcomes(outcomes, 5)[consumer]
    assert [found.done, found.again, found.dead, found.untouched] == [[one] for one in messages]
    assert [one.failures for one in messages] == [0, 1, 6, 5]
    assert sort_outcomes([outcome(99, False)], -1)[consumer].dead == []
