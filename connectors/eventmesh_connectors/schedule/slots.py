"""When an expression fires, as instants: time zones, daylight saving and anchors. Pure.

An instant is an aware datetime in UTC. A wall-clock time that a change of the clock skips fires
once, at the end of the gap; one that comes twice fires the first time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from .cron import CronExpression
from .expression import AtExpression, Expression, RateExpression

_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)


def next_after(
    expression: Expression, instant: datetime, zone: tzinfo, anchor: datetime
) -> datetime | None:
    """The first slot strictly after `instant`; None when there is none.

    `anchor` is where a rate counts from: its slots are anchor, anchor + period, and so on.
    """
    if isinstance(expression, CronExpression):
        return _next_cron(expression, instant, zone)
    if isinstance(expression, AtExpression):
        slot = to_instant(expression.wall, zone)
        return slot if slot > instant else None
    return _next_rate(expression, instant, anchor)


def last_until(
    expression: Expression, instant: datetime, zone: tzinfo, anchor: datetime
) -> datetime | None:
    """The last slot at `instant` or before it; None when there is none."""
    if isinstance(expression, CronExpression):
        return _last_cron(expression, instant, zone)
    if isinstance(expression, AtExpression):
        slot = to_instant(expression.wall, zone)
        return slot if slot <= instant else None
    count = (instant - anchor) // expression.period
    return anchor + count * expression.period if count >= 0 else None


def _next_rate(expression: RateExpression, instant: datetime, anchor: datetime) -> datetime | None:
    count = max(0, (instant - anchor) // expression.period + 1)
    try:
        return anchor + count * expression.period
    except OverflowError:
        return None


def _next_cron(expression: CronExpression, instant: datetime, zone: tzinfo) -> datetime | None:
    if zone is UTC:
        wall = expression.at_or_after(
            instant.replace(second=0, microsecond=0, tzinfo=None) + _MINUTE
        )
        return None if wall is None else wall.replace(tzinfo=UTC)
    local = instant.astimezone(zone)
    earliest = local.replace(second=0, microsecond=0, tzinfo=None, fold=0) + _MINUTE
    while (wall := expression.at_or_after(earliest)) is not None:
        # in the second pass of a repeated hour, its slots have fired already
        if (slot := to_instant(wall, zone)) > instant:
            return slot
        earliest = wall + _MINUTE
    return None


def _last_cron(expression: CronExpression, instant: datetime, zone: tzinfo) -> datetime | None:
    local = instant.astimezone(zone)
    latest = local.replace(second=0, microsecond=0, tzinfo=None, fold=0)
    if local.fold:
        # all of a repeated hour fired in its first pass
        latest += _repeated(latest, zone)
    while (wall := expression.at_or_before(latest)) is not None:
        if (slot := to_instant(wall, zone)) <= instant:
            return slot
        latest = wall - _MINUTE
    return None


def _repeated(wall: datetime, zone: tzinfo) -> timedelta:
    return _offset(wall, zone, 0) - _offset(wall, zone, 1)


def _offset(wall: datetime, zone: tzinfo, fold: int) -> timedelta:
    return wall.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta()


def to_instant(wall: datetime, zone: tzinfo) -> datetime:
    """The instant of a naive wall-clock time: the first of two, the end of the gap for one
    skipped."""
    before, after = _offset(wall, zone, 0), _offset(wall, zone, 1)
    if after > before:
        return _change_between(wall - after, wall - before, zone, after)
    return (wall - before).replace(tzinfo=UTC)


def _change_between(before: datetime, after: datetime, zone: tzinfo, offset: timedelta) -> datetime:
    """The first second from which `offset` holds, which is in (before, after]."""
    low, high = before.replace(tzinfo=UTC), after.replace(tzinfo=UTC)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return high


@dataclass(frozen=True, slots=True)
class Timetable:
    """One expression with its zone, anchor and bounds: all that decides its slots.

    `start` and `end` are inclusive. Where a start is given, a rate counts from it.
    """

    expression: Expression
    zone: tzinfo
    anchor: datetime
    start: datetime | None = None
    end: datetime | None = None

    def next_after(self, instant: datetime) -> datetime | None:
        """The first slot strictly after `instant` and within the bounds."""
        if self.start is not None and instant < self.start:
            instant = self.start - timedelta(microseconds=1)
        slot = next_after(self.expression, instant, self.zone, self.start or self.anchor)
        if slot is None or (self.end is not None and slot > self.end):
            return None
        return slot

    def last_until(self, instant: datetime) -> datetime | None:
        """The last slot at `instant` or before it, within the bounds."""
        if self.end is not None and instant > self.end:
            instant = self.end
        slot = last_until(self.expression, instant, self.zone, self.start or self.anchor)
        if slot is None or (self.start is not None and slot < self.start):
            return None
        return slot

    def after(self, instant: datetime) -> Iterator[datetime]:
        """All slots strictly after `instant`, in order."""
        while (slot := self.next_after(instant)) is not None:
            yield slot
            instant = slot
