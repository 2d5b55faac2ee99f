"""Reads a shard's records from a position on, opening it again as often as it takes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from eventmesh import failpoints
from eventmesh.errors import PositionExpired, SourceExhausted, SourceUnavailable
from eventmesh.mappings.host import PollerHost
from eventmesh.mappings.mapping import retry_delay
from eventmesh.pulling import HasStart, StreamSource
from eventmesh.records import Record

logger = logging.getLogger("eventmesh.mappings")


class Intake(Protocol):
    """Where records go."""

    async def begin(self, position: str) -> None:
        """The shard is read from here on; nothing of it was read before."""
        ...

    async def room(self) -> int:
        """Wait until records can be taken; how many."""
        ...

    async def take_in(self, records: Sequence[Record]) -> None:
        """Take records, in order."""
        ...


class ShardReading:
    """The reader of one shard. `run` ends when the shard was read to its end."""

    def __init__(
        self, shard: str, position: str | None, source: StreamSource, host: PollerHost
    ) -> None:
        self._shard = shard
        #: of the last record read
        self._position = position
        self._source = source
        self._host = host
        self._failures = 0

    async def run(self, intake: Intake) -> None:
        """Read until the shard is exhausted (returns) or cancelled. After an outage it goes on
        behind the last record that was read: nothing is lost or read twice."""
        while True:
            try:
                await self._read(intake)
            except SourceExhausted:
                return
            except PositionExpired as error:
                await self._start_over(error)
            except SourceUnavailable as error:
                self._failures += 1
                delay = retry_delay(self._failures, error.retry_after_seconds)
                self._host.reporter.problem(error, delay)
                await self._host.clock.sleep(delay)

    async def _read(self, intake: Intake) -> None:
        reader = await self._source.open_shard(self._shard, self._position)
        try:
            if self._position is None and isinstance(reader, HasStart) and reader.start_position:
                self._position = reader.start_position
                await intake.begin(self._position)
            while True:
                records = await reader.read(await intake.room())
                if self._failures:
                    self._failures = 0
                    self._host.reporter.announce("")
                if records:
                    failpoints.reach("after_fetch")
                    self._position = records[-1].position
                    await intake.take_in(records)
                else:
                    await self._host.clock.sleep(0)
        finally:
            await reader.close()

    async def _start_over(self, error: PositionExpired) -> None:
        logger.error(
            "%s: position %s of shard %s cannot be read any more (%s); records were LOST. Reading "
            "goes on from the starting position",
            self._host.mapping,
            self._position,
            self._shard,
            error,
        )
        if self._position is None:
            self._failures += 1
            await self._host.clock.sleep(retry_delay(self._failures, None))
        self._position = None
