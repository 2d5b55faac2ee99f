"""The next fire in words: `next Mon 06:00 (in 2 d 11 h)`."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

_WEEKDAYS = "Mon Tue Wed Thu Fri Sat Sun".split()
_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def describe_next(moment: datetime | None, now: datetime, zone: tzinfo) -> str:
    """When the next fire is, in `zone`: by weekday within a week, by date beyond."""
    if moment is None:
        return "never fires again"
    local = moment.astimezone(zone)
    time = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
    near = moment - now < timedelta(days=7)
    day = _WEEKDAYS[local.weekday()] if near else f"{local:%Y-%m-%d}"
    return f"next {day} {time} (in {describe_duration(moment - now)})"


def describe_duration(duration: timedelta) -> str:
    """The two largest units of a duration, rounded down: `2 d 11 h`, `5 min`, `40 s`."""
    seconds = max(0, int(duration.total_seconds()))
    for index, (unit, size) in enumerate(_UNITS[:-1]):
        if seconds >= size:
            smaller, smaller_size = _UNITS[index + 1]
            rest = seconds % size // smaller_size
            return f"{seconds // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds} s"
