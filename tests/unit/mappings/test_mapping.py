"""Supervision of a source: back-off, announcements, and bugs that stop one mapping only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from eventmesh.connectors import Target
from eventmesh.errors import SourceUnavailable
from eventmesh.mappings.mapping import (
    EventSourceMapping,
    MappingState,
    PushWork,
    retry_delay,
)
from eventmesh.telemetry import SourceFailed, SourceReady, Telemetry, TelemetryEvent
from eventmesh.testing import FakeClock

NO_TARGET = cast(Target, None)


class Scripted:
    """A source whose runs are scripted, one function a run."""

    def __init__(self, *runs: Callable[[], Awaitable[Any]]) -> None:
        self.runs = list(runs)
        self.started = 0

    async def run(self, target: Target) -> None:
        self.started += 1
        await self.runs.pop(0)()


def mapping(clock: FakeClock) -> tuple[EventSourceMapping, list[TelemetryEvent]]:
    told: list[TelemetryEvent] = []
    telemetry = Telemetry()
    telemetry.subscribe(told.append)
    return EventSourceMapping("f/x:y", "x", "y", clock, telemetry), told


async def unavailable() -> None:
    raise SourceUnavailable("no route")


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_an_unavailable_source_is_run_again_with_growing_delays(clock: FakeClock) -> None:
    one, told = mapping(clock)
    source = Scripted(unavailable, unavailable, for_ever)
    task = asyncio.ensure_future(one.run(source, NO_TARGET))
    await clock.advance(0)
    assert (one.state, one.detail, source.started) == (MappingState.PROBLEM, "no route", 1)
    await clock.advance(1)
    assert source.started == 2
    await clock.advance(2)
    assert source.started == 3
    assert [e.retry_seconds for e in told if isinstance(e, SourceFailed)] == [1, 2]
    one.announce("connected")
    assert one.state is MappingState.ENABLED
    assert isinstance(told[-1], SourceReady)
    task.cancel()


async def test_a_source_may_say_when_to_try_again(clock: FakeClock) -> None:
    one, _ = mapping(clock)

    async def busy() -> None:
        raise SourceUnavailable("busy", retry_after_seconds=7)

    source = Scripted(busy, for_ever)
    task = asyncio.ensure_future(one.run(source, NO_TARGET))
    await clock.advance(6.9)
    assert source.started == 1
    await clock.advance(0.1)
    assert source.started == 2
    task.cancel()


async def test_a_bug_in_a_source_ends_its_mapping_and_is_told(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    one, told = mapping(clock)

    async def bug() -> None:
        raise KeyError("oops")

    await one.run(Scripted(bug), NO_TARGET)
    assert one.state is MappingState.FAILED
    assert isinstance(told[-1], SourceFailed)
    assert told[-1].retry_seconds is None
    assert one.settled.is_set()
    (record,) = caplog.records
    assert record.getMessage() == f"{one.name} stops: a bug in its connector '{one.connector}'"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


def test_delays_double_to_half_a_minute() -> None:
    assert [retry_delay(n, None) for n in (1, 2, 3, 6, 50)] == [1, 2, 4, 30, 30]


async def test_a_push_source_is_paused_at_once_and_resumed(clock: FakeClock) -> None:
    one, _ = mapping(clock)
    source = Scripted(for_ever, for_ever)
    one.start(PushWork(source, NO_TARGET))
    await clock.advance(0)
    one.announce("watching")
    assert await one.pause(30)
    assert one.state is MappingState.DISABLED
    assert source.started == 1
    one.resume()
    await clock.advance(0)
    assert (one.state, source.started) == (MappingState.CREATING, 2)
    assert await one.stop(30)


async def test_a_mapping_that_waits_to_be_run_again_stops_at_once(clock: FakeClock) -> None:
    one, _ = mapping(clock)
    source = Scripted(unavailable, for_ever)
    one.start(PushWork(source, NO_TARGET))
    await clock.advance(0)
    assert one.state is MappingState.PROBLEM
    assert await one.stop(30)
    await clock.advance(10)
    assert source.started == 1
    assert await one.stop(30)


async def test_readiness_is_told_when_it_changes(clock: FakeClock) -> None:
    one, told = mapping(clock)
    one.announce("polling")
    one.announce("polling")
    one.problem(SourceUnavailable("down"), 3.0)
    assert (one.state, one.detail) == (MappingState.PROBLEM, "down")
    one.announce("")
    assert (one.state, one.detail) == (MappingState.ENABLED, "polling")
    assert [type(event) for event in told] == [SourceReady, SourceFailed, SourceReady]
