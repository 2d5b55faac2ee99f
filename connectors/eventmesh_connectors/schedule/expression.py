"""Schedule expressions: `cron(...)`, `rate(...)` and `at(...)` (semantics 8.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from .cron import CronExpression, parse_cron
from .fields import YEAR
from .hints import hint_for

#: AWS takes no longer expression
LONGEST_EXPRESSION = 256
_LONGEST_RATE = timedelta(days=36_500)

_CALL = re.compile(r"(cron|rate|at)\s*\((.*)\)", re.IGNORECASE | re.DOTALL)
_RATE = re.compile(r"([0-9]{1,9})\s+(minute|hour|day)(s?)")
_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}


@dataclass(frozen=True, slots=True)
class RateExpression:
    """Fires every `period`, counted from an anchor."""

    text: str
    period: timedelta


@dataclass(frozen=True, slots=True)
class AtExpression:
    """Fires once, at the wall-clock time `wall` of the schedule's time zone."""

    text: str
    wall: datetime


Expression = CronExpression | RateExpression | AtExpression


def parse_expression(text: str) -> Expression:
    """Parse an expression as AWS writes it. Names and letters may be in either case.

    Raises ValueError in plain words: the field, what was given, what is allowed, and a hint where
    the text looks like something known (a Unix cron line, `@daily`).
    """
    text = text.strip()
    if len(text) > LONGEST_EXPRESSION:
        raise ValueError(f"an expression has at most {LONGEST_EXPRESSION} characters")
    match = _CALL.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a schedule expression; write cron(0 6 ? * MON-FRI *),"
            f" rate(5 minutes) or at(2026-12-24T18:00:00){hint_for(text, parse_cron)}"
        )
    kind, inside = match[1].lower(), match[2].strip()
    if kind == "rate":
        return _parse_rate(inside)
    if kind == "at":
        return _parse_at(inside)
    try:
        return parse_cron(inside)
    except ValueError as error:
        raise ValueError(f"{error}{hint_for(inside, parse_cron)}") from None


def _parse_rate(inside: str) -> RateExpression:
    match = _RATE.fullmatch(inside.lower())
    if match is None:
        raise ValueError(
            f"rate: {inside!r} given; allowed is a whole number and minutes, hours or days,"
            " such as rate(1 minute) or rate(12 hours)"
        )
    number, unit, plural = int(match[1]), match[2], match[3]
    if number == 0:
        raise ValueError("rate: the number is 0; it must be 1 or more")
    right = unit if number == 1 else f"{unit}s"
    if unit + plural != right:
        raise ValueError(
            f"rate: the unit {unit + plural!r} does not go with {number};"
            f" AWS takes the singular for 1 only, so write rate({number} {right})"
        )
    if number > _LONGEST_RATE // _UNITS[unit]:
        raise ValueError(f"rate: {number} {right} is more than 100 years")
    return RateExpression(f"rate({number} {right})", number * _UNITS[unit])


def _parse_at(inside: str) -> AtExpression:
    if not _AT.fullmatch(inside.upper()):
        offset = "; the time zone is the option timezone" if inside.endswith(("Z", "z")) else ""
        raise ValueError(
            f"at: {inside!r} given; allowed is yyyy-mm-ddThh:mm:ss,"
            f" such as at(2026-12-24T18:00:00){offset}"
        )
    try:
        wall = datetime.fromisoformat(inside.upper())
    except ValueError as error:
        raise ValueError(f"at: {inside!r} is not a time: {error}") from None
    if not YEAR.minimum <= wall.year <= YEAR.maximum:
        raise ValueError(
            f"at: the year {wall.year} given; allowed is {YEAR.minimum}-{YEAR.maximum}"
        )
    return AtExpression(f"at({inside.upper()})", wall)
