"""Reads a stream: one shard poller a shard, started after its parents and stopped when the shard
leaves the set (semantics 4.1, 6.2).

Other than AWS with Kafka, a batch holds records of one partition only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from eventmesh import tasks
from eventmesh.errors import SourceExhausted, SourceUnavailable, StateError
from eventmesh.mappings.claims import LEASE_SECONDS, BrokerShard, LeasedShard, ShardClaim
from eventmesh.mappings.host import PollerHost, Predicate
from eventmesh.mappings.invoking import first_of
from eventmesh.mappings.mapping import retry_delay
from eventmesh.mappings.policy import MappingPolicy
from eventmesh.mappings.shard_poller import ShardPoller
from eventmesh.mappings.windowed_shard import WindowedShardPoller
from eventmesh.pulling import KeepsCheckpoints, StreamSource
from eventmesh.state.invariants import check

logger = logging.getLogger("eventmesh.mappings")

#: invariant I16: a child is not read before its parents are finished
PARENT_FIRST = "parent-first"
#: how long a shard that left the set may finish what is in flight (a rebalance waits)
REVOKE_SECONDS = 30.0
#: how often shards held by others, and their finished parents, are looked at
LOOK_AGAIN_SECONDS = LEASE_SECONDS / 6


@dataclass(eq=False, slots=True)
class _Shard:
    """One shard of the set: its task, and its poller once it is ours."""

    name: str
    parents: Sequence[str]
    task: asyncio.Task[None] = field(init=False)
    poller: ShardPoller | None = None
    leaving: bool = False


@asynccontextmanager
async def closing_sets(
    source: StreamSource,
) -> AsyncIterator[AsyncIterator[Mapping[str, Sequence[str]]]]:
    """The source's sets of shards; a generator is closed at the end, wherever it stands."""
    sets = source.shards()
    try:
        yield sets
    finally:
        if isinstance(sets, AsyncGenerator):
            await sets.aclose()


