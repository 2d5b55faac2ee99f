"""The events as handlers see them, made by the writers that make the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from .records import EnvelopeWriter, RecordWriter

_ARN = "arn:aws:kafka:us-east-1:123456789012:cluster/orders/751d2973-a626-431c-9d4e-d7975eb44dd7-2"


@dataclass(frozen=True, slots=True)
class SampleMessage:
    offset: int = 15
    timestamp: int | None = 1_545_084_650_987
    timestamp_type: int | None = 0
    key: bytes | None = b"customer-17"
    value: bytes | None = b'{"type":"order.paid","total":100}'
    headers: tuple[tuple[str, bytes | None], ...] = (("trace", b"a1"),)


def _sample(envelope: EnvelopeWriter) -> Any:
    records = RecordWriter(("orders", 0)).write([SampleMessage()], 0.0)
    return orjson.loads(envelope.join(records))


SAMPLE_EVENTS = {
    "self-managed-kafka": _sample(EnvelopeWriter(["localhost:9092"])),
    "msk": _sample(EnvelopeWriter(["b-1.orders.example:9092"], _ARN)),
}
