"""Whether bytes from outside are an event: one strict JSON value (semantics 1.1, 1.3).

The bytes themselves are what the handler gets; nothing is re-encoded.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any, NoReturn

import orjson

from eventmesh.errors import InvalidRequestContent

#: Larger events are checked in a thread: parsing 1 MB costs milliseconds on the event loop.
CHECK_IN_THREAD_BYTES = 64 * 1024
_DEEPEST = 1024
_PREFIX = "Could not parse request body into json: Could not parse payload into json: "


async def check_event(body: bytes) -> bytes:
    """`body` as an event; empty is `{}`. Raises InvalidRequestContent saying what is wrong and
    where."""
    if len(body) > CHECK_IN_THREAD_BYTES:
        return await asyncio.to_thread(checked, body)
    return checked(body)


def checked(body: bytes) -> bytes:
    """As `check_event`, at once."""
    if not body:
        return b"{}"
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _check_slowly(body, str(error))
    return body


def _check_slowly(body: bytes, first_opinion: str) -> None:
    """Accept what orjson refuses but JSON allows: lone surrogates and their like, escaped."""
    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise InvalidRequestContent(f"{_PREFIX}nested deeper than {_DEEPEST} levels") from None
    except UnicodeDecodeError as error:
        raise InvalidRequestContent(f"{_PREFIX}not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise InvalidRequestContent(_PREFIX + (str(error) or first_opinion)) from None
    if _depth(value) > _DEEPEST:
        raise InvalidRequestContent(f"{_PREFIX}nested deeper than {_DEEPEST} levels")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"number out of range: {text[:20]}")
    return number


def _depth(value: Any) -> int:
    """How deep containers are nested, without recursion."""
    deepest, level = 0, [value]
    while level := [v for v in level if isinstance(v, (dict, list))]:
        deepest += 1
        level = [child for v in level for child in (v.values() if isinstance(v, dict) else v)]
    return deepest
