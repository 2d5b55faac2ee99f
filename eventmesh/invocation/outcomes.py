"""The records that leave with an asynchronous event: destination records and dead letters
(semantics 2.2, 2.3). Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import orjson

from eventmesh.connectors import InvocationResult
from eventmesh.functions.function import Function
from eventmesh.state.contract import DeadLetter, Delivery, Finished, QueuedEvent

SUCCESS = "Success"
_LONGEST_ERROR = 1024


def succeeded(
    function: Function, event: QueuedEvent, result: InvocationResult, now: float
) -> Finished:
    """The event was handled: it leaves the queue, its record goes to OnSuccess where configured."""
    if function.asynchronous.on_success is None:
        return Finished(event)
    payload = destination_record(function, event, SUCCESS, event.attempts + 1, result, now)
    return Finished(event, (_delivery(event, "on_success", payload, {}, now),))


def failed(
    function: Function,
    event: QueuedEvent,
    condition: str,
    result: InvocationResult | None,
    now: float,
) -> Finished:
    """The event ended in failure: OnFailure and the dead-letter queue both get theirs; a dead
    letter is kept."""
    config, deliveries = function.asynchronous, []
    if config.on_failure is not None:
        payload = destination_record(function, event, condition, event.attempts, result, now)
        deliveries.append(_delivery(event, "on_failure", payload, {}, now))
    if config.dead_letter_queue is not None:
        attributes = dead_letter_attributes(event, condition, result)
        deliveries.append(_delivery(event, "dead_letter_queue", event.payload, attributes, now))
    return Finished(event, tuple(deliveries), _dead_letter(function, event, condition, result, now))


def sent_to(function: Function) -> str:
    """Where failures of the function go, for people; "" when nowhere but `eventmesh dlq`."""
    config = function.asynchronous
    targets = [t for t in (config.on_failure, config.dead_letter_queue) if t is not None]
    return ", ".join(f"{t.connector} {t.resource}" for t in targets)


def destination_record(
    function: Function,
    event: QueuedEvent,
    condition: str,
    invoke_count: int,
    result: InvocationResult | None,
    now: float,
) -> bytes:
    """The JSON record of semantics 2.3. Without a result (never invoked) it has no response
    parts."""
    record: dict[str, object] = {
        "version": "1.0",
        "timestamp": _iso_milliseconds(now),
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": f"{function.arn}:{event.qualifier or function.version}",
            "condition": condition,
            "approximateInvokeCount": invoke_count,
        },
        "requestPayload": _embedded(event.payload),
    }
    if result is not None:
        context = {"statusCode": 200, "executedVersion": result.executed_version}
        if result.function_error:
            context["functionError"] = result.function_error
        record["responseContext"] = context
        record["responsePayload"] = _embedded(result.payload)
    return orjson.dumps(record)


def dead_letter_attributes(
    event: QueuedEvent, condition: str, result: InvocationResult | None
) -> dict[str, str]:
    """The three message attributes of semantics 2.2."""
    message = (result.error_message if result else None) or condition
    code = "200" if result else "429"
    return {
        "RequestID": event.request_id,
        "ErrorCode": code,
        "ErrorMessage": message.encode()[:_LONGEST_ERROR].decode(errors="ignore"),
    }


def _delivery(
    event: QueuedEvent, destination: str, payload: bytes, attributes: dict[str, str], now: float
) -> Delivery:
    delivery_id = f"{event.request_id}-{destination}"
    everywhere = {"RequestID": event.request_id, "DeliveryId": delivery_id}
    return Delivery(
        delivery_id, event.function, destination, payload, attributes | everywhere, due_at=now
    )


def _dead_letter(
    function: Function,
    event: QueuedEvent,
    condition: str,
    result: InvocationResult | None,
    now: float,
) -> DeadLetter:
    return DeadLetter(
        request_id=event.request_id,
        function=event.function,
        payload=event.payload,
        accepted_at=event.accepted_at,
        failed_at=now,
        condition=condition,
        attempts=event.attempts,
        error_type=(result.error_type if result else None) or condition,
        error_message=((result.error_message if result else None) or "")[:_LONGEST_ERROR],
        source=event.source,
        qualifier=event.qualifier,
        sent_to=sent_to(function),
    )


def _embedded(payload: bytes) -> orjson.Fragment | str:
    """JSON bytes inside a record, unchanged; a raw result that is no JSON becomes a string."""
    try:
        json.loads(payload, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return payload.decode(errors="replace")
    return orjson.Fragment(payload)


def _refuse(name: str) -> object:
    raise ValueError(name)


def _iso_milliseconds(epoch_seconds: float) -> str:
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
