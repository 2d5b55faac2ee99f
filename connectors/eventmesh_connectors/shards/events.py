"""What the events of sharded streams have in common. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import orjson

from eventmesh.records import Record

_event = attrgetter("event")


def join_records(records: Sequence[Record]) -> bytes:
    """The event of a batch."""
    return b'{"Records":[' + b",".join(map(_event, records)) + b"]}"


def read_fields(record: Record) -> dict[str, Any]:
    """The record's own JSON, as a new dict."""
    fields: dict[str, Any] = orjson.loads(record.event)
    return fields


def write_instant(epoch_seconds: float, timespec: str) -> str:
    """A time as failure records have it: `2024-03-21T14:50:30.100Z`."""
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def describe_batch(records: Sequence[Record], arn: str, timespec: str) -> dict[str, Any]:
    """The source's part of a failure record (semantics 4.7)."""
    first, last = records[0], records[-1]
    return {
        "shardId": first.shard,
        "startSequenceNumber": first.position,
        "endSequenceNumber": last.position,
        "approximateArrivalOfFirstRecord": write_instant(first.arrived_at, timespec),
        "approximateArrivalOfLastRecord": write_instant(last.arrived_at, timespec),
        "batchSize": len(records),
        "streamArn": arn,
    }
