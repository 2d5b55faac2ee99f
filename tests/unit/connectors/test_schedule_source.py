"""The source at work on a clock that moves only when told to: firing, restarts, clock steps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from eventmesh.errors import ServiceError, StateFull
from eventmesh.testing import FakeClock
from eventmesh.testing.clock import settle
from eventmesh_connectors.schedule import ScheduleOptions, ScheduleSource, timer
from tests.unit.connectors.recording_target import Announcements, RecordingTarget, make_context

MINUTELY = "cron(* * * * ? *)"
HOURLY = "cron(0 * * * ? *)"
HOUR = 3600.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp())


@pytest.fixture
def target() -> RecordingTarget:
    return RecordingTarget()


@asynccontextmanager
async def running(
    clock: FakeClock,
    target: RecordingTarget,
    expression: Any = MINUTELY,
    announcements: Announcements | None = None,
    **options: Any,
) -> AsyncIterator[asyncio.Task[None]]:
    context = make_context(target, clock, announcements)
    source = ScheduleSource(ScheduleOptions(expression=expression, **options), context)
    task = asyncio.create_task(source.run(target))
    try:
        await settle()
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextmanager
def warnings_of(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    found: list[str] = []
    with caplog.at_level(logging.WARNING, logger="eventmesh.test.source"):
        yield found
    found += [record.getMessage() for record in caplog.records]


async def test_each_slot_is_enqueued_with_its_position(
    clock: FakeClock, target: RecordingTarget
) -> None:
    async with running(clock, target):
        assert target.calls == [([], {f"last_fire:{MINUTELY}": "2026-11-20T12:00:00Z"})]
        await clock.advance(59.9)
        assert target.times == []
        await clock.advance(60.1)
    (first, first_position), (second, second_position) = target.calls[1:]
    assert [event["time"] for event in first] == ["2026-11-20T12:01:00Z"]
    assert first_position == {f"last_fire:{MINUTELY}": "2026-11-20T12:01:00Z"}
    assert [event["time"] for event in second] == ["2026-11-20T12:02:00Z"]
    assert second_position == {f"last_fire:{MINUTELY}": "2026-11-20T12:02:00Z"}
    assert first[0]["resources"] == second[0]["resources"]
    assert first[0]["account"] == "123456789012"
    assert first[0]["region"] == "eu-west-1"


async def test_it_announces_the_next_fire_once(clock: FakeClock, target: RecordingTarget) -> None:
    announcements = Announcements()
    expression = ["cron(0 6 ? * MON *)", "cron(0 23 ? * SUN *)"]
    async with running(clock, target, expression, announcements):
        await clock.advance(4 * 24 * HOUR)
    assert announcements == ["next Sun 23:00 (in 2 d 11 h)"]


async def test_a_constant_input_replaces_the_event(
    clock: FakeClock, target: RecordingTarget
) -> None:
    async with running(clock, target, input={"kind": "full"}):
        await clock.advance(60)
    assert target.events == [{"kind": "full"}]


async def test_a_long_wait_ends_at_the_minute(clock: FakeClock, target: RecordingTarget) -> None:
    async with running(clock, target, "cron(0 6 ? * MON-FRI *)"):
        await clock.advance(66 * HOUR - 1)
        assert target.times == []
        await clock.advance(1)
        assert target.times == ["2026-11-23T06:00:00Z"]


async def test_expressions_due_together_are_stored_together(
    clock: FakeClock, target: RecordingTarget
) -> None:
    async with running(clock, target, [HOURLY, "rate(30 minutes)"]):
        await clock.advance(HOUR)
    begun, half, full = target.calls
    assert begun == (
        [],
        {
            f"last_fire:{HOURLY}": "2026-11-20T12:00:00Z",
            "last_fire:rate(30 minutes)": "2026-11-20T12:00:00Z",
            "anchor:rate(30 minutes)": "2026-11-20T12:00:00Z",
        },
    )
    assert half[1] == {"last_fire:rate(30 minutes)": "2026-11-20T12:30:00Z"}
    assert full[1] == {
        f"last_fire:{HOURLY}": "2026-11-20T13:00:00Z",
        "last_fire:rate(30 minutes)": "2026-11-20T13:00:00Z",
    }
    assert [event["time"] for event in full[0]] == ["2026-11-20T13:00:00Z"] * 2
    assert full[0][0]["resources"] != full[0][1]["resources"]


# --- restarts ---------------------------------------------------------------------------------


async def test_a_restart_fires_nothing_twice(clock: FakeClock, target: RecordingTarget) -> None:
    for _ in range(5):
        async with running(clock, target, missed_runs="all"):
            await clock.advance(25)
    assert target.times == ["2026-11-20T12:01:00Z", "2026-11-20T12:02:00Z"]


@pytest.mark.parametrize(
    ("policy", "made_up"),
    [
        ("none", []),
        ("one", ["2026-11-20T15:00:00Z"]),
        ("all", ["2026-11-20T13:00:00Z", "2026-11-20T14:00:00Z", "2026-11-20T15:00:00Z"]),
    ],
)
async def test_what_was_missed_while_down_is_made_up_for_by_policy(
    clock: FakeClock, target: RecordingTarget, policy: str, made_up: list[str]
) -> None:
    async with running(clock, target, HOURLY, missed_runs=policy):
        pass
    clock.step(3.5 * HOUR)
    async with running(clock, target, HOURLY, missed_runs=policy):
        assert target.times == made_up
        assert target.positions == {f"last_fire:{HOURLY}": "2026-11-20T15:00:00Z"}
        await clock.advance(0.5 * HOUR)
    assert target.times == [*made_up, "2026-11-20T16:00:00Z"]
    async with running(clock, target, HOURLY, missed_runs=policy):
        assert target.times == [*made_up, "2026-11-20T16:00:00Z"]


async def test_all_missed_runs_are_bounded_and_the_cut_is_logged(
    clock: FakeClock, target: RecordingTarget, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(clock, target):
        pass
    clock.step(600)
    with warnings_of(caplog) as warnings:
        async with running(clock, target, missed_runs="all", maximum_missed_runs=3):
            pass
    assert target.times == [f"2026-11-20T12:{minute}:00Z" for minute in ("08", "09", "10")]
    assert warnings == [
        f"nightly: missed fire times of {MINUTELY}: 3 made up for, 7 passed over"
        " (missed_runs: all, maximum_missed_runs: 3)"
    ]


async def test_a_rate_keeps_its_anchor_over_restarts(
    clock: FakeClock, target: RecordingTarget
) -> None:
    clock.step(17.25)
    async with running(clock, target, "rate(5 minutes)"):
        assert target.positions["anchor:rate(5 minutes)"] == "2026-11-20T12:00:17Z"
        await clock.advance(301)
    clock.step(130)
    async with running(clock, target, "rate(5 minutes)"):
        await clock.advance(200)
    assert target.times == ["2026-11-20T12:05:17Z", "2026-11-20T12:10:17Z"]
    assert target.positions["anchor:rate(5 minutes)"] == "2026-11-20T12:00:17Z"


async def test_a_new_expression_begins_anew_and_the_old_one_is_forgotten(
    clock: FakeClock, target: RecordingTarget
) -> None:
    async with running(clock, target, "rate(5 minutes)"):
        pass
    clock.step(3 * HOUR)
    async with running(clock, target, HOURLY):
        assert target.times == []
    assert target.positions == {f"last_fire:{HOURLY}": "2026-11-20T15:00:00Z"}


# --- at ---------------------------------------------------------------------------------------


async def test_a_single_time_fires_once_and_the_source_waits_on(
    clock: FakeClock, target: RecordingTarget
) -> None:
    announcements = Announcements()
    for _ in range(2):
        async with running(clock, target, "at(2026-11-20T12:30:15)", announcements) as task:
            await clock.advance(HOUR)
            assert not task.done()
    assert target.times == ["2026-11-20T12:30:15Z"]
    assert announcements == ["next Fri 12:30:15 (in 30 min 15 s)", "never fires again"]


async def test_a_single_time_in_the_past_is_not_fired(
    clock: FakeClock, target: RecordingTarget, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings_of(caplog) as warnings:
        async with running(clock, target, "at(2026-11-20T11:59:59)", missed_runs="all") as task:
            await clock.advance(HOUR)
            assert not task.done()
    assert target.events == []
    assert warnings == [
        "nightly: at(2026-11-20T11:59:59) lies in the past and never fires; give a later time"
    ]


async def test_a_single_time_that_passed_while_down_is_made_up_for(
    clock: FakeClock, target: RecordingTarget
) -> None:
    async with running(clock, target, "at(2026-11-20T12:30:00)"):
        pass
    clock.step(HOUR)
    async with running(clock, target, "at(2026-11-20T12:30:00)"):
        pass
    assert target.times == ["2026-11-20T12:30:00Z"]


# --- the clock --------------------------------------------------------------------------------


async def test_a_clock_set_forward_loses_no_slot(clock: FakeClock, target: RecordingTarget) -> None:
    async with running(clock, target, "cron(0/10 * * * ? *)", missed_runs="all"):
        await clock.advance(601)
        clock.step(HOUR)
        await clock.advance(30)  # noticed within this time
        assert target.times == [
            f"2026-11-20T{time}:00Z"
            for time in ("12:10", "12:20", "12:30", "12:40", "12:50", "13:00", "13:10")
        ]
        await clock.advance(570)
    assert target.times[-1] == "2026-11-20T13:20:00Z"
    assert len(target.times) == 8


async def test_a_clock_set_back_repeats_no_slot(clock: FakeClock, target: RecordingTarget) -> None:
    async with running(clock, target, "cron(0/10 * * * ? *)", missed_runs="all"):
        await clock.advance(601)
        clock.step(-HOUR)
        await clock.advance(HOUR)
        assert target.times == ["2026-11-20T12:10:00Z"]
        await clock.advance(600)
    assert target.times == ["2026-11-20T12:10:00Z", "2026-11-20T12:20:00Z"]


async def test_a_clock_set_back_while_down_repeats_no_slot(
    clock: FakeClock, target: RecordingTarget
) -> None:
    async with running(clock, target, HOURLY, missed_runs="all"):
        await clock.advance(2 * HOUR)
    clock.step(-HOUR)
    async with running(clock, target, HOURLY, missed_runs="all"):
        await clock.advance(2 * HOUR)
    assert target.times == [f"2026-11-20T{hour}:00:00Z" for hour in (13, 14, 15)]


@pytest.mark.parametrize("stored", ["2036-01-01T00:00:00Z", "yesterday", "2026-11-20T11:00:00"])
async def test_a_position_nobody_can_believe_is_dropped(
    clock: FakeClock, target: RecordingTarget, caplog: pytest.LogCaptureFixture, stored: str
) -> None:
    target.positions[f"last_fire:{MINUTELY}"] = stored
    with warnings_of(caplog) as warnings:
        async with running(clock, target, missed_runs="all"):
            await clock.advance(60)
    assert target.times == ["2026-11-20T12:01:00Z"]
    assert len(warnings) == 1
    assert f"is '{stored}', which the clock (2026-11-20T12:00:00Z) contradicts" in warnings[0]


# --- stores that refuse, engines that are busy ------------------------------------------------


async def test_slots_are_stored_later_when_the_store_is_full(
    clock: FakeClock, target: RecordingTarget, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(clock, target, missed_runs="one"):
        target.failures = [StateFull("no space left"), ServiceError("busy"), StateFull()]
        with warnings_of(caplog) as warnings:
            await clock.advance(60)
            assert target.times == []
            await clock.advance(6)
            assert target.times == []
            await clock.advance(1)
            assert target.times == ["2026-11-20T12:01:00Z"]
        assert warnings[0] == (
            "nightly: 1 scheduled events could not be stored (no space left); trying again in 1 s"
        )
        assert len(warnings) == 3


async def test_slots_that_come_while_the_store_is_full_are_kept(
    clock: FakeClock, target: RecordingTarget
) -> None:
    async with running(clock, target, missed_runs="none"):
        target.failures = [StateFull() for _ in range(9)]
        await clock.advance(181)
        assert target.times == []
        await clock.advance(30)
    assert target.times == [f"2026-11-20T12:0{minute}:00Z" for minute in (1, 2, 3)]
    assert target.positions == {f"last_fire:{MINUTELY}": "2026-11-20T12:03:00Z"}


async def test_a_slot_that_was_not_stored_before_the_stop_is_fired_after_it(
    clock: FakeClock, target: RecordingTarget
) -> None:
    async with running(clock, target):
        target.failures = [StateFull()]
        await clock.advance(60.5)
        assert target.times == []
    async with running(clock, target):
        assert target.times == ["2026-11-20T12:01:00Z"]


async def test_an_unknown_failure_stops_the_source(
    clock: FakeClock, target: RecordingTarget
) -> None:
    async with running(clock, target) as task:
        target.failures = [KeyError("a bug")]
        await clock.advance(60)
        assert isinstance(task.exception(), KeyError)


async def test_a_failure_while_deciding_stops_its_source_only(
    clock: FakeClock, target: RecordingTarget
) -> None:
    other = RecordingTarget()
    async with running(clock, target, MINUTELY) as task, running(clock, other, HOURLY):
        (shared,) = timer._timers.values()
        broken = next(j.func.__self__ for j in shared.scheduler.get_jobs() if j.name == MINUTELY)
        broken._rules = None
        await clock.advance(HOUR)
        assert isinstance(task.exception(), AttributeError)
    assert target.times == []
    assert other.times == ["2026-11-20T13:00:00Z"]


# --- windows and bounds -----------------------------------------------------------------------


async def test_a_flexible_window_fires_later_but_names_the_slot(
    clock: FakeClock, target: RecordingTarget
) -> None:
    async with running(clock, target, HOURLY, flexible_time_window="10m"):
        await clock.advance(HOUR)
        assert target.times == []
        await clock.advance(600)
        assert target.times == ["2026-11-20T13:00:00Z"]


async def test_nothing_fires_outside_the_dates(clock: FakeClock, target: RecordingTarget) -> None:
    async with running(
        clock,
        target,
        "cron(0/10 * * * ? *)",
        start_date="2026-11-20T12:30:00",
        end_date="2026-11-20T12:45:00",
    ) as task:
        await clock.advance(2 * HOUR)
        assert not task.done()
    assert target.times == ["2026-11-20T12:30:00Z", "2026-11-20T12:40:00Z"]


# --- the shared timer -------------------------------------------------------------------------


async def test_all_sources_of_a_loop_share_one_scheduler(clock: FakeClock) -> None:
    first, second = RecordingTarget(), RecordingTarget()
    async with running(clock, first, MINUTELY):
        (shared,) = timer._timers.values()
        async with running(clock, second, HOURLY):
            assert list(timer._timers.values()) == [shared]
            assert len(shared.scheduler.get_jobs()) == 2
            await clock.advance(HOUR)
        assert len(shared.scheduler.get_jobs()) == 1
        assert shared.scheduler.running
    assert timer._timers == {}
    await settle()
    assert not shared.scheduler.running
    assert len(first.times) == 60
    assert second.times == ["2026-11-20T13:00:00Z"]


async def test_a_stopped_timer_starts_again(clock: FakeClock, target: RecordingTarget) -> None:
    for _ in range(3):
        async with running(clock, target):
            await clock.advance(60)
    assert len(target.times) == 3
    assert len(set(target.times)) == 3
