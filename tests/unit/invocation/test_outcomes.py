"""The records that leave with an event, to the byte (semantics 2.2, 2.3)."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from eventmesh.connectors import InvocationResult
from eventmesh.invocation import outcomes
from eventmesh.state.contract import QueuedEvent
from tests.unit.invocation.harness import SINK, function

EVENT = QueuedEvent("id-1", "f", b'{"n":  1}', 1000.0, 1000.0, attempts=3, source="f/s3:./in")
NOW = 1711032638.511
FAILURE = InvocationResult(
    "id-1",
    b'{"errorMessage": "no", "errorType": "E"}',
    function_error="Unhandled",
    error_type="E",
    error_message="no",
)


def test_a_failure_record_is_the_recorded_one() -> None:
    finished = outcomes.failed(
        function("f", on_failure=SINK), EVENT, "RetriesExhausted", FAILURE, NOW
    )
    assert finished.deliveries[0].payload == (
        b'{"version":"1.0","timestamp":"2024-03-21T14:50:38.511Z","requestContext":{"requestId":"id-1",'
        b'"functionArn":"arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST",'
        b'"condition":"RetriesExhausted","approximateInvokeCount":3},"requestPayload":{"n":  1},'
        b'"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},'
        b'"responsePayload":{"errorMessage": "no", "errorType": "E"}}'
    )


def test_a_success_record_counts_the_attempt_that_succeeded() -> None:
    result = InvocationResult("id-1", b'"fine"')
    finished = outcomes.succeeded(
        function("f", on_success=SINK), replace(EVENT, attempts=1), result, NOW
    )
    record = orjson.loads(finished.deliveries[0].payload)
    assert record["requestContext"]["condition"] == "Success"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert finished.dead_letter is None


def test_the_callers_qualifier_is_in_the_arn() -> None:
    event = replace(EVENT, qualifier="live")
    record = outcomes.destination_record(function("f"), event, "Success", 1, None, NOW)
    assert orjson.loads(record)["requestContext"]["functionArn"].endswith(":function:f:live")


@pytest.mark.parametrize("payload", [b"NaN", b"\xff\xfe raw", b"[" * 100_000])
def test_a_result_that_is_no_json_becomes_a_string_and_the_record_stays_valid(
    payload: bytes,
) -> None:
    result = InvocationResult("id-1", payload)
    record = outcomes.destination_record(function("f"), EVENT, "Success", 1, result, NOW)
    assert orjson.loads(record)["responsePayload"] == payload.decode(errors="replace")


def test_the_dead_letter_queue_gets_the_bare_event_and_three_attributes() -> None:
    finished = outcomes.failed(
        function("f", dead_letter_queue=SINK), EVENT, "RetriesExhausted", FAILURE, NOW
    )
    delivery = finished.deliveries[0]
    assert delivery.payload == EVENT.payload
    assert delivery.destination == "dead_letter_queue"
    assert {k: v for k, v in delivery.attributes.items() if k != "DeliveryId"} == {
        "RequestID": "id-1",
        "ErrorCode": "200",
        "ErrorMessage": "no",
    }


def test_a_long_error_message_is_cut_to_one_kilobyte_of_whole_characters() -> None:
    result = replace(FAILURE, error_message="é" * 2000)
    message = outcomes.dead_letter_attributes(EVENT, "RetriesExhausted", result)["ErrorMessage"]
    assert message == "é" * 512


def test_without_destinations_the_failure_is_still_kept() -> None:
    finished = outcomes.failed(function("f"), EVENT, "EventAgeExceeded", None, NOW)
    assert finished.deliveries == ()
    assert finished.dead_letter is not None
    assert finished.dead_letter.payload == EVENT.payload
    assert (finished.dead_letter.condition, finished.dead_letter.source) == (
        "EventAgeExceeded",
        "f/s3:./in",
    )
