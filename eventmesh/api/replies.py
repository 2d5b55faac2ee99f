"""Errors and refusals in the Lambda API's wire form (semantics 0, 1.5, 11.4)."""

from __future__ import annotations

import functools
import ipaddress

import orjson

from eventmesh.errors import AccessDenied, InvocationError, ServiceError, TooManyRequests
from eventmesh.messages import HttpRequest, HttpResponse

JSON = ("Content-Type", "application/json")


def error_reply(error: InvocationError, request_id: str) -> HttpResponse:
    """`error` as AWS would put it: status, `x-amzn-ErrorType`, and a body with `Type` and the
    message."""
    kind = "Service" if error.status >= 500 else "User"
    body: dict[str, str] = {"Type": kind, error.message_key: str(error)}
    if isinstance(error, TooManyRequests):
        body = {"Reason": error.reason, **body}
    headers = [JSON, ("x-amzn-ErrorType", error.code), ("x-amzn-RequestId", request_id)]
    if isinstance(error, TooManyRequests | ServiceError):
        headers.append(("Retry-After", "1"))
    return HttpResponse(error.status, orjson.dumps(body), headers)


def refuse_strangers(request: HttpRequest) -> AccessDenied | None:
    """The engine's own API answers this machine only; None when the caller is on it."""
    if not _is_loopback(request.client_ip):
        return AccessDenied("the API answers loopback addresses only")
    # no SDK sends Origin; a web page that a browser on this machine shows always does
    if request.header("origin") is not None:
        return AccessDenied("the API does not answer web pages")
    return None


@functools.lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
