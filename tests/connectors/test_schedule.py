"""The schedule on the machine's own clock and APScheduler's own loop."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from eventmesh.clock import SystemClock
from eventmesh_connectors.schedule import ScheduleOptions, ScheduleSource, timer
from eventmesh_connectors.schedule.events import write_instant
from tests.unit.connectors.recording_target import RecordingTarget, make_context

CLOCK = SystemClock()


def start(target: RecordingTarget, expression: str, **options: Any) -> asyncio.Task[None]:
    context = make_context(target, CLOCK)
    source = ScheduleSource(ScheduleOptions(expression=expression, **options), context)
    return asyncio.create_task(source.run(target))


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_time_two_seconds_from_now_fires_once_and_not_early() -> None:
    target = RecordingTarget()
    slot = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    running = start(target, f"at({slot:%Y-%m-%dT%H:%M:%S})")
    await target.until(1)
    assert time.time() >= slot.timestamp()
    await asyncio.sleep(0.1)
    await stop(running)
    assert target.times == [write_instant(slot)]


async def test_many_schedules_share_a_timer_and_all_fire() -> None:
    anchor = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=58)
    targets = [RecordingTarget() for _ in range(200)]
    for target in targets:
        target.positions["anchor:rate(1 minute)"] = write_instant(anchor)
        target.positions["last_fire:rate(1 minute)"] = write_instant(anchor)
    running = [start(target, "rate(1 minute)") for target in targets]
    await asyncio.sleep(0)
    await asyncio.gather(*(target.until(1) for target in targets))
    assert len(timer._timers) == 1
    await stop(*running)
    assert timer._timers == {}
    expected = [write_instant(anchor + timedelta(minutes=1))]
    assert [target.times for target in targets] == [expected] * 200
