"""The push source: enqueues an event for every slot, together with the time it was for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from eventmesh.connectors import SourceContext, Target
from eventmesh.errors import ServiceError, StateFull

from .alarm import ScheduleAlarm
from .announcement import describe_next
from .options import ScheduleOptions
from .timer import shared_timer

_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Delivery:
    events: list[bytes]
    positions: dict[str, str | None]


class ScheduleSource:
    """One mapping's schedules. Each expression has its own positions; slots that are due together
    are enqueued together."""

    def __init__(self, options: ScheduleOptions, context: SourceContext) -> None:
        self._options = options
        self._context = context
        self._due = asyncio.Event()
        self._alarms: list[ScheduleAlarm] = []

    async def run(self, target: Target) -> None:
        """Fire until cancelled. What was missed since the last run is made up for first."""
        positions = await self._context.positions.load()
        self._alarms = [self._alarm(text, positions) for text in self._options.expression]
        forgotten = self._stale(positions)
        with ExitStack() as stack:
            timer = stack.enter_context(shared_timer(self._context.clock))
            for alarm in self._alarms:
                stack.callback(timer.remove, timer.add(alarm))
            self._context.announce(self._describe())
            while True:
                self._due.clear()
                await self._store(target, self._take(forgotten))
                forgotten = {}
                await self._due.wait()

    def _alarm(self, text: str, positions: Mapping[str, str]) -> ScheduleAlarm:
        return ScheduleAlarm(text, self._options, self._context, positions, self._due.set)

    def _stale(self, positions: Mapping[str, str]) -> dict[str, str | None]:
        """Positions of expressions that the mapping had once, to be forgotten."""
        kept = {key for alarm in self._alarms for key in alarm.keys}
        return {key: None for key in positions if key not in kept}

    def _take(self, forgotten: Mapping[str, str | None]) -> _Delivery:
        delivery = _Delivery([], dict(forgotten))
        for alarm in self._alarms:
            events, positions = alarm.take()
            delivery.events.extend(events)
            delivery.positions.update(positions)
        return delivery

    async def _store(self, target: Target, delivery: _Delivery) -> None:
        """Enqueue until it is stored: a full disk delays slots, it does not lose them."""
        if not delivery.positions:
            return
        clock, delay = self._context.clock, _FIRST_RETRY_SECONDS
        while True:
            try:
                await target.enqueue(delivery.events, delivery.positions)
                return
            except (StateFull, ServiceError) as error:
                self._context.log.warning(
                    "%s: %d scheduled events could not be stored (%s); trying again in %g s",
                    self._context.mapping,
                    len(delivery.events),
                    error,
                    delay,
                )
            await clock.sleep(delay)
            delay = min(2 * delay, _LONGEST_RETRY_SECONDS)

    def _describe(self) -> str:
        moments = [alarm.moment for alarm in self._alarms if alarm.moment is not None]
        now = datetime.fromtimestamp(self._context.clock.now(), UTC)
        return describe_next(min(moments, default=None), now, self._options.zone)
