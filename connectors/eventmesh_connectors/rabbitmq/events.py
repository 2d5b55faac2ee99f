"""Messages as the records handlers see (semantics 7.2). Pure; a record is encoded once."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import orjson
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from eventmesh.records import Record
from eventmesh_connectors.rabbitmq.addresses import BrokerAddress

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: tables in tables; deeper ones are left out
_DEEPEST_HEADER = 20


class RecordWriter:
    """Makes the records and the events of one queue.

    `counts_retries`: messages without a messageId get an id that stays the same when they are
    delivered again.
    """

    def __init__(self, arn: str, queue: str, virtual_host: str, *, counts_retries: bool) -> None:
        self.arn = arn
        key = orjson.dumps(f"{queue}::{virtual_host}")
        self._head = b'{"eventSource":"aws:rmq","eventSourceArn":%b,"rmqMessagesByQueue":{%b:[' % (
            orjson.dumps(arn),
            key,
        )
        self._counts_retries = counts_retries

    def write(
        self, message: DeliveredMessage, delivery_id: str, now: float, handle: object
    ) -> Record:
        """The record of a delivered message. `delivery_id` names this delivery, `now` is epoch
        seconds."""
        properties, body = message.header.properties, message.body
        event = b'{"basicProperties":%b,"redelivered":%b,"data":"%b"}' % (
            encode_properties(properties, len(body)),
            b"true" if message.redelivered else b"false",
            b2a_base64(body, newline=False),
        )
        name = properties.message_id
        if not name:
            name = _digest(message) if self._counts_retries else delivery_id
        return Record(name, event, _arrival(properties.timestamp, now), handle=handle)

    def join(self, records: Sequence[Record]) -> bytes:
        """The event of a batch."""
        return self._head + b",".join([record.event for record in records]) + b"]}}"


def build_arn(region: str, account: str, address: BrokerAddress) -> str:
    """An ARN as Amazon MQ's, the same for the same broker."""
    identity = uuid5(NAMESPACE_URL, f"amqp://{address.host}:{address.port}")
    return f"arn:aws:mq:{region}:{account}:broker:{address.host}:b-{identity}"


def encode_properties(properties: Basic.Properties, body_size: int) -> bytes:
    """The JSON of `basicProperties`."""
    headers, stamp = properties.headers, properties.timestamp
    return orjson.dumps(
        {
            "contentType": properties.content_type,
            "contentEncoding": properties.content_encoding,
            "headers": _encode_header(headers, 0) if headers is not None else None,
            "deliveryMode": properties.delivery_mode,
            "priority": properties.priority,
            "correlationId": properties.correlation_id,
            "replyTo": properties.reply_to,
            "expiration": properties.expiration,
            "messageId": properties.message_id,
            "timestamp": format_timestamp(stamp) if stamp is not None else None,
            "type": properties.message_type,
            "userId": properties.user_id,
            "appId": properties.app_id,
            "clusterId": properties.cluster_id or None,
            "bodySize": body_size,
        }
    )


def format_timestamp(moment: datetime) -> str:
    """`Jan 1, 1970, 12:33:41 AM`, in UTC: how AWS writes it."""
    moment = moment.astimezone(UTC)
    half = "AM" if moment.hour < 12 else "PM"
    return (
        f"{_MONTHS[moment.month - 1]} {moment.day}, {moment.year},"
        f" {moment.hour % 12 or 12}:{moment.minute:02}:{moment.second:02} {half}"
    )


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


def describe_batch(
    arn: str, queue: str, virtual_host: str, records: Sequence[Record]
) -> dict[str, Any]:
    """The queue's part of an on-failure record. AWS has none for brokers; this one is shaped like
    its stream records."""
    arrivals = [record.arrived_at for record in records]
    return {
        "RabbitMQBatchInfo": {
            "brokerArn": arn,
            "queue": queue,
            "virtualHost": virtual_host,
            "messageIds": [record.id for record in records],
            "approximateArrivalOfFirstRecord": _iso_milliseconds(min(arrivals)),
            "approximateArrivalOfLastRecord": _iso_milliseconds(max(arrivals)),
            "batchSize": len(records),
        }
    }


def _encode_header(value: Any, depth: int) -> Any:
    """A header's value: texts are `{"bytes": [...]}`, as Java's client holds them."""
    if isinstance(value, str):
        return {"bytes": list(value.encode())}
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return {"bytes": list(value)}
    if isinstance(value, datetime):
        return format_timestamp(value)
    if isinstance(value, Decimal):
        return float(value)
    if depth >= _DEEPEST_HEADER:
        return None
    if isinstance(value, Mapping):
        return {str(key): _encode_header(one, depth + 1) for key, one in value.items()}
    return [_encode_header(one, depth + 1) for one in value]


def _arrival(stamp: datetime | None, now: float) -> float:
    """When the publisher sent it, where it says so: ages then count across deliveries."""
    if stamp is None:
        return now
    sent = stamp.timestamp()
    return sent if 0 < sent <= now else now


def _digest(message: DeliveredMessage) -> str:
    properties = message.header.properties
    marks = (message.exchange, message.routing_key, properties.correlation_id, properties.timestamp)
    digest = hashlib.blake2b(message.body, digest_size=16, key=b"")
    digest.update(repr(marks).encode())
    return digest.hexdigest()


def _iso_milliseconds(epoch_seconds: float) -> str:
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
