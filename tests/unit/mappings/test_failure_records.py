"""On-failure records as AWS writes them (semantics 4.7, 6.3)."""

from __future__ import annotations

import json
from typing import Any

from eventmesh.connectors import InvocationResult
from eventmesh.mappings.failure_records import (
    Failure,
    FailureOrigin,
    destination_mapping,
    failure_delivery,
    failure_record,
    mapping_destination,
)
from tests.unit.mappings.harness import record

ORIGIN = FailureOrigin("f/kinesis:s", "f", "arn:f", "fresh-id")
INFO = {"KinesisBatchInfo": {"batchSize": 2}}
NOW = 1_711_032_638.511
ERROR = InvocationResult("r-1", b"{}", function_error="Unhandled")


def written(failure: Failure, payload: bytes | str | None = None) -> Any:
    return json.loads(failure_record(failure, ORIGIN, INFO, NOW, payload))


def test_a_failing_handler() -> None:
    failure = Failure([record(1), record(2)], "RetryAttemptsExhausted", 2, ERROR)
    found = written(failure)
    assert found == {
        "requestContext": {
            "requestId": "r-1",
            "functionArn": "arn:f",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 2,
        },
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        },
        "version": "1.0",
        "timestamp": "2024-03-21T14:50:38.511Z",
        "KinesisBatchInfo": {"batchSize": 2},
    }
    assert list(found) == [
        "requestContext", "responseContext", "version", "timestamp", "KinesisBatchInfo",
    ]  # fmt: skip


def test_a_partial_report_is_no_function_error() -> None:
    result = InvocationResult("r-1", b"{}")
    found = written(Failure([record(1)], "RetryAttemptsExhausted", 1, result))
    assert found["responseContext"]["functionError"] is None


def test_records_that_got_too_old_have_no_response() -> None:
    for result in (None, ERROR):
        found = written(Failure([record(1)], "RecordAgeExceeded", 1, result))
        assert "responseContext" not in found
    assert (
        written(Failure([record(1)], "RecordAgeExceeded", 1))["requestContext"]["requestId"]
        == "fresh-id"
    )


def test_events_too_large_have_a_null_response() -> None:
    found = written(Failure([record(1)], "MaximumPayloadSizeExceeded", 1))
    assert found["responseContext"] is None


def test_the_payload_is_an_object_or_a_text() -> None:
    failure = Failure([record(1)], "RetryAttemptsExhausted", 1, ERROR)
    assert written(failure, b'{"Records":[1]}')["payload"] == {"Records": [1]}
    assert written(failure, '{"records":[1]}')["payload"] == '{"records":[1]}'


def test_giving_up_the_same_records_again_is_the_same_delivery() -> None:
    failure = Failure([record(1), record(2)], "RetryAttemptsExhausted", 2, ERROR)
    one = failure_delivery(failure, ORIGIN, b"1", NOW)
    two = failure_delivery(failure, ORIGIN, b"2", NOW + 5)
    other = failure_delivery(Failure([record(2)], "RetryAttemptsExhausted", 2), ORIGIN, b"1", NOW)
    assert one.delivery_id == two.delivery_id != other.delivery_id
    assert (one.function, one.destination) == ("f", "mapping:f/kinesis:s")
    assert one.attributes["DeliveryId"] == one.delivery_id
    assert one.attributes["RequestID"] == "r-1"
    assert one.due_at == NOW


def test_destinations_of_mappings_are_told_from_those_of_functions() -> None:
    assert destination_mapping(mapping_destination("a:b/c")) == "a:b/c"
    assert destination_mapping("on_failure") is None
