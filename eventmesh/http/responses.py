"""Responses as bytes, and the server's own refusals."""

from __future__ import annotations

import json
import re
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from eventmesh.messages import Headers, HttpResponse

JSON_HEADERS = (("Content-Type", "application/json"),)
#: lets the client of an `Expect: 100-continue` send its body
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
INTERNAL_ERROR = HttpResponse(500, b'{"Message":"Internal server error"}', JSON_HEADERS)
NOT_FOUND = HttpResponse(404, b'{"message":"Not Found"}', JSON_HEADERS)

#: what the server says itself; a route's own values would contradict the framing
_OWNED = frozenset(
    ("connection", "content-length", "date", "keep-alive", "transfer-encoding", "upgrade")
)
_is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_STATUS_LINES = {
    s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus if s.value >= 200
}
_BODILESS = (204, 304)


class Refused(Exception):
    """The client's bytes are refused with `response`; the connection ends after it."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response.status)
        self.response = response


def describe(status: int, message: str, *headers: tuple[str, str]) -> HttpResponse:
    """A response whose body is `{"message": ...}`. `message` may hold foreign text."""
    body = json.dumps({"message": message}).encode()
    return HttpResponse(status, body, (*JSON_HEADERS, *headers))


def refuse_body(largest: int) -> HttpResponse:
    """413 for a body over `largest` bytes, with the header by which AWS's clients name it."""
    text = f"Request must be smaller than {largest + 1} bytes"
    return describe(413, text, ("x-amzn-ErrorType", "RequestTooLargeException"))


def date_line(now: float) -> bytes:
    """The `Date` header line of `now` (seconds since the epoch)."""
    return f"Date: {formatdate(now, usegmt=True)}\r\n".encode()


def encode_response(
    response: HttpResponse,
    *,
    date: bytes = b"",
    connection: bytes = b"",
    without_body: bool = False,
) -> bytes:
    """The bytes of `response` on the wire; `date` and `connection` are whole header lines.

    `without_body` answers a HEAD: the length is told, the body is not sent. 204 and 304 have
    neither. Raises ValueError when the status is no final status (200-599), or a header's name or
    value holds what may not be in one (CR, LF, NUL, no latin-1): such a response must not be sent.
    """
    status, body = response.status, response.body
    start = _STATUS_LINES.get(status) or _status_line(status)
    headers = _encode_headers(response.headers) if response.headers else b""
    if status in _BODILESS:
        length, body = b"\r\n", b""
    else:
        length = b"Content-Length: %d\r\n\r\n" % len(body)
    return b"".join((start, date, connection, headers, length, b"" if without_body else body))


def _status_line(status: int) -> bytes:
    if not 200 <= status <= 599:
        raise ValueError(f"{status!r} is not a final HTTP status (200-599)")
    return b"HTTP/1.1 %d Unknown\r\n" % status


@lru_cache(512)
def _is_ours(name: str) -> bool:
    """Whether the server says this header itself. Raises ValueError for what is no name."""
    if not _is_token(name):
        raise ValueError(f"{name[:100]!r} is not a header name")
    return name.lower() in _OWNED


def _encode_headers(headers: Headers) -> bytes:
    lines = []
    for name, value in headers:
        if not _is_ours(name):
            lines.append(f"{name}: {value}\r\n")
    text = "".join(lines)
    # one look at the whole instead of one at every value
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise ValueError("a header's value holds a line break or NUL")
    return text.encode("latin-1")
