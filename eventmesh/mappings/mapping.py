"""One source bound to one function. It is run again when its source is unavailable, and stops
alone when it breaks."""

from __future__ import annotations

import asyncio
import enum
import logging

from eventmesh.clock import Clock
from eventmesh.connectors import PushSource, Target
from eventmesh.errors import SourceUnavailable
from eventmesh.telemetry import SourceFailed, SourceReady, Telemetry

logger = logging.getLogger("eventmesh.mappings")

_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 30.0


class MappingState(enum.Enum):
    """Where a mapping is: `problem` waits to be run again, `failed` will not be."""

    CREATING = "creating"
    ENABLED = "enabled"
    PROBLEM = "problem"
    FAILED = "failed"
    DISABLED = "disabled"


def retry_delay(failures: int, asked_seconds: float | None) -> float:
    """Seconds before a source is run again after `failures` in a row: 1, 2, 4 ... 30, or what it
    asked for."""
    if asked_seconds is not None:
        return max(0.0, asked_seconds)
    return min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 16))


class EventSourceMapping:
    """Supervises one push source. `run` ends only when cancelled or when the source is broken."""

    def __init__(
        self, name: str, connector: str, resource: str, clock: Clock, telemetry: Telemetry
    ) -> None:
        self.name = name
        self.connector = connector
        self.resource = resource
        self.state = MappingState.CREATING
        self.detail = ""
        self._clock = clock
        self._telemetry = telemetry
        self._failures = 0
        #: set once the source announced itself, or failed to
        self.settled = asyncio.Event()

    def announce(self, detail: str) -> None:
        """Called by the source when it is ready, and whenever its way of working changes."""
        self.state, self.detail, self._failures = MappingState.ENABLED, detail, 0
        self.settled.set()
        self._telemetry.emit(SourceReady(self.name, self.connector, self.resource, detail))

    def disable(self) -> None:
        """Switched off in the configuration: it does not run and is not missed."""
        self.state, self.detail = MappingState.DISABLED, "disabled"
        self.settled.set()

    async def run(self, source: PushSource, target: Target) -> None:
        """Run `source`, again after back-off whenever it is unavailable. Any other exception ends
        this mapping."""
        while True:
            try:
                await source.run(target)
                return
            except SourceUnavailable as error:
                self._failures += 1
                delay = retry_delay(self._failures, error.retry_after_seconds)
                self._report(MappingState.PROBLEM, error, delay)
                await self._clock.sleep(delay)
            except Exception as error:
                logger.exception("%s stops: a bug in its connector '%s'", self.name, self.connector)
                self._report(MappingState.FAILED, error, None)
                return

    def _report(self, state: MappingState, error: Exception, retry_seconds: float | None) -> None:
        self.state, self.detail = state, str(error) or type(error).__name__
        self.settled.set()
        self._telemetry.emit(SourceFailed(self.name, error, retry_seconds))
