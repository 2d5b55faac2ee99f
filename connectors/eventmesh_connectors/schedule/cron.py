"""AWS's cron as arithmetic on wall-clock times: no time zone, no clock (semantics 8.3).

A slot is a naive datetime at a whole minute. Searching goes field by field, never minute by
minute.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, datetime

from .fields import (
    DAY_OF_WEEK,
    HOUR,
    MINUTE,
    MONTH,
    YEAR,
    DayRule,
    Days,
    parse_days,
    parse_values,
)

#: seven-day pattern repeated over six weeks
_WEEKS = sum(1 << 7 * week for week in range(6))
_FULL_MONTH = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class CronExpression:
    """A parsed `cron(...)`. Masks count from the field's minimum; `text` is as written, tidied."""

    text: str
    minutes: int
    hours: int
    months: int
    years: int
    days: Days

    def at_or_after(self, wall: datetime) -> datetime | None:
        """The first slot at `wall` (a whole minute) or after it; None when there is none."""
        if self._days(wall.year, wall.month) >> (wall.day - 1) & 1:
            minute = _lowest(self.minutes, wall.minute) if self.hours >> wall.hour & 1 else -1
            if minute >= 0:
                return wall.replace(minute=minute)
            hour = _lowest(self.hours, wall.hour + 1)
            if hour >= 0:
                return wall.replace(hour=hour, minute=_lowest(self.minutes, 0))
        day = self._day_from(wall.year, wall.month, wall.day + 1)
        if day is None:
            return None
        hour, minute = _lowest(self.hours, 0), _lowest(self.minutes, 0)
        return datetime(day.year, day.month, day.day, hour, minute)

    def at_or_before(self, wall: datetime) -> datetime | None:
        """The last slot at `wall` (a whole minute) or before it; None when there is none."""
        if self._days(wall.year, wall.month) >> (wall.day - 1) & 1:
            minute = _highest(self.minutes, wall.minute) if self.hours >> wall.hour & 1 else -1
            if minute >= 0:
                return wall.replace(minute=minute)
            hour = _highest(self.hours, wall.hour - 1)
            if hour >= 0:
                return wall.replace(hour=hour, minute=_highest(self.minutes, 59))
        day = self._day_until(wall.year, wall.month, wall.day - 1)
        if day is None:
            return None
        hour, minute = _highest(self.hours, 23), _highest(self.minutes, 59)
        return datetime(day.year, day.month, day.day, hour, minute)

    def _day_from(self, year: int, month: int, day: int) -> date | None:
        while True:
            found = _lowest(self._days(year, month), day - 1)
            if found >= 0:
                return date(year, month, found + 1)
            day = 1
            month = _lowest(self.months, month) + 1
            if month == 0:
                year = _lowest(self.years, max(0, year + 1 - YEAR.minimum)) + YEAR.minimum
                month = _lowest(self.months, 0) + 1
                if year < YEAR.minimum:
                    return None

    def _day_until(self, year: int, month: int, day: int) -> date | None:
        while True:
            found = _highest(self._days(year, month), day - 1)
            if found >= 0:
                return date(year, month, found + 1)
            day = 31
            month = _highest(self.months, month - 2) + 1
            if month == 0:
                year = _highest(self.years, year - 1 - YEAR.minimum) + YEAR.minimum
                month = _highest(self.months, 11) + 1
                if year < YEAR.minimum:
                    return None

    def _days(self, year: int, month: int) -> int:
        """The days of a month that match, bit 0 for the 1st; 0 where month or year do not."""
        if not self.months >> (month - 1) & 1:
            return 0
        if year < YEAR.minimum or not self.years >> (year - YEAR.minimum) & 1:
            return 0
        return days_of_month(self.days, year, month)


def parse_cron(text: str) -> CronExpression:
    """Parse the six fields between `cron(` and `)`.

    Raises ValueError with a text for users: a field that is wrong, or an expression that never
    fires.
    """
    parts = text.upper().split()
    if len(parts) != 6:
        raise ValueError(
            f"cron: {len(parts)} fields given, 6 are needed:"
            " cron(minute hour day-of-month month day-of-week year)"
        )
    minute, hour, day_of_month, month, day_of_week, year = parts
    _refuse_question_marks(minute, hour, month, year)
    expression = CronExpression(
        text=f"cron({' '.join(parts)})",
        minutes=parse_values(MINUTE, minute),
        hours=parse_values(HOUR, hour),
        months=parse_values(MONTH, month),
        years=parse_values(YEAR, year),
        days=parse_days(day_of_month, day_of_week),
    )
    if expression.at_or_after(datetime(YEAR.minimum, 1, 1)) is None:
        raise ValueError(
            f"{expression.text} never fires: no month {month} of the years {year} has"
            f" such a day ({_day_text(day_of_month, day_of_week)})"
        )
    return expression


def _refuse_question_marks(minute: str, hour: str, month: str, year: str) -> None:
    for spec, given in ((MINUTE, minute), (HOUR, hour), (MONTH, month), (YEAR, year)):
        if "?" in given:
            raise spec.refuse(given, "cannot be ?, which only the two day fields may be")


def _day_text(day_of_month: str, day_of_week: str) -> str:
    if day_of_week == "?":
        return f"day of month {day_of_month}"
    return f"day of week {day_of_week}"


def days_of_month(days: Days, year: int, month: int) -> int:
    """The days of one month that `days` chooses; bit 0 stands for the 1st."""
    first, length = calendar.monthrange(year, month)
    # weekday of the 1st, counted from SUN as AWS does
    first = (first + 1) % 7
    in_month = _FULL_MONTH >> (31 - length)
    match days.rule:
        case DayRule.DAYS:
            return days.mask & in_month
        case DayRule.WEEKDAYS:
            return days.mask * _WEEKS >> first & in_month
        case DayRule.LAST_DAY:
            return 1 << (length - 1)
        case DayRule.LAST_WORKDAY:
            return 1 << (_nearest_workday(length, first, length) - 1)
        case DayRule.NEAREST_WEEKDAY:
            if days.number > length:
                return 0
            return 1 << (_nearest_workday(days.number, first, length) - 1)
        case DayRule.LAST_WEEKDAY:
            matching = (1 << (days.number - DAY_OF_WEEK.minimum)) * _WEEKS >> first & in_month
            return 1 << (matching.bit_length() - 1)
        case DayRule.NTH_WEEKDAY:
            offset = (days.number - DAY_OF_WEEK.minimum - first) % 7 + 7 * (days.nth - 1)
            return 1 << offset & in_month


def _nearest_workday(day: int, first: int, length: int) -> int:
    """The Monday-to-Friday day nearest to `day`, never in another month."""
    weekday = (first + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day


def _lowest(mask: int, start: int) -> int:
    """The lowest set bit at `start` or above; -1 when there is none."""
    rest = mask >> start
    return start + (rest & -rest).bit_length() - 1 if rest else -1


def _highest(mask: int, end: int) -> int:
    """The highest set bit at `end` or below; -1 when there is none."""
    return (mask & ((2 << end) - 1)).bit_length() - 1 if end >= 0 else -1
