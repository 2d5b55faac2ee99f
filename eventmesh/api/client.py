"""Calls a running engine's invoke API, for the command line. Standard library, blocking."""

from __future__ import annotations

import base64
import http.client
from dataclasses import dataclass

import orjson

from eventmesh.errors import EventMeshError


class EngineUnreachable(EventMeshError):
    """No engine answers at this address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the invoke API answered. `log_tail` is decoded text."""

    status: int
    payload: bytes
    request_id: str
    executed_version: str | None = None
    function_error: str | None = None
    log_tail: str = ""


def invoke(
    address: str, function: str, event: bytes, invocation_type: str = "RequestResponse"
) -> Answer:
    """POST one invocation to `host:port`. Waits up to 15 minutes, Lambda's longest timeout.

    Raises EngineUnreachable. An API error is an `Answer` with its status and JSON body.
    """
    connection = http.client.HTTPConnection(address, timeout=905)
    headers = {"X-Amz-Invocation-Type": invocation_type, "X-Amz-Log-Type": "Tail"}
    if invocation_type != "RequestResponse":
        del headers["X-Amz-Log-Type"]
    path = f"/2015-03-31/functions/{function}/invocations"
    try:
        connection.request("POST", path, event, headers)
        response = connection.getresponse()
        return _answer(response, response.read())
    except (OSError, http.client.HTTPException) as error:
        raise EngineUnreachable(f"no engine answers at {address}: {error}") from error
    finally:
        connection.close()


def error_text(answer: Answer) -> str:
    """The API's own message in an error answer."""
    try:
        body = orjson.loads(answer.payload)
        return str(body.get("message") or body.get("Message"))
    except (ValueError, AttributeError):
        return f"status {answer.status}"


def _answer(response: http.client.HTTPResponse, payload: bytes) -> Answer:
    tail = response.getheader("X-Amz-Log-Result") or ""
    return Answer(
        response.status,
        payload,
        response.getheader("x-amzn-RequestId") or "",
        response.getheader("X-Amz-Executed-Version"),
        response.getheader("X-Amz-Function-Error"),
        base64.b64decode(tail).decode(errors="replace"),
    )
