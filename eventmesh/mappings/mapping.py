"""One source bound to one function, supervised. It is run again when its source is unavailable, and
stops alone when it breaks."""

from __future__ import annotations

import asyncio
import enum
import logging
from typing import Protocol

from eventmesh import tasks
from eventmesh.clock import Clock
from eventmesh.connectors import PushSource, Target
from eventmesh.errors import ConnectorError, SourceUnavailable
from eventmesh.telemetry import SourceFailed, SourceReady, Telemetry

logger = logging.getLogger("eventmesh.mappings")

_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 30.0

NOTHING_PROCESSED = "No records processed"


class MappingState(enum.Enum):
    """Where a mapping is: `problem` waits to be run again, `failed` will not be."""

    CREATING = "creating"
    ENABLED = "enabled"
    PROBLEM = "problem"
    FAILED = "failed"
    DISABLED = "disabled"


class Work(Protocol):
    """What a mapping does while it is enabled: a push source that runs, or a poller."""

    async def run(self) -> None:
        """Work until stopped or cancelled. May be called again afterwards.

        Raises SourceUnavailable to be run again after back-off; anything else is a bug.
        """
        ...

    def stop(self) -> bool:
        """Take in nothing more. Whether `run` ends by itself, after what is in flight; else it is
        to be cancelled. Does not wait."""
        ...


class PushWork:
    """A push source and its target. It has nothing of its own in flight."""

    def __init__(self, source: PushSource, target: Target) -> None:
        self._source = source
        self._target = target

    async def run(self) -> None:
        await self._source.run(self._target)

    def stop(self) -> bool:
        return False


def retry_delay(failures: int, asked_seconds: float | None) -> float:
    """Seconds before a source is run again after `failures` in a row: 1, 2, 4 ... 30, or what it
    asked for."""
    if asked_seconds is not None:
        return max(0.0, asked_seconds)
    return min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 16))


class EventSourceMapping:
    """Supervises one source of any kind: `start`, `pause` and `resume` as often as wanted,
    `stop`."""

    def __init__(
        self, name: str, connector: str, resource: str, clock: Clock, telemetry: Telemetry
    ) -> None:
        self.name = name
        self.connector = connector
        self.resource = resource
        self.state = MappingState.CREATING
        self.detail = ""
        #: what the last batch came to, in AWS's words (semantics 3.3); pull sources only
        self.last_processing_result = NOTHING_PROCESSED
        self.task: asyncio.Task[None] | None = None
        self._clock = clock
        self._telemetry = telemetry
        self._work: Work | None = None
        self._working = False
        self._failures = 0
        self._ready_detail = ""
        #: set once the source announced itself, or failed to
        self.settled = asyncio.Event()

    # told by the source

    def announce(self, detail: str) -> None:
        """Called when the source is ready, and whenever its way of working changes; "" when it
        works again as before."""
        ready = detail or self._ready_detail or "ready"
        unchanged = self.state is MappingState.ENABLED and ready == self._ready_detail
        self.state, self.detail, self._failures = MappingState.ENABLED, ready, 0
        self._ready_detail = ready
        self.settled.set()
        if not unchanged:
            self._telemetry.emit(SourceReady(self.name, self.connector, self.resource, ready))

    def problem(self, error: Exception, retry_seconds: float) -> None:
        """Called by a poller whose source is unavailable and is asked again after
        `retry_seconds`."""
        self._report(MappingState.PROBLEM, error, retry_seconds)

    def processed(self, result: str) -> None:
        """Called by a poller after each batch."""
        self.last_processing_result = result

    # told by its owner

    def disable(self) -> None:
        """Switched off in the configuration: it does not run and is not missed."""
        self.state, self.detail = MappingState.DISABLED, "disabled"
        self.settled.set()

    def start(self, work: Work) -> asyncio.Task[None]:
        """Do `work` in a task of its own, which never raises."""
        self._work = work
        self.task = asyncio.create_task(self.supervise(work), name=self.name)
        return self.task

    async def stop(self, seconds: float) -> bool:
        """Take in nothing more, let what is in flight end for up to `seconds`, then cancel it.

        Returns whether all of it ended in time; its positions are stored then.
        """
        if self.task is None or self.task.done() or self._work is None:
            return True
        graceful = self._work.stop() and self._working
        if graceful:
            timer = asyncio.ensure_future(self._clock.sleep(seconds))
            await asyncio.wait({self.task, timer}, return_when=asyncio.FIRST_COMPLETED)
            timer.cancel()
        in_time = self.task.done() or not graceful
        await tasks.cancel([self.task])
        return in_time

    async def pause(self, seconds: float) -> bool:
        """`stop`, to be resumed: positions and configuration stay (semantics 4.1)."""
        in_time = await self.stop(seconds)
        self.disable()
        return in_time

    def resume(self, work: Work | None = None) -> None:
        """Go on after `pause`, with other `work` when the mapping was changed meanwhile."""
        self.state, self.detail = MappingState.CREATING, ""
        wanted = work or self._work
        if wanted is not None:
            self.start(wanted)

    async def update(self, work: Work, seconds: float) -> bool:
        """Change a running mapping: what is in flight ends under the old settings, for up to
        `seconds`; everything after follows the new ones."""
        in_time = await self.stop(seconds)
        if self.state is not MappingState.DISABLED:
            self.resume(work)
        else:
            self._work = work
        return in_time

    async def run(self, source: PushSource, target: Target) -> None:
        """Run a push source, again after back-off whenever it is unavailable."""
        await self.supervise(PushWork(source, target))

    async def supervise(self, work: Work) -> None:
        """Do `work` until it ends; any exception but SourceUnavailable ends this mapping, with its
        traceback in the log."""
        while True:
            try:
                self._working = True
                await work.run()
                return
            except SourceUnavailable as error:
                self._working = False
                self._failures += 1
                delay = retry_delay(self._failures, error.retry_after_seconds)
                self._report(MappingState.PROBLEM, error, delay)
                await self._clock.sleep(delay)
            except ConnectorError as error:
                logger.error("%s stops: %s", self.name, error)
                self._report(MappingState.FAILED, error, None)
                return
            except Exception as error:
                logger.exception("%s stops: a bug in its connector '%s'", self.name, self.connector)
                self._report(MappingState.FAILED, error, None)
                return
            finally:
                self._working = False

    def _report(self, state: MappingState, error: Exception, retry_seconds: float | None) -> None:
        self.state, self.detail = state, str(error) or type(error).__name__
        self.settled.set()
        self._telemetry.emit(SourceFailed(self.name, error, retry_seconds))
