"""What the errors of stream services mean, and their answers on the wire."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from eventmesh.errors import PositionExpired, SourceUnavailable
from eventmesh_connectors.shards import IteratorExpired, ShardGone, Throttled, signals
from eventmesh_connectors.shards.faults import answered_at
from eventmesh_connectors.shards.pages import region_of, take_plain


def refused(code: str) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "no"}}
    return ClientError(answer, "GetRecords")


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("ExpiredIteratorException", IteratorExpired),
        ("TrimmedDataAccessException", PositionExpired),
        ("ResourceNotFoundException", ShardGone),
        ("ProvisionedThroughputExceededException", Throttled),
        ("LimitExceededException", Throttled),
        ("ThrottlingException", Throttled),
        ("InvalidArgumentException", SourceUnavailable),
        ("AccessDeniedException", SourceUnavailable),
        ("ExpiredTokenException", SourceUnavailable),
        ("InternalServerError", SourceUnavailable),
    ],
)
def test_codes(code: str, meaning: type[Exception]) -> None:
    with pytest.raises(meaning, match="reading orders: ") as caught, signals("reading orders"):
        raise refused(code)
    assert type(caught.value) is meaning


@pytest.mark.parametrize("code", ["InvalidArgumentException", "ValidationException"])
def test_a_refused_argument_means_what_the_caller_says(code: str) -> None:
    with pytest.raises(PositionExpired), signals("reading orders", PositionExpired):
        raise refused(code)


def test_no_connection() -> None:
    with (
        pytest.raises(SourceUnavailable, match="reading orders: no connection"),
        signals("reading orders"),
    ):
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(KeyError), signals("reading orders"):
        raise KeyError("Records")


def test_the_services_own_clock() -> None:
    headers = {"date": "Mon, 23 Mar 2026 06:00:00 GMT"}
    assert answered_at({"ResponseMetadata": {"HTTPHeaders": headers}}, 7.0) == 1774245600.0
    assert answered_at({"ResponseMetadata": {"HTTPHeaders": {"date": "noon"}}}, 7.0) == 7.0
    assert answered_at({}, 7.0) == 7.0


def test_answers_are_taken_as_they_are_on_the_wire() -> None:
    answer = {"Records": [{"Data": "aGk=", "ApproximateArrivalTimestamp": 1.5}]}
    response: dict[str, Any] = {"status_code": 200, "body": orjson.dumps(answer)}
    taken: dict[str, Any] = {}
    take_plain(response_dict=response, customized_response_dict=taken, operation_model=None)
    assert taken == answer
    assert response["body"] == b"{}"


@pytest.mark.parametrize(
    ("status", "body"), [(400, b'{"__type":"Expired"}'), (200, b"<html>"), (200, b"[]")]
)
def test_errors_and_what_is_no_answer_are_left_to_botocore(status: int, body: bytes) -> None:
    response: dict[str, Any] = {"status_code": status, "body": body}
    taken: dict[str, Any] = {}
    take_plain(response_dict=response, customized_response_dict=taken)
    assert taken == {}
    assert response["body"] == body


def test_regions_of_arns() -> None:
    assert region_of("arn:aws:kinesis:eu-west-1:000000000000:stream/s") == "eu-west-1"
    assert region_of("orders") == ""
