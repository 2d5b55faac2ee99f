"""One timer for all schedules of a running event loop: APScheduler's, run by the engine's clock.

APScheduler keeps the jobs in order of their next time and wakes for the first. Two of its steps
are replaced: it reads the time from the `Clock`, and it never sleeps long, so that a wall clock
set forward, or a laptop that was asleep, is noticed soon.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from eventmesh.clock import Clock

#: a change of the wall clock is noticed within this time
LONGEST_SLEEP_SECONDS = 30.0

# APScheduler reports every job it adds and removes at INFO
logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)


class Alarm(Protocol):
    """What the timer wakes. `text` names it."""

    @property
    def text(self) -> str: ...

    @property
    def moment(self) -> datetime | None:
        """When to ring next (UTC); None for never again. Asked for after every ring."""
        ...

    def ring(self) -> None:
        """The moment has come. Must not wait and not raise."""
        ...


class AlarmTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler is not typed
    """Asks the alarm itself, so that no second account of what was fired exists."""

    __slots__ = ("_alarm",)

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        return self._alarm.moment


class _DirectExecutor(BaseExecutor):  # type: ignore[misc]  # APScheduler is not typed
    """Calls a job at once, on the loop: ringing only decides, it never waits."""

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        try:
            job.func()
        finally:
            self._run_job_success(job.id, ())


class ClockScheduler(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler is not typed
    """APScheduler on a `Clock`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__(
            timezone=UTC,
            logger=logger,
            executors={"default": _DirectExecutor()},
            job_defaults={"misfire_grace_time": None, "coalesce": True},
        )

    def _process_jobs(self) -> float | None:
        """Ring what is due; return the seconds until the next, None when nothing is left."""
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        with self._jobstores_lock:
            jobs = self._lookup_jobstore("default")
            for job in jobs.get_due_jobs(now):
                self._lookup_executor(job.executor).submit_job(job, [job.next_run_time])
                self._put_back(jobs, job, now)
            moment = jobs.get_next_run_time()
        if moment is None:
            return None
        seconds: float = moment.timestamp() - self._clock.now()
        return min(max(0.0, seconds), LONGEST_SLEEP_SECONDS)

    def _put_back(self, jobs: Any, job: Job, now: datetime) -> None:
        moment = job.trigger.get_next_fire_time(job.next_run_time, now)
        if moment is None:
            jobs.remove_job(job.id)
        else:
            job._modify(next_run_time=moment)
            jobs.update_job(job)

    def _start_timer(self, wait_seconds: float | None) -> None:
        self._stop_timer()
        if wait_seconds is not None:
            self._timeout = self._eventloop.create_task(self._wake_after(wait_seconds))

    async def _wake_after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self.wakeup()


class ScheduleTimer:
    """Rings alarms. `shared_timer` hands it out."""

    def __init__(self, clock: Clock) -> None:
        self.scheduler = ClockScheduler(clock)
        self.users = 0

    def add(self, alarm: Alarm) -> Job | None:
        """Ring `alarm` at its moments from now on; None when it has none."""
        if alarm.moment is None:
            return None
        return self.scheduler.add_job(
            alarm.ring, AlarmTrigger(alarm), name=alarm.text, next_run_time=alarm.moment
        )

    def remove(self, job: Job | None) -> None:
        """Stop ringing. An alarm that has no moment left is gone already."""
        if job is not None:
            with suppress(JobLookupError):
                job.remove()


_timers: dict[tuple[asyncio.AbstractEventLoop, Clock], ScheduleTimer] = {}


@contextmanager
def shared_timer(clock: Clock) -> Iterator[ScheduleTimer]:
    """The timer of the running loop and `clock`: started for its first user, shut down with its
    last. Never waits."""
    key = (asyncio.get_running_loop(), clock)
    timer = _timers.get(key)
    if timer is None:
        timer = _timers[key] = ScheduleTimer(clock)
        timer.scheduler.start()
    timer.users += 1
    try:
        yield timer
    finally:
        timer.users -= 1
        if timer.users == 0:
            del _timers[key]
            _shut_down(timer.scheduler)


def _shut_down(scheduler: ClockScheduler) -> None:
    # at once: by the time APScheduler's own shutdown runs, the loop may be closed
    scheduler._stop_timer()
    scheduler.shutdown(wait=False)
