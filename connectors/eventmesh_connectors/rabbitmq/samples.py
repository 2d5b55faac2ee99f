"""The event as handlers see it, made by the writer that makes the real ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from eventmesh_connectors.rabbitmq.addresses import parse_address
from eventmesh_connectors.rabbitmq.events import RecordWriter, build_arn

_BODY = b'{"order": 1, "total": 12.5}'
_SENT = datetime(2026, 3, 23, 6, 0, tzinfo=UTC)


def _sample() -> Any:
    arn = build_arn("us-east-1", "000000000000", parse_address("amqp://localhost/"))
    properties = Basic.Properties(
        content_type="application/json",
        headers={"kind": "paid", "attempt": 1},
        delivery_mode=2,
        message_id="order-1",
        timestamp=_SENT,
    )
    delivery = Basic.Deliver("eventmesh", 1, False, "", "orders")
    header = ContentHeader(body_size=len(_BODY), properties=properties)
    # the sample needs no channel: only what the writer reads
    message = DeliveredMessage(delivery=delivery, header=header, body=_BODY, channel=None)  # type: ignore[arg-type]
    writer = RecordWriter(arn, "orders", "/", counts_retries=False)
    return orjson.loads(writer.join([writer.write(message, "1:1", _SENT.timestamp(), None)]))


SAMPLE_EVENTS = {"rabbitmq": _sample()}
