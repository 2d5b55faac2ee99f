"""Commits of many shards in few requests: what comes while one is under way goes into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from logging import Logger

from eventmesh.clock import Clock
from eventmesh.errors import SourceUnavailable

from .assignment import Assignment
from .client import CommitFailedError, GroupConsumer, IllegalStateError, KafkaError, Partition
from .problems import explain

_COMMIT_SECONDS = 30.0


@dataclass(eq=False, slots=True)
class _Batch:
    """Commits that go in one request."""

    offsets: dict[Partition, int] = field(default_factory=dict)
    done: bool = False


class Commits:
    """The commits of one assignment."""

    def __init__(
        self, consumer: GroupConsumer, assignment: Assignment, clock: Clock, log: Logger
    ) -> None:
        self._consumer = consumer
        self._assignment = assignment
        self._clock = clock
        self._log = log
        self._lock = asyncio.Lock()
        self._next = _Batch()

    async def commit(self, positions: Mapping[str, str]) -> None:
        """Store the offset behind each shard's position; returns once the broker has them, or once
        they are not ours to store.

        Callers that wait at the same time share a request. Raises SourceUnavailable.
        """
        batch, named = self._next, self._assignment.named
        batch.offsets |= {
            named[shard]: int(position) + 1
            for shard, position in positions.items()
            if shard in named
        }
        async with self._lock:
            if batch.done:
                return
            if batch is self._next:
                self._next = _Batch()
            await self._store(self._assignment.committable(batch.offsets))
            batch.done = True

    async def _store(self, offsets: Mapping[Partition, int]) -> None:
        if not offsets or not self._consumer.is_member:
            self._log.info("not committed: the partitions are not ours any more")
            return
        storing = asyncio.ensure_future(self._consumer.commit(offsets))
        ended = asyncio.ensure_future(self._clock.wait(self._assignment.ended, _COMMIT_SECONDS))
        try:
            await asyncio.wait([storing, ended], return_when=asyncio.FIRST_COMPLETED)
            if storing.done():
                storing.result()
            elif not ended.result():
                raise SourceUnavailable(f"the brokers took no commit for {_COMMIT_SECONDS:g} s")
            else:
                self._log.warning("not committed: the group rebalanced; records are read again")
        except (CommitFailedError, IllegalStateError) as error:
            self._log.warning("not committed, records will be read again: %s", explain(error))
        except KafkaError as error:
            raise SourceUnavailable(f"commit refused: {explain(error)}") from error
        finally:
            # one that is tried again after a rebalance would go out in the new generation
            storing.cancel()
            ended.cancel()
            await asyncio.wait([storing, ended])
