"""The six fields of AWS's cron, from text to the values they allow (semantics 8.3).

Values are kept as a bit mask: bit `n` stands for the value `n`, counted from the field's minimum.
The two day fields may hold more than values: `L`, `W` and `#` become a `DayRule`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
_WEEKDAYS = "SUN MON TUE WED THU FRI SAT".split()

_NUMBER = re.compile(r"[0-9]{1,4}")
_NEAREST = re.compile(r"([0-9]{1,2})W")
_LAST_WEEKDAY = re.compile(r"([A-Z]{3}|[0-9])L")
_NTH_WEEKDAY = re.compile(r"([A-Z]{3}|[0-9]+)#([0-9]+)")


@dataclass(frozen=True, slots=True)
class CronField:
    """What one field may hold. `allowed` is for error texts."""

    name: str
    minimum: int
    maximum: int
    allowed: str
    names: Mapping[str, int] = field(default_factory=dict)
    wraps: bool = True

    @property
    def full(self) -> int:
        """The mask of `*`."""
        return (1 << (self.maximum - self.minimum + 1)) - 1

    def refuse(self, given: str, why: str) -> ValueError:
        """The error for `given` in this field; `why` ends the sentence."""
        return ValueError(f"cron: the {self.name} {given!r} {why}; allowed is {self.allowed}")


MINUTE = CronField("minute", 0, 59, "0-59 with , - * /")
HOUR = CronField("hour", 0, 23, "0-23 with , - * /")
DAY_OF_MONTH = CronField(
    "day of month", 1, 31, "1-31 with , - * /, or one of ?, L (last day), 15W, LW"
)
MONTH = CronField(
    "month",
    1,
    12,
    "1-12 or JAN-DEC with , - * /",
    {name: number for number, name in enumerate(_MONTHS, 1)},
)
DAY_OF_WEEK = CronField(
    "day of week",
    1,
    7,
    "1-7 or SUN-SAT (1 is SUN) with , - * /, or one of ?, L, 6L (last Friday), 2#1 (first Monday)",
    {name: number for number, name in enumerate(_WEEKDAYS, 1)},
)
YEAR = CronField("year", 1970, 2199, "1970-2199 with , - * /", wraps=False)


class DayRule(enum.Enum):
    """How the days of a month are chosen."""

    DAYS = enum.auto()
    LAST_DAY = enum.auto()
    #: the weekday (Monday to Friday) nearest to day `number`, in the same month
    NEAREST_WEEKDAY = enum.auto()
    LAST_WORKDAY = enum.auto()
    WEEKDAYS = enum.auto()
    #: the last weekday `number` (1 is SUN) of the month
    LAST_WEEKDAY = enum.auto()
    #: the `nth` weekday `number` of the month
    NTH_WEEKDAY = enum.auto()


@dataclass(frozen=True, slots=True)
class Days:
    """Which days of a month match. `mask` counts from day 1, or from SUN for `WEEKDAYS`."""

    rule: DayRule
    mask: int = 0
    number: int = 0
    nth: int = 0


def parse_values(spec: CronField, text: str) -> int:
    """The mask of a list of values, ranges and steps. Raises ValueError with a text for users."""
    mask = 0
    for part in text.split(","):
        mask |= _parse_part(spec, part, text)
    return mask


def parse_days(day_of_month: str, day_of_week: str) -> Days:
    """The days that the two day fields choose together. Raises ValueError with a text for users."""
    if day_of_month == "?" and day_of_week == "?":
        raise ValueError(
            "cron: the day of month and the day of week are both ?;"
            " exactly one of them must be ?, write * in the other for every day"
        )
    if day_of_week == "?":
        return _parse_days_of_month(day_of_month)
    if day_of_month == "?":
        return _parse_days_of_week(day_of_week)
    raise ValueError(
        f"cron: the day of month {day_of_month!r} and the day of week {day_of_week!r} are both"
        f" set; exactly one of them must be ?, {_which_to_open(day_of_month, day_of_week)}"
    )


def _which_to_open(day_of_month: str, day_of_week: str) -> str:
    if day_of_week == "*":
        return f"so write {day_of_month} for the day of month and ? for the day of week"
    if day_of_month == "*":
        return f"so write ? for the day of month and {day_of_week} for the day of week"
    return "so use two expressions to fire on either"


def _parse_days_of_month(text: str) -> Days:
    if text == "L":
        return Days(DayRule.LAST_DAY)
    if text == "LW":
        return Days(DayRule.LAST_WORKDAY)
    if match := _NEAREST.fullmatch(text):
        number = _parse_value(DAY_OF_MONTH, match[1], text)
        return Days(DayRule.NEAREST_WEEKDAY, number=number)
    if "L" in text or "W" in text:
        raise DAY_OF_MONTH.refuse(text, "has L or W together with something else")
    return Days(DayRule.DAYS, mask=parse_values(DAY_OF_MONTH, text))


def _parse_days_of_week(text: str) -> Days:
    if text == "L":
        return Days(DayRule.WEEKDAYS, mask=1 << 6)
    if match := _LAST_WEEKDAY.fullmatch(text):
        number = _parse_value(DAY_OF_WEEK, match[1], text)
        return Days(DayRule.LAST_WEEKDAY, number=number)
    if match := _NTH_WEEKDAY.fullmatch(text):
        number, nth = _parse_value(DAY_OF_WEEK, match[1], text), int(match[2])
        if not 1 <= nth <= 5:
            raise DAY_OF_WEEK.refuse(text, "must have 1 to 5 after the #")
        return Days(DayRule.NTH_WEEKDAY, number=number, nth=nth)
    if "#" in text:
        raise DAY_OF_WEEK.refuse(text, "must be a single weekday#number such as 2#1 or MON#1")
    return Days(DayRule.WEEKDAYS, mask=parse_values(DAY_OF_WEEK, text))


def _parse_part(spec: CronField, part: str, text: str) -> int:
    body, slash, step_text = part.partition("/")
    step = _parse_step(spec, step_text, text) if slash else 1
    if body == "*":
        first, last = spec.minimum, spec.maximum
    elif "-" in body:
        low, _, high = body.partition("-")
        first, last = _parse_value(spec, low, text), _parse_value(spec, high, text)
    else:
        first = _parse_value(spec, body, text)
        last = spec.maximum if slash else first
    return _mask_of(spec, first, last, step, text)


def _mask_of(spec: CronField, first: int, last: int, step: int, text: str) -> int:
    size = spec.maximum - spec.minimum + 1
    if last < first:
        if not spec.wraps:
            raise spec.refuse(text, f"has a range that runs backwards, {first}-{last}")
        last += size
    mask = 0
    for value in range(first, last + 1, step):
        mask |= 1 << (value - spec.minimum) % size
    return mask


def _parse_step(spec: CronField, step_text: str, text: str) -> int:
    if not _NUMBER.fullmatch(step_text) or int(step_text) == 0:
        raise spec.refuse(text, f"has {step_text!r} for a step, which must be 1 or more")
    step = int(step_text)
    if step > spec.maximum:
        why = f"has a step of {step}, more than the field is long"
        raise spec.refuse(text, f"{why}{_rate_hint(spec, step)}")
    return step


def _rate_hint(spec: CronField, step: int) -> str:
    unit = {MINUTE.name: "minutes", HOUR.name: "hours"}.get(spec.name)
    return f" (every {step} {unit} is rate({step} {unit}))" if unit else ""


def _parse_value(spec: CronField, value: str, text: str) -> int:
    if value in spec.names:
        return spec.names[value]
    if not _NUMBER.fullmatch(value):
        why = "has an empty value" if not value else f"has {value!r}, which is not a value"
        raise spec.refuse(text, why)
    if not spec.minimum <= int(value) <= spec.maximum:
        raise spec.refuse(text, f"has {int(value)}, which is out of range")
    return int(value)
