"""What AWS's errors become."""

from __future__ import annotations

import aiohttp
import pytest
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from eventmesh.errors import DestinationError, SourceUnavailable
from eventmesh_connectors.aws import explain, translated
from eventmesh_connectors.aws.faults import near_names
from eventmesh_connectors.aws.messages import message_attributes, message_text
from tests.unit.connectors.fake_aws import client_error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (botocore.NoCredentialsError(), "for a local emulator set AWS_ENDPOINT_URL"),
        (botocore.PartialCredentialsError(provider="env", cred_var="x"), "cannot be used: Partial"),
        (botocore.ProfileNotFound(profile="dev"), "profile (dev) could not be found"),
        (botocore.NoRegionError(), "set region: or AWS_REGION"),
        (botocore.EndpointConnectionError(endpoint_url="http://x:1"), 'endpoint URL: "http://x:1"'),
        (botocore.ReadTimeoutError(endpoint_url="http://x"), "no connection: Read timeout"),
        (aiohttp.ClientPayloadError("cut"), "no connection: cut"),
        (ResponseParserError("not JSON"), "not JSON"),
        (TimeoutError(), "no connection: TimeoutError"),
        (client_error("AccessDenied", "SendMessage"), "not allowed to call SendMessage"),
        (client_error("InvalidClientTokenId"), "does not take the credentials"),
        (client_error("InternalError"), "InternalError: no"),
    ],
)
def test_errors_say_what_to_do(error: Exception, text: str) -> None:
    fault = explain(error)
    assert fault is not None
    assert text in fault.text
    assert not fault.missing


def test_throttling_asks_for_a_pause() -> None:
    with pytest.raises(SourceUnavailable, match=r"reading: throttled \(SlowDown: no\)") as caught:
        with translated("reading"):
            raise client_error("SlowDown")
    assert caught.value.retry_after_seconds == 1.0


def test_what_does_not_exist_is_told_apart() -> None:
    for code in ("AWS.SimpleQueueService.NonExistentQueue", "NoSuchBucket", "NoSuchKey"):
        fault = explain(client_error(code))
        assert fault is not None
        assert fault.missing


def test_destinations_get_their_own_error() -> None:
    with pytest.raises(DestinationError, match="^sending: no connection: reset$"):
        with translated("sending", DestinationError):
            raise ConnectionResetError("reset")


def test_bugs_go_through() -> None:
    assert explain(botocore.ParamValidationError(report="x")) is None
    with pytest.raises(KeyError), translated("reading"):
        raise KeyError("x")


def test_near_names() -> None:
    assert near_names("order", ["orders", "x"], "queues") == "did you mean 'orders'?"
    assert near_names("zz", ["b", "a"], "queues") == "there are the queues a, b"
    assert near_names("zz", list("abcdefg"), "queues") == "there are the queues a, b, c, d, e, ..."
    assert near_names("zz", [], "queues") == "there are no queues"


def test_a_dead_letter_s_attributes_are_typed_and_others_stay_away() -> None:
    given = {
        "RequestID": "r",
        "ErrorCode": "200",
        "ErrorMessage": "bad \x00 thing",
        "DeliveryId": "d",
    }
    assert message_attributes(given) == {
        "RequestID": {"DataType": "String", "StringValue": "r"},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "bad \ufffd thing"},
    }
    assert message_attributes({"ErrorMessage": ""}) == {}


def test_text_that_sqs_refuses_is_escaped() -> None:
    assert message_text('{"a":"\uffff\ufffe"}'.encode()) == '{"a":"\\uffff\\ufffe"}'
