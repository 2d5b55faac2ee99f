"""The JSON that is sent to the on-failure destination when records are given up (semantics 4.7,
6.3). Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from eventmesh.connectors import InvocationResult
from eventmesh.mappings.attempts import PAYLOAD_SIZE_EXCEEDED, RECORD_AGE_EXCEEDED
from eventmesh.records import Record
from eventmesh.state.contract import Delivery

_MAPPING_PREFIX = "mapping:"
_NAMESPACE = uuid.UUID("6f1c9c0e-9a5b-4a2e-8a83-5b1f5f6d2c11")


@dataclass(frozen=True, slots=True)
class Failure:
    """Records that are given up. `result` is that of the last attempt, None when there was
    none."""

    records: Sequence[Record]
    condition: str
    invoke_count: int
    result: InvocationResult | None = None


@dataclass(frozen=True, slots=True)
class FailureOrigin:
    """Whose records they are: the mapping and its function's unqualified ARN."""

    mapping: str
    function: str
    function_arn: str
    request_id: str


def failure_record(
    failure: Failure,
    origin: FailureOrigin,
    batch_info: Mapping[str, Any],
    now: float,
    payload: bytes | str | None = None,
) -> bytes:
    """The record. `batch_info` is the source's own part; `payload` (the event) is included when
    given: bytes as a JSON value, a text as a string (semantics 6.3).

    Without an attempt's result, and for records that got too old, there is no `responseContext`;
    for events that are too large it is null.
    """
    result = failure.result
    request_id = result.request_id if result else origin.request_id
    record: dict[str, Any] = {
        "requestContext": {
            "requestId": request_id,
            "functionArn": origin.function_arn,
            "condition": failure.condition,
            "approximateInvokeCount": failure.invoke_count,
        }
    }
    if failure.condition == PAYLOAD_SIZE_EXCEEDED:
        record["responseContext"] = None
    elif result is not None and failure.condition != RECORD_AGE_EXCEEDED:
        record["responseContext"] = {
            "statusCode": 200,
            "executedVersion": result.executed_version,
            "functionError": result.function_error,
        }
    record |= {"version": "1.0", "timestamp": _iso_milliseconds(now), **batch_info}
    if payload is not None:
        record["payload"] = orjson.Fragment(payload) if isinstance(payload, bytes) else payload
    return orjson.dumps(record)


def failure_delivery(
    failure: Failure, origin: FailureOrigin, payload: bytes, now: float
) -> Delivery:
    """The outbox row of a failure record. Giving up the same records again gives the same
    `delivery_id`, so that a receiver can tell."""
    first, last = failure.records[0], failure.records[-1]
    parts = (origin.mapping, first.shard, first.id, last.id, failure.condition)
    delivery_id = str(uuid.uuid5(_NAMESPACE, "\x1f".join(parts)))
    result = failure.result
    attributes = {
        "RequestID": result.request_id if result else origin.request_id,
        "DeliveryId": delivery_id,
        "Condition": failure.condition,
        "Mapping": origin.mapping,
        "Shard": first.shard,
    }
    destination = mapping_destination(origin.mapping)
    return Delivery(delivery_id, origin.function, destination, payload, attributes, due_at=now)


def mapping_destination(mapping: str) -> str:
    """How a delivery names the on-failure destination of a mapping, beside the functions' own."""
    return f"{_MAPPING_PREFIX}{mapping}"


def destination_mapping(destination: str) -> str | None:
    """The mapping that `mapping_destination` named; None for a function's own destination."""
    if not destination.startswith(_MAPPING_PREFIX):
        return None
    return destination.removeprefix(_MAPPING_PREFIX)


def _iso_milliseconds(epoch_seconds: float) -> str:
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
