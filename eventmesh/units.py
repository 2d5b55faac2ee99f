"""Durations and sizes as people write them: `30`, `30s`, `500ms`, `5m`; `512`, `6MB`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB)?", re.IGNORECASE)


def parse_duration(value: Any) -> float:
    """Seconds from a number (seconds) or a text such as `500ms`, `30s`, `5m`, `1h`, `2d`.

    Raises ValueError with a text fit for users.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _not_negative(float(value))
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a duration; write seconds as 30, or 500ms, 30s, 5m, 1h, 2d")
    return _not_negative(float(match[1]) * _SECONDS[match[2] or "s"])


def parse_size(value: Any, *, unit: str = "B") -> int:
    """Bytes from a number (in `unit`) or a text such as `512`, `64KB`, `6MB`.

    Raises ValueError with a text fit for users.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(_not_negative(float(value) * _BYTES[unit]))
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a size; write 512, 64KB, 6MB or 1GB")
    return int(_not_negative(float(match[1]) * _BYTES[(match[2] or unit).upper()]))


def _not_negative(number: float) -> float:
    if not 0 <= number < float("inf"):
        raise ValueError("must be 0 or more")
    return number


_TEXT_OR_NUMBER = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}

#: seconds as a float; accepts what `parse_duration` accepts
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({**_TEXT_OR_NUMBER, "description": "seconds, or 500ms, 30s, 5m, 1h, 2d"}),
]
#: bytes as an int; accepts what `parse_size` accepts
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({**_TEXT_OR_NUMBER, "description": "bytes, or 64KB, 6MB, 1GB"}),
]
#: whole megabytes as an int (Lambda's unit for memory and /tmp); `512` and `512MB` and `1GB` are
#: accepted
Megabytes = Annotated[
    int,
    BeforeValidator(lambda value: parse_size(value, unit="MB") // _BYTES["MB"]),
    WithJsonSchema({**_TEXT_OR_NUMBER, "description": "megabytes, or 512MB, 1GB"}),
]
