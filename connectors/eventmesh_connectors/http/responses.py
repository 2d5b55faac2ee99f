"""Reading a handler's result: what all formats share. Nothing unsafe leaves this module.

A header name that is no token, a control character in a value, a status that cannot be sent, bad
base64: each raises `MalformedResponse`, and the caller gets what the imitated service would answer.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from eventmesh.messages import HttpResponse

Pairs = list[tuple[str, str]]

JSON_TYPE = "application/json"
MAXIMUM_HEADERS = 256
MAXIMUM_HEADER_BYTES = 64 * 1024

#: the server writes these itself, or they belong to one connection
_SERVERS_OWN = frozenset(
    "connection content-length date keep-alive proxy-connection te trailer transfer-encoding "
    "upgrade".split()
)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_JSON_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s"]+', re.DOTALL)
_NO_BODY = frozenset({204, 205, 304})


class MalformedResponse(ValueError):
    """The handler's result cannot be sent. The text says why, for the log."""


def answer(status: int, body: bytes, content_type: str = JSON_TYPE, **headers: str) -> HttpResponse:
    """A response of our own; `headers` by name, `_` for `-`."""
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return HttpResponse(status, body, [("content-type", content_type), *more])


def load(payload: bytes) -> Any:
    """The result as a value. What the handler's runtime let through that is not strict JSON (NaN,
    lone surrogates) is read too."""
    try:
        return orjson.loads(payload)
    except ValueError:
        pass
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedResponse("it is not JSON") from error


def compact(payload: bytes) -> bytes:
    """JSON without the spaces between its tokens; numbers and texts stay as the handler wrote
    them, digit for digit."""
    return b"".join(_JSON_TOKENS.findall(payload))


def encode_text(text: str) -> bytes:
    return text.encode(errors="replace")


def read_status(value: Any, *, text_allowed: bool) -> int:
    """A final status, 200 to 599. API Gateway takes `"201"` for 201, others do not (8.4)."""
    if text_allowed and isinstance(value, str) and re.fullmatch("[0-9]{3}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise MalformedResponse(f"statusCode is {_show(value)}, not a number from 200 to 599")
    return value


def read_headers(value: Any, key: str = "headers") -> Pairs:
    """`headers`: one text, number or boolean for a name; null is none."""
    return [read_header(name, item) for name, item in _items(value, key)]


def read_multi_headers(value: Any, key: str = "multiValueHeaders") -> Pairs:
    """`multiValueHeaders`: a list of them for each name."""
    pairs = []
    for name, items in _items(value, key):
        if not isinstance(items, list):
            raise MalformedResponse(f"{key}[{_show(name)}] is not a list")
        pairs += [read_header(name, item) for item in items]
    return pairs


def read_cookies(value: Any) -> Pairs:
    """`cookies`: a list of texts, each one `set-cookie`."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedResponse("cookies is not a list")
    return [read_header("set-cookie", cookie) for cookie in value]


def read_header(name: str, value: Any) -> tuple[str, str]:
    """One safe header line. Text beyond ASCII is sent as UTF-8 (as the code points 0-255 that a
    server writes as bytes)."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, (int, float)):
        value = str(value)
    if not isinstance(value, str):
        raise MalformedResponse(f"header {_show(name)} has a value that is not text")
    if not _TOKEN.fullmatch(name):
        raise MalformedResponse(f"{_show(name)} is not a header name")
    if _CONTROL.search(value):
        raise MalformedResponse(f"header {_show(name)} has a line break or control character")
    if not value.isascii():
        value = encode_text(value).decode("latin-1")
    return name, value.strip(" \t")


def read_flag(value: Any) -> bool:
    """`isBase64Encoded`."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise MalformedResponse(f"isBase64Encoded is {_show(value)}, not true or false")


def read_body(value: Any, *, base64: bool) -> bytes:
    """`body`: text, or base64 of the bytes to send; null is empty."""
    if value is None:
        return b""
    if not isinstance(value, str):
        raise MalformedResponse("body is not text; did the handler forget json.dumps?")
    if not base64:
        return encode_text(value)
    try:
        return b64decode(encode_text(value), validate=True)
    except binascii.Error as error:
        raise MalformedResponse("isBase64Encoded is true but body is not base64") from error


def finish(
    status: int, headers: Iterable[tuple[str, str]], body: bytes, type_: str
) -> HttpResponse:
    """The response to send: the server's own headers taken out, `type_` as content type where the
    handler named none, limits checked."""
    lines = [line for line in headers if line[0].lower() not in _SERVERS_OWN]
    size = sum(len(name) + len(value) for name, value in lines)
    if len(lines) > MAXIMUM_HEADERS or size > MAXIMUM_HEADER_BYTES:
        raise MalformedResponse(
            f"{len(lines)} header lines of {size} bytes; at most {MAXIMUM_HEADERS} lines "
            f"and {MAXIMUM_HEADER_BYTES} bytes are sent"
        )
    if status in _NO_BODY:
        return HttpResponse(status, b"", lines)
    if not any(name.lower() == "content-type" for name, _ in lines):
        lines.insert(0, ("content-type", type_))
    return HttpResponse(status, body, lines)


def _items(value: Any, key: str) -> Iterable[tuple[str, Any]]:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise MalformedResponse(f"{key} is not an object")
    return value.items()


def _show(value: Any) -> str:
    return repr(value)[:80]
