"""What the writer of a wrong expression probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable

_SHORTHANDS = {
    "@yearly": "cron(0 0 1 1 ? *)",
    "@annually": "cron(0 0 1 1 ? *)",
    "@monthly": "cron(0 0 1 * ? *)",
    "@weekly": "cron(0 0 ? * SUN *)",
    "@daily": "cron(0 0 * * ? *)",
    "@midnight": "cron(0 0 * * ? *)",
    "@hourly": "cron(0 * * * ? *)",
}
_WEEKDAYS = "SUN MON TUE WED THU FRI SAT SUN".split()
_EVERY = re.compile(r"(?:every\s+)?([0-9]+)\s*(m|h|d|min|minutes?|hours?|days?)", re.IGNORECASE)


def hint_for(text: str, parse_cron: Callable[[str], object]) -> str:
    """A hint to append to an error about `text`, or "". Only what `parse_cron` takes is
    suggested."""
    if shorthand := _SHORTHANDS.get(text.lower()):
        return f"; for {text} write {shorthand}"
    if match := _EVERY.fullmatch(text):
        return f"; for {text!r} write {_rate(int(match[1]), match[2])}"
    fields = text.split()
    if len(fields) == 5 and (converted := _from_unix(fields, parse_cron)):
        return f"; the Unix cron line {text!r} is written {converted}"
    if len(fields) == 6 and _parses(text, parse_cron):
        return f"; write cron({text})"
    return ""


def _rate(number: int, unit: str) -> str:
    name = {"m": "minute", "h": "hour", "d": "day"}[unit[0].lower()]
    return f"rate({number} {name}{'' if number == 1 else 's'})"


def _from_unix(fields: list[str], parse_cron: Callable[[str], object]) -> str:
    minute, hour, day_of_month, month, day_of_week = fields
    if day_of_week == "*":
        day_of_week = "?"
    elif day_of_month == "*":
        day_of_month, day_of_week = "?", _named_weekdays(day_of_week)
    else:
        return _two_expressions(fields, parse_cron)
    inside = f"{minute} {hour} {day_of_month} {month} {day_of_week} *"
    return f"cron({inside})" if _parses(inside, parse_cron) else ""


def _two_expressions(fields: list[str], parse_cron: Callable[[str], object]) -> str:
    """Unix cron fires when either day field matches; AWS needs an expression for each."""
    minute, hour, day_of_month, month, day_of_week = fields
    by_month = f"{minute} {hour} {day_of_month} {month} ? *"
    by_week = f"{minute} {hour} ? {month} {_named_weekdays(day_of_week)} *"
    if _parses(by_month, parse_cron) and _parses(by_week, parse_cron):
        return f"as two, cron({by_month}) and cron({by_week})"
    return ""


def _named_weekdays(text: str) -> str:
    """Unix counts 0 or 7 for Sunday, AWS 1: names mean the same in both. Steps stay numbers."""
    return re.sub(r"(?<![\w/])[0-7](?!\w)", lambda match: _WEEKDAYS[int(match[0])], text)


def _parses(inside: str, parse_cron: Callable[[str], object]) -> bool:
    try:
        parse_cron(inside)
    except ValueError:
        return False
    return True
