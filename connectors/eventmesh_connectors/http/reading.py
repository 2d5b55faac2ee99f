"""Reading a request into the parts of an event: headers, query, body, host and time.

Whatever bytes a client sent, nothing here raises: what is not UTF-8 is replaced or sent as base64.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, unquote_plus

import orjson

from eventmesh.messages import HttpRequest

from .exchange import Arrival

#: they belong to one connection, not to the request; gateways keep them to themselves
HOP_BY_HOP = (
    "connection",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
)
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_TEXT = frozenset({"application/json", "application/javascript", "application/xml"})


def fold_headers(request: HttpRequest, arrival: Arrival) -> dict[str, str]:
    """Lower-case names; several values of one name joined by `,` in the order sent."""
    folded: dict[str, str] = {}
    for name, value in request.headers:
        key = name.lower()
        folded[key] = f"{folded[key]},{value}" if key in folded else value
    for key in HOP_BY_HOP:
        folded.pop(key, None)
    for key, value in forwarded_headers(request, arrival, folded).items():
        folded[key.lower()] = value
    return folded


def list_headers(
    request: HttpRequest, arrival: Arrival, *, lower: bool
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The headers twice: name to last value, and name to all values.

    Names keep the case in which the client first wrote them, unless `lower`.
    """
    names: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    for name, value in request.headers:
        key = name.lower()
        if key in names:
            several[names[key]].append(value)
        elif key not in HOP_BY_HOP:
            names[key] = key if lower else name
            several[names[key]] = [value]
    last = {key: several[name][-1] for key, name in names.items()}
    for added, value in forwarded_headers(request, arrival, last).items():
        shown = added.lower() if lower else added
        several[names.get(added.lower(), shown)] = [value]
    return {name: values[-1] for name, values in several.items()}, several


def forwarded_headers(
    request: HttpRequest, arrival: Arrival, lower: Mapping[str, str]
) -> dict[str, str]:
    """The headers a gateway adds. Those that a proxy in front of us has set are kept, and the
    client's address is appended to `X-Forwarded-For`. `lower` are the request's by lower-case name.
    """
    before = lower.get("x-forwarded-for")
    added = {"X-Forwarded-For": f"{before}, {request.client_ip}" if before else request.client_ip}
    if "x-forwarded-port" not in lower:
        added["X-Forwarded-Port"] = split_host(lower.get("host", ""))[1] or "80"
    if "x-forwarded-proto" not in lower:
        added["X-Forwarded-Proto"] = "http"
    if "x-amzn-trace-id" not in lower:
        tail = arrival.request_id.replace("-", "")[:24]
        added["X-Amzn-Trace-Id"] = f"Root=1-{int(arrival.now):08x}-{tail}"
    return added


@lru_cache(maxsize=256)
def split_host(host: str) -> tuple[str, str]:
    """Name and port of a Host header; the port is "" when there is none."""
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and port.isdigit() else (host, "")


def split_query(raw: str) -> list[tuple[str, str]]:
    """Names and values as sent; a name without `=` has the value ""."""
    pairs = []
    for part in raw.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((name, value))
    return pairs


def decode_query(raw: str) -> list[tuple[str, str]]:
    """Names and values decoded: `%xx` as UTF-8 and `+` as a space (semantics 8.4)."""
    pairs = split_query(raw)
    if "%" in raw or "+" in raw:
        return [(unquote_plus(name), unquote_plus(value)) for name, value in pairs]
    return pairs


def decode_path(raw: str) -> str:
    """`%xx` as UTF-8; `+` stays."""
    return unquote(raw) if "%" in raw else raw


@lru_cache(maxsize=128)
def is_text(content_type: str) -> bool:
    """Whether a body of this type is shown as text: `text/*`, JSON, JavaScript, XML.

    Form fields are not: HTTP APIs and function URLs send them as base64 (semantics 8.5).
    """
    media = media_type(content_type)
    return media.startswith("text/") or media in _TEXT or media.endswith(("+json", "+xml"))


def media_type(content_type: str) -> str:
    """`image/png` of `Image/PNG; q=1`."""
    return content_type.partition(";")[0].strip().lower()


def encode_body(body: bytes, *, text: bool) -> tuple[str, bool]:
    """The event's `body` and `isBase64Encoded`. Text that is not UTF-8 goes as base64, not
    damaged."""
    if text:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return b64encode(body).decode("ascii"), True


@lru_cache(maxsize=8)
def format_time(second: int) -> str:
    """`12/Mar/2020:19:03:58 +0000`, whatever the locale."""
    moment = time.gmtime(second)
    month = _MONTHS[moment.tm_mon - 1]
    return (
        f"{moment.tm_mday:02}/{month}/{moment.tm_year}"
        f":{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02} +0000"
    )


def dump_event(event: dict[str, Any]) -> bytes:
    """The event as JSON. Code points that cannot be UTF-8 become `?`."""
    try:
        return orjson.dumps(event)
    except TypeError:
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
