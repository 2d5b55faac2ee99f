"""Time, passed in. Nothing in eventmesh reads the wall clock or sleeps except through a `Clock`."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. `eventmesh.testing.FakeClock` is the one for tests."""

    def now(self) -> float:
        """Wall-clock time in seconds since the epoch. Never waits."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never steps back; only differences mean something. Never
        waits."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`; negative means 0. May be cancelled."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait until `event` is set (True) or `seconds` went by (False). None waits for ever."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True