class StreamPoller:
    """All shards of one mapping. `run` until `stop`; it may be run again."""

    def __init__(
        self,
        source: StreamSource,
        host: PollerHost,
        policy: MappingPolicy,
        passes: Predicate | None = None,
    ) -> None:
        self.policy = policy
        self.passes = passes
        self._source = source
        self._host = host
        self._shards: dict[str, _Shard] = {}
        self._finished: set[str] = set()
        self._stopping = asyncio.Event()
        #: the set changed, for `run`
        self._adopted = asyncio.Event()
        #: the set or what is finished changed, for children
        self._changed = asyncio.Event()

    def stop(self) -> bool:
        """Take in nothing more: `run` ends by itself once what is in flight is checkpointed."""
        self._stopping.set()
        for shard in self._shards.values():
            self._stop_shard(shard)
        return True

    async def run(self) -> None:
        """Read every shard until `stop`, or until a finite stream is read to its end.

        Cancelled, it kills running handlers; their records are read again later. Exceptions are
        bugs of the source.
        """
        self._stopping.clear()
        watcher = asyncio.ensure_future(self._watch())
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await self._supervise(watcher, stopped)
        finally:
            await tasks.cancel([*(s.task for s in self._shards.values()), watcher, stopped])
            self._shards.clear()

    async def _supervise(self, watcher: asyncio.Future[None], stopped: asyncio.Future[Any]) -> None:
        """Wait for the end; raise what broke first."""
        while True:
            self._adopted.clear()
            everyone: set[asyncio.Future[Any]] = {
                watcher,
                stopped,
                *(s.task for s in self._shards.values()),
            }
            for task in everyone:
                if task.done() and not task.cancelled():
                    task.result()
            shards_run = any(not s.task.done() for s in self._shards.values())
            if not shards_run and (watcher.done() or stopped.done()):
                return
            adopted = asyncio.ensure_future(self._adopted.wait())
            running = {task for task in everyone if not task.done()}
            try:
                await asyncio.wait({*running, adopted}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                adopted.cancel()

    # the set of shards

    async def _watch(self) -> None:
        """Follow the set of shards; ends only with a finite source."""
        failures = 0
        while True:
            try:
                self._finished |= await self._stored_finished()
                async with closing_sets(self._source) as sets:
                    async for shards in sets:
                        failures = 0
                        await self._adopt(shards)
                return
            except SourceExhausted:
                return
            except (SourceUnavailable, StateError) as error:
                failures += 1
                asked = error.retry_after_seconds if isinstance(error, SourceUnavailable) else None
                delay = retry_delay(failures, asked)
                self._host.reporter.problem(error, delay)
                await self._host.clock.sleep(delay)

    async def _adopt(self, shards: Mapping[str, Sequence[str]]) -> None:
        """Drain what left the set, then start what is new."""
        gone = [shard for name, shard in self._shards.items() if name not in shards]
        if gone:
            await self._release(gone)
        for name, parents in shards.items():
            if name not in self._shards and name not in self._finished:
                if self._stopping.is_set():
                    return
                self._shards[name] = self._start(name, parents)
        count = len(self._shards)
        self._host.reporter.announce(f"polling {count} shard{'' if count == 1 else 's'}")
        self._adopted.set()
        self._changed.set()

    def _start(self, name: str, parents: Sequence[str]) -> _Shard:
        shard = _Shard(name, parents)
        shard.task = asyncio.ensure_future(self._own(shard))
        return shard

    async def _release(self, gone: Iterable[_Shard]) -> None:
        """Let what is in flight end and be committed, for so long; then cancel, storing
        nothing."""
        leaving = list(gone)
        for shard in leaving:
            self._stop_shard(shard)
        running = [shard.task for shard in leaving if not shard.task.done()]
        if running:
            await first_of(asyncio.wait(running), self._host.clock.sleep(REVOKE_SECONDS))
        await tasks.cancel(running)
        for shard in leaving:
            self._adopted.set()
            if shard.task.cancelled() or shard.task.exception() is None:
                del self._shards[shard.name]

    def _stop_shard(self, shard: _Shard) -> None:
        """Gracefully when it is ours; it is not waited for when it only waits itself."""
        shard.leaving = True
        if shard.poller is not None:
            shard.poller.stop()
        else:
            shard.task.cancel()

    # one shard

    async def _own(self, shard: _Shard) -> None:
        """Wait for the parents, claim the shard, read it; again when its lease was lost."""
        await self._parents_finished(shard)
        while not shard.leaving:
            claim = await self._claim(shard.name)
            if claim is None or await self._read(shard, claim):
                self._finished.add(shard.name)
                self._changed.set()
                return

    async def _read(self, shard: _Shard, claim: ShardClaim) -> bool:
        """Whether the shard is read to its end."""
        check(PARENT_FIRST, not self._waits_for(shard), f"{shard.name} before {shard.parents}")
        kind = WindowedShardPoller if self.policy.tumbling_window_seconds else ShardPoller
        shard.poller = kind(shard.name, self._source, self._host, self.policy, self.passes, claim)
        try:
            return await shard.poller.run()
        finally:
            shard.poller = None

    async def _claim(self, name: str) -> ShardClaim | None:
        """Hold the shard, waiting while another engine does. None when it is finished."""
        host = self._host
        if isinstance(self._source, KeepsCheckpoints):
            return BrokerShard(name, self._source, host.deliveries, host.clock)
        while True:
            asked_at = host.clock.monotonic()
            try:
                lease = await host.checkpoints.acquire(
                    host.mapping, name, host.owner, LEASE_SECONDS
                )
            except StateError as error:
                logger.error("%s: shard %s waits for the state: %s", host.mapping, name, error)
                lease = None
            if lease is not None:
                claim = LeasedShard(host.checkpoints, lease, host.clock, asked_at)
                if not lease.finished:
                    return claim
                await claim.release()
                return None
            await host.clock.sleep(LOOK_AGAIN_SECONDS)
            if name in await self._stored_finished():
                return None

    async def _parents_finished(self, shard: _Shard) -> None:
        """Wait until every parent is read to its end, by whomever, or is gone (I16 Parent)."""
        while self._waits_for(shard):
            self._changed.clear()
            await self._host.clock.wait(self._changed, LOOK_AGAIN_SECONDS)
            if self._waits_for(shard):
                self._finished |= await self._stored_finished()

    def _waits_for(self, shard: _Shard) -> bool:
        return any(p in self._shards and p not in self._finished for p in shard.parents)

    async def _stored_finished(self) -> set[str]:
        if isinstance(self._source, KeepsCheckpoints):
            return set()
        try:
            stored = await self._host.checkpoints.load(self._host.mapping)
        except StateError as error:
            logger.error("%s: %s", self._host.mapping, error)
            return set()
        return {checkpoint.shard for checkpoint in stored if checkpoint.finished}
