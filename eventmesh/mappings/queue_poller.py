"""Reads a queue: receives, filters, gathers batches, invokes several at a time, settles (semantics
5.2-5.5, 7.3).

Every record received is settled exactly once: removed when it was handled, filtered out or given up
(after its failure record is on disk), given back otherwise. Other than AWS, throttled batches keep
their messages hidden instead of letting them return and count another receive.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from itertools import chain
from typing import Any

from eventmesh import failpoints, tasks
from eventmesh.errors import SourceExhausted, SourceUnavailable
from eventmesh.mappings.batcher import Batch, Batcher
from eventmesh.mappings.claims import insist
from eventmesh.mappings.groups import MessageGroups
from eventmesh.mappings.host import PollerHost, Predicate, keep_passing
from eventmesh.mappings.invoking import first_of
from eventmesh.mappings.mapping import retry_delay
from eventmesh.mappings.policy import MappingPolicy
from eventmesh.mappings.queue_batch import FailureCounts, QueueBatch, QueueVerdict
from eventmesh.mappings.scaling import ConcurrencyScale
from eventmesh.pulling import Extendable, QueueSource
from eventmesh.records import Outcome, Record
from eventmesh.state.contract import Durability
from eventmesh.state.invariants import check

logger = logging.getLogger("eventmesh.mappings")

BOUNDED = "bounded-in-flight"
#: receives that wait at a time
RECEIVERS = 4
#: a source that has not failed for so long is taken to be there, though nothing came yet
QUIET_START_SECONDS = 2.0
#: how often it is looked whether concurrency may grow while every slot is busy
LOOK_AGAIN_SECONDS = 0.2
#: how long records may take to be given back when handlers are killed
LAST_SETTLE_SECONDS = 2.0


class QueuePoller:
    """All of one mapping's work on a queue. `run` until `stop`; it may be run again."""

    def __init__(
        self,
        source: QueueSource,
        host: PollerHost,
        policy: MappingPolicy,
        passes: Predicate | None = None,
    ) -> None:
        self.policy = policy
        self.passes = passes
        self._source = source
        self._host = host
        self._clock = host.clock
        now = self._clock.monotonic()
        self._batcher = Batcher(policy, now)
        self._measured = False
        self._groups = MessageGroups()
        self._counts = FailureCounts()
        self._scale = ConcurrencyScale(
            policy.maximum_concurrency, host.target.most_invocations, now
        )
        self._reserved = 0
        self._exhausted = False
        self._failures = 0
        self._retry_at = float("-inf")
        self._batches: set[asyncio.Task[None]] = set()
        #: filtered records being removed
        self._removals: set[asyncio.Task[None]] = set()
        #: records of batches in flight, until they are being settled
        self._held: dict[int, Sequence[Record]] = {}
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._stopping = asyncio.Event()
        self._broken: BaseException | None = None

    def stop(self) -> bool:
        """Take in nothing more: `run` ends by itself once what is in flight is settled; what only
        waits is given back."""
        self._stopping.set()
        self._wake.set()
        return True

    async def run(self) -> None:
        """Poll until `stop`, or until a finite queue is empty.

        Cancelled, it kills running handlers and gives their records back. Exceptions are bugs of
        the source.
        """
        self._stopping.clear()
        self._exhausted, self._broken = False, None
        count = min(RECEIVERS, self.policy.maximum_concurrency or RECEIVERS)
        working = [self._receive() for _ in range(count)]
        intake = {self._spawn(work) for work in (*working, self._extend(), self._greet())}
        try:
            await self._dispatch()
            await tasks.cancel(intake)
            await self._give_back(self._gathered(), "stopping")
            while self._batches or self._removals:
                await asyncio.wait({*self._batches, *self._removals})
            if self._broken is not None:
                raise self._broken
            self._host.counts.check_pending(0)
        finally:
            await tasks.cancel({*intake, *self._batches, *self._removals})
            await self._abandon()

    # taking in

    async def _receive(self) -> None:
        """One receiver; it asks only for what there is room for (I12 BoundedInFlight)."""
        while not self._exhausted:
            limit = await self._room()
            self._reserved += limit
            try:
                records = await self._source.receive(limit)
                self._works(bool(records))
                check(BOUNDED, len(records) <= limit, f"{len(records)} of {limit} records")
                if records:
                    failpoints.reach("after_fetch")
                    self._take_in(records)
                else:
                    await self._clock.sleep(0)
            except SourceExhausted:
                self._exhausted = True
            except SourceUnavailable as error:
                self._fails(error)
            finally:
                self._reserved -= limit
                self._wake.set()
            await self._clock.sleep(self._retry_at - self._clock.monotonic())

    async def _room(self) -> int:
        """How many records to ask for; waits while memory holds as many as it may."""
        size = self.policy.batch_size
        while (room := (self._scale.limit + 1) * size - self._in_memory - self._reserved) <= 0:
            self._has_room.clear()
            await self._has_room.wait()
        return min(size, room)

    @property
    def _in_memory(self) -> int:
        return self._host.counts.pending

    def _works(self, has_records: bool) -> None:
        if self._failures or has_records:
            self._host.reporter.announce("" if self._failures else "polling")
            self._failures = 0

    def _fails(self, error: SourceUnavailable) -> None:
        """One outage is told once, however many receivers see it."""
        now = self._clock.monotonic()
        if now < self._retry_at:
            return
        self._failures += 1
        delay = retry_delay(self._failures, error.retry_after_seconds)
        self._retry_at = now + delay
        self._host.reporter.problem(error, delay)

    async def _greet(self) -> None:
        await self._clock.sleep(QUIET_START_SECONDS)
        if not self._failures:
            self._host.reporter.announce("polling")

    def _take_in(self, records: Sequence[Record]) -> None:
        """Filter, and gather for a batch; what is filtered out is removed from the queue."""
        kept = keep_passing(records, self._source, self.passes)
        self._host.read("", len(records), len(records) - len(kept))
        if len(kept) < len(records):
            passing = set(kept)
            missed = [Outcome(r, True) for i, r in enumerate(records) if i not in passing]
            self._removals.add(self._spawn(self._settle(missed)))
            records = [records[index] for index in kept]
        if records and not self._measured:
            event = self._source.envelope(records[:1])
            self._batcher.overhead_bytes = len(event) - len(records[0].event)
            self._measured = True
        self._batcher.add(self._groups.admit(records), self._clock.monotonic())

    async def _extend(self) -> None:
        """Keep every record in memory hidden, also those that wait for a slot."""
        source = self._source
        if not isinstance(source, Extendable):
            return
        while True:
            await self._clock.sleep(source.visibility_seconds / 3)
            held = [*self._batcher.records, *self._groups.waiting, *chain(*self._held.values())]
            if not held:
                continue
            try:
                await source.extend(held, source.visibility_seconds)
            except Exception as error:
                logger.warning(
                    "%s: %d records not extended: %s", self._host.mapping, len(held), error
                )

    # handing out

    async def _dispatch(self) -> None:
        """Start a batch whenever one closed and a slot is free, until there is nothing more."""
        while not self._stopping.is_set() and self._broken is None and not self._is_over():
            now = self._clock.monotonic()
            self._wake.clear()
            self._scale.observe(len(self._batches), now)
            self._has_room.set()
            wait: float | None = None
            if len(self._batches) < self._scale.limit:
                batch = self._batcher.take(now, drain=self._exhausted and not self._reserved)
                if batch is not None:
                    self._start(batch)
                    continue
                due = self._batcher.due_at()
                wait = None if due is None else due - now
            elif self._batcher:
                wait = LOOK_AGAIN_SECONDS
            await self._clock.wait(self._wake, wait)

    def _is_over(self) -> bool:
        return self._exhausted and not (self._in_memory or self._reserved or self._removals)

    def _start(self, batch: Batch) -> None:
        keys = self._groups.begin(batch.records)
        if keys:
            rest = self._batcher.clear()
            self._batcher.add(self._groups.admit(rest), self._clock.monotonic())
        self._held[id(batch)] = batch.records
        self._batches.add(self._spawn(self._handle(batch, keys)))

    async def _handle(self, batch: Batch, keys: frozenset[str]) -> None:
        queue_batch = QueueBatch(
            self._source, self._host, self.policy, self._counts, self._stopping
        )
        verdict = await queue_batch.handle(batch)
        await self._record(verdict)
        records, returned = batch.records, verdict.returned
        failed_groups = {records[i].key for i in returned if records[i].key}
        followers = self._groups.take(failed_groups)
        # cut off by the stop is not failed: a queue that counts failures must not count it
        tried = not self._stopping.is_set()
        outcomes = [Outcome(r, i not in returned, tried) for i, r in enumerate(records)]
        del self._held[id(batch)]
        self._count(len(records), verdict, len(followers))
        await self._settle([*outcomes, *(Outcome(r, False, attempted=False) for r in followers)])
        now = self._clock.monotonic()
        self._batcher.add(self._groups.end(keys), now)
        if not self._batcher:
            self._batcher.restart_window(now)

    async def _record(self, verdict: QueueVerdict) -> None:
        """Failure records are on disk before their records leave the queue (I6 AckAfterSync)."""
        host = self._host
        for failure in verdict.failures:
            deliveries = host.failure_deliveries(failure, self._source, self.policy)
            if deliveries:
                what = f"failure record of {host.mapping}"
                await insist(
                    partial(host.deliveries.add, deliveries, Durability.SYNCED), what, self._clock
                )
                host.wake_relay()

    def _count(self, records: int, verdict: QueueVerdict, followers: int) -> None:
        given_up = 0
        for failure in verdict.failures:
            self._host.given_up(failure)
            given_up += len(failure.records)
        self._host.counts.handled += records - given_up - len(verdict.returned)
        self._host.returned(
            "",
            len(verdict.returned) + followers,
            "failed" if not self._stopping.is_set() else "stopping",
        )

    # giving back

    async def _settle(self, outcomes: Sequence[Outcome]) -> None:
        failpoints.reach("before_settle")
        await insist(
            partial(self._source.settle, outcomes),
            f"settling for {self._host.mapping}",
            self._clock,
        )
        failpoints.reach("after_settle")

    def _gathered(self) -> list[Record]:
        """Take out what waits in memory and is in no batch."""
        gathered = [*self._batcher.clear(), *self._groups.waiting]
        self._groups.drop_waiting()
        return gathered

    async def _give_back(self, records: Sequence[Record], reason: str) -> None:
        if records:
            self._host.returned("", len(records), reason)
            await self._settle([Outcome(record, False, attempted=False) for record in records])

    async def _abandon(self) -> None:
        """After a kill: give back, without insisting, whatever is not settled."""
        left = [*self._gathered(), *chain(*self._held.values())]
        self._held.clear()
        self._groups.clear()
        if left:
            await first_of(
                self._give_back(left, "cancelled"), self._clock.sleep(LAST_SETTLE_SECONDS)
            )
        # what was being settled is as the queue has it
        self._host.returned("", self._host.counts.pending, "cancelled")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._removals.discard(task)
        self._wake.set()
        self._has_room.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = self._broken or error
