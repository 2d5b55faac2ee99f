"""Messages as the records handlers see (semantics 7.1). Pure; a record is encoded once."""

from __future__ import annotations

from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import orjson

from eventmesh.records import Record

#: STOMP headers that are no JMS properties
_OWN = frozenset(
    {
        "ack", "content-length", "content-type", "correlation-id", "destination", "expires",
        "message-id", "persistent", "priority", "redelivered", "reply-to", "subscription",
        "timestamp", "type", "receipt", "transaction",
    }
)  # fmt: skip
_PERSISTENT, _NOT_PERSISTENT = 2, 1


class RecordWriter:
    """Makes the records and the events of one queue."""

    def __init__(self, arn: str) -> None:
        self.arn = arn
        arn_json = orjson.dumps(arn)
        self._head = b'{"eventSource":"aws:mq","eventSourceArn":%b,"messages":[' % arn_json

    def write(
        self, headers: Mapping[str, str], body: bytes, now: float, handle: object, *, again: bool
    ) -> Record:
        """The record of a message frame. `now` is epoch seconds; `again` says that it was tried
        before, whatever the broker says."""
        id_ = headers.get("message-id", "")
        now_ms = int(now * 1000)
        sent_ms = _read_int(headers.get("timestamp")) or now_ms
        fields = {
            "messageID": id_,
            # only bytes messages have a length of their own (ActiveMQ's frame translator)
            "messageType": f"jms/{'bytes' if 'content-length' in headers else 'text'}-message",
            "deliveryMode": _PERSISTENT if headers.get("persistent") == "true" else _NOT_PERSISTENT,
            "replyTo": headers.get("reply-to"),
            "type": headers.get("type"),
            "expiration": headers.get("expires", "0"),
            "priority": _read_int(headers.get("priority")),
            "correlationId": headers.get("correlation-id"),
            "redelivered": again or headers.get("redelivered") == "true",
            "destination": {"physicalName": _physical_name(headers.get("destination", ""))},
        }
        times = {
            "timestamp": sent_ms,
            "brokerInTime": sent_ms,
            "brokerOutTime": now_ms,
            "properties": {key: text for key, text in headers.items() if key not in _OWN},
        }
        event = b'%b,"data":"%b",%b' % (
            orjson.dumps(fields)[:-1],
            b2a_base64(body, newline=False),
            orjson.dumps(times)[1:],
        )
        return Record(id_, event, min(sent_ms, now_ms) / 1000, handle=handle)

    def join(self, records: Sequence[Record]) -> bytes:
        """The event of a batch."""
        return self._head + b",".join([record.event for record in records]) + b"]}"


def build_arn(region: str, account: str, host: str, port: int) -> str:
    """An ARN as Amazon MQ's, the same for the same broker."""
    identity = uuid5(NAMESPACE_URL, f"stomp://{host}:{port}")
    return f"arn:aws:mq:{region}:{account}:broker:{host}:b-{identity}"


def read_fields(record: Record) -> dict[str, Any]:
    """What filter patterns see: the record with `data` decoded, parsed where it is a JSON object or
    array, left out where it is no text (semantics 3.6)."""
    fields: dict[str, Any] = orjson.loads(record.event)
    data = b64decode(fields.pop("data"))
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return fields
    fields["data"] = text
    if text.lstrip()[:1] in ("{", "["):
        try:
            fields["data"] = orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
    return fields


def describe_batch(arn: str, queue: str, records: Sequence[Record]) -> dict[str, Any]:
    """The queue's part of an on-failure record. AWS has none for brokers; this one is shaped like
    its stream records."""
    arrivals = [record.arrived_at for record in records]
    return {
        "ActiveMQBatchInfo": {
            "brokerArn": arn,
            "queue": queue,
            "messageIds": [record.id for record in records],
            "approximateArrivalOfFirstRecord": _iso_milliseconds(min(arrivals)),
            "approximateArrivalOfLastRecord": _iso_milliseconds(max(arrivals)),
            "batchSize": len(records),
        }
    }


def _physical_name(destination: str) -> str:
    return destination.removeprefix("/queue/").removeprefix("/topic/")


def _read_int(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 19 else 0


def _iso_milliseconds(epoch_seconds: float) -> str:
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
