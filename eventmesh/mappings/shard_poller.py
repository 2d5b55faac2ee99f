"""Reads one shard: records in order, filtered, batched, invoked, checkpointed (semantics 4.1-4.5).

A reader fills lanes (one, or one per unit of the parallelization factor, by hash of the key); each
lane has one batch in flight (invariant I4 SingleFlight). The checkpoint follows the low watermark.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from zlib import crc32

from eventmesh import failpoints, tasks
from eventmesh.mappings.attempts import (
    PAYLOAD_SIZE_EXCEEDED,
    BatchAttempts,
    Done,
    GiveUp,
    Invoke,
    Wait,
)
from eventmesh.mappings.batcher import Batch, Batcher
from eventmesh.mappings.claims import LeaseLost, Progress, ShardClaim
from eventmesh.mappings.failure_records import Failure
from eventmesh.mappings.host import Asked, Attempted, PollerHost, Predicate, keep_passing
from eventmesh.mappings.invoking import first_of
from eventmesh.mappings.policy import MappingPolicy
from eventmesh.mappings.progress import ShardProgress
from eventmesh.mappings.shard_reading import ShardReading
from eventmesh.pulling import KeepsCheckpoints, StreamSource
from eventmesh.records import Record
from eventmesh.state.contract import Delivery
from eventmesh.telemetry import (
    BatchBisected,
    BatchRetried,
    ShardClosed,
    ShardOpened,
    ShardProgressed,
)

logger = logging.getLogger("eventmesh.mappings")

#: records read ahead of what is invoked, at least (semantics 3.5)
READ_AHEAD = 1000
#: records read beyond the checkpoint, filtered ones among them, as a multiple of the read-ahead
LONGEST_SPAN = 20
#: how often progress by filtering alone is stored, and progress is told
QUIET_SECONDS = 1.0

_position = attrgetter("position")


@dataclass(eq=False, slots=True)
class Lane:
    """A part of a shard whose records are handled one batch after the other."""

    number: int
    batcher: Batcher
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class ShardPoller:
    """One shard, from its claim to its end. `run` once; `stop` ends it gracefully."""

    def __init__(
        self,
        shard: str,
        source: StreamSource,
        host: PollerHost,
        policy: MappingPolicy,
        passes: Predicate | None,
        claim: ShardClaim,
    ) -> None:
        self.shard = shard
        self.source = source
        self.host = host
        self.policy = policy
        self.claim = claim
        self.clock = host.clock
        self.exhausted = False
        #: set when nothing new may be started
        self.stopping = asyncio.Event()
        self._passes = passes
        now = self.clock.monotonic()
        self._lanes = [Lane(n, Batcher(policy, now)) for n in range(policy.parallelization_factor)]
        self._progress = ShardProgress(len(self._lanes))
        self._read_ahead = max(READ_AHEAD, (len(self._lanes) + 1) * policy.batch_size)
        self._has_room = asyncio.Event()
        self._measured = False
        self._saving = asyncio.Lock()
        #: failure records of what the watermark may have passed already; stored with it
        self._unsaved: list[Delivery] = []
        self._saved_at = self._told_at = float("-inf")
        self._newest_finished = self.clock.now()

    def stop(self) -> None:
        """Take in nothing more; `run` ends when the running invocations have, and are saved."""
        self.stopping.set()
        self._wake_lanes()

    async def run(self) -> bool:
        """Read until the shard ends, `stop`, or the lease is lost. Returns whether it is finished
        for good.

        Cancelled, it kills running handlers and stores nothing more. Other exceptions are bugs.
        """
        position = self.claim.progress.position or ""
        self.host.telemetry.emit(ShardOpened(self.host.mapping, self.shard, position))
        reason = "failed"
        try:
            await self._run()
            reason = "finished" if self.exhausted and not self._progress.pending else "stopping"
            if not isinstance(self.source, KeepsCheckpoints):
                await self.save(finished=reason == "finished")
            await self.claim.release()
        except LeaseLost as error:
            logger.warning("%s: %s", self.host.mapping, error)
            reason = "lease lost"
        except asyncio.CancelledError:
            reason = "cancelled"
            raise
        finally:
            self.host.returned(self.shard, self._progress.pending, reason)
            self.host.telemetry.emit(ShardClosed(self.host.mapping, self.shard, reason))
        return reason == "finished"

    async def _run(self) -> None:
        """Reader, lanes and lease together: the first that breaks ends all."""
        lanes = {asyncio.ensure_future(self._work(lane)) for lane in self._lanes}
        reader = asyncio.ensure_future(self._read())
        keeper = asyncio.ensure_future(self.claim.keep())
        stopped = asyncio.ensure_future(self.stopping.wait())
        everyone = {*lanes, reader, keeper, stopped}
        running = set(everyone)
        try:
            while lanes & running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {reader if self.stopping.is_set() else stopped}:
                    task.result()
                if self.stopping.is_set():
                    reader.cancel()
        finally:
            await tasks.cancel(everyone)

    # reading

    async def _read(self) -> None:
        position = self.claim.progress.position
        await ShardReading(self.shard, position, self.source, self.host).run(self)
        self.exhausted = True
        self._wake_lanes()

    async def begin(self, position: str) -> None:
        """Remember where the shard begins, so that a restart begins there too."""
        async with self._saving:
            if self.claim.progress.position is None:
                await self.claim.save(replace(self.claim.progress, position=position))

    async def room(self) -> int:
        """How many records may be read; waits while too many are in memory (invariant I12)."""
        while (room := self._room()) <= 0:
            self._has_room.clear()
            await self._has_room.wait()
        return room

    async def take_in(self, records: Sequence[Record]) -> None:
        """Filter records and hand them to their lanes."""
        if not self._measured:
            self._measure(records[0])
        kept = keep_passing(records, self.source, self._passes)
        first = self._progress.read(list(map(_position, records)))
        self.host.read(self.shard, len(records), len(records) - len(kept))
        if kept:
            self._hand_out(records, kept, first)
        elif not self._progress.pending:
            self._newest_finished = records[-1].arrived_at
            await self._save_filtered()

    def _room(self) -> int:
        if self._progress.span >= LONGEST_SPAN * self._read_ahead:
            return 0
        gathered = sum(lane.batcher.size_bytes for lane in self._lanes)
        if gathered >= (len(self._lanes) + 1) * self.policy.largest_event_bytes:
            return 0
        return self._read_ahead - self._progress.pending

    def _measure(self, record: Record) -> None:
        """Learn once what the event holds besides its records."""
        overhead = len(self.source.envelope([record])) - len(record.event)
        for lane in self._lanes:
            lane.batcher.overhead_bytes = overhead
        self._measured = True

    def _hand_out(self, records: Sequence[Record], kept: Sequence[int], first: int) -> None:
        now = self.clock.monotonic()
        for lane, indexes in zip(self._lanes, self._divide(records, kept, first), strict=True):
            if not indexes:
                continue
            if len(indexes) == len(records):
                lane.batcher.add(records, now)
                self._progress.assign(lane.number, range(first, first + len(records)))
            else:
                lane.batcher.add([records[index] for index in indexes], now)
                self._progress.assign(lane.number, [first + index for index in indexes])
            lane.wake.set()

    def _divide(
        self, records: Sequence[Record], kept: Sequence[int], first: int
    ) -> Sequence[Sequence[int]]:
        count = len(self._lanes)
        if count == 1:
            return [kept]
        parts: list[list[int]] = [[] for _ in range(count)]
        for index in kept:
            parts[lane_of(records[index], first + index, count)].append(index)
        return parts

    # handling

    async def _work(self, lane: Lane) -> None:
        """Handle one batch after the other until nothing may be started, or nothing comes."""
        while (batch := await self._next_batch(lane)) is not None:
            await self.handle(lane, batch)
            lane.batcher.restart_window(self.clock.monotonic())

    async def _next_batch(self, lane: Lane) -> Batch | None:
        while not self.stopping.is_set():
            now = self.clock.monotonic()
            batch = lane.batcher.take(
                now, drain=self.exhausted, reserved_bytes=self.reserved_bytes()
            )
            if batch is not None:
                self._has_room.set()
                return batch
            again = await self.look_idle(lane)
            if self.exhausted and not lane.batcher:
                return None
            lane.wake.clear()
            due = lane.batcher.due_at()
            again = again if due is None else due - now
            if not self.stopping.is_set():
                await self.clock.wait(lane.wake, again)
        return None

    async def handle(self, lane: Lane, batch: Batch) -> None:
        """Take one batch to its end, or to where stopping leaves it."""
        attempts = BatchAttempts(batch.records, self.policy, self.host.random)
        if batch.reason == "oversize":
            await self._give_up(lane, attempts, GiveUp(batch.records, PAYLOAD_SIZE_EXCEEDED, 1))
        result: Attempted | None = None
        while not self.stopping.is_set():
            match attempts.next(self.clock.now(), self.clock.monotonic()):
                case Invoke(records, attempt):
                    asked = self.ask(batch, records, attempt)
                    self.claim.check_held()
                    result = await self.host.attempt(self.policy, asked)
                    await self._settle(lane, attempts, result)
                case Wait(seconds):
                    await self._wait(attempts, result, seconds)
                case GiveUp() as decision:
                    await self._give_up(lane, attempts, decision, result)
                case Done():
                    return

    async def _settle(self, lane: Lane, attempts: BatchAttempts, attempted: Attempted) -> None:
        """Bring the outcome of one attempt into the batch, and store what is finished by it."""
        before, now = attempts.finished, self.clock.monotonic()
        if attempted.is_throttled:
            attempts.throttled(now)
            return
        if attempted.is_error:
            bisected = attempts.failed(now)
        elif attempted.failed:
            bisected = attempts.reported(attempted.failed[0], now)
        else:
            bisected = False
            attempts.succeeded()
        self.accept(attempted, attempts.finished - before)
        self._tell(attempts, bisected)
        await self._finish(lane, attempts, before)

    def _tell(self, attempts: BatchAttempts, bisected: bool) -> None:
        left = len(attempts.records) - attempts.finished
        if bisected:
            self.host.telemetry.emit(BatchBisected(self.host.mapping, self.shard, left))

    async def _wait(
        self, attempts: BatchAttempts, attempted: Attempted | None, seconds: float
    ) -> None:
        """Back off: only this lane waits. What was throttled goes on as soon as there is room."""
        if attempted is not None and attempted.no_room:
            await first_of(self.stopping.wait(), self.host.target.wait_for_room(seconds))
            attempts.hurry()
            return
        left = len(attempts.records) - attempts.finished
        self.host.telemetry.emit(
            BatchRetried(self.host.mapping, self.shard, left, attempts.attempts, seconds)
        )
        await self.clock.wait(self.stopping, seconds)

    async def _give_up(
        self,
        lane: Lane,
        attempts: BatchAttempts,
        decision: GiveUp,
        attempted: Attempted | None = None,
    ) -> None:
        result = attempted.result if attempted else None
        failure = Failure(decision.records, decision.condition, decision.invoke_count, result)
        deliveries = self.host.failure_deliveries(failure, self.source, self.policy)
        before = attempts.finished
        attempts.gave_up(decision)
        self.host.given_up(failure)
        await self._finish(lane, attempts, before, deliveries, handled=False)

    async def _finish(
        self,
        lane: Lane,
        attempts: BatchAttempts,
        before: int,
        deliveries: Sequence[Delivery] = (),
        *,
        handled: bool = True,
    ) -> None:
        """Move the watermark over what was finished since `before`, and store it."""
        count = attempts.finished - before
        if not count:
            return
        self._progress.finish(lane.number, count)
        self._unsaved += deliveries
        if handled:
            self.host.counts.handled += count
        self._newest_finished = attempts.records[attempts.finished - 1].arrived_at
        self._has_room.set()
        await self.save()

    # what windows do differently

    def reserved_bytes(self) -> int:
        """Bytes of the event that records may not use."""
        return 0

    async def look_idle(self, lane: Lane) -> float | None:
        """Nothing is to be invoked now; returns the seconds after which to look again."""
        return None

    def ask(self, batch: Batch, records: Sequence[Record], attempt: int) -> Asked:
        """The attempt to make for `records` of `batch`."""
        event = self.source.envelope(records)
        return Asked(self.shard, records, event, batch.reason, attempt)

    def accept(self, attempted: Attempted, finished: int) -> None:
        """An attempt ended and finished so many records."""

    def state(self) -> str:
        """What is stored beside the position."""
        return ""

    # checkpoints

    async def save(self, *, finished: bool = False) -> None:
        """Store how far the shard is finished, if that is further than stored, and failure
        records with it: all lanes', for the watermark may be past any of them (invariant I8
        FailureAtomic)."""
        async with self._saving:
            stored = self.claim.progress
            position = self._progress.watermark or stored.position
            deliveries = tuple(self._unsaved)
            new = Progress(position, self.state(), finished, deliveries)
            if new == stored:
                return
            failpoints.reach("before_checkpoint")
            await self.claim.save(new)
            failpoints.reach("after_checkpoint")
            del self._unsaved[: len(deliveries)]
            self._saved_at = self.clock.monotonic()
        if deliveries:
            self.host.wake_relay()
        self._tell_progress(position or "")

    async def _save_filtered(self) -> None:
        """Store progress by filtering alone, now and then; brokers keep it for the next batch
        (semantics 4.1, 6.2)."""
        quiet = self.clock.monotonic() - self._saved_at < QUIET_SECONDS
        if not quiet and not isinstance(self.source, KeepsCheckpoints):
            await self.save()

    def _tell_progress(self, position: str) -> None:
        now = self.clock.monotonic()
        if now - self._told_at < QUIET_SECONDS:
            return
        self._told_at = now
        age = max(0.0, self.clock.now() - self._newest_finished)
        pending = self._progress.pending
        self.host.telemetry.emit(
            ShardProgressed(self.host.mapping, self.shard, position, age, pending)
        )

    def _wake_lanes(self) -> None:
        for lane in self._lanes:
            lane.wake.set()


def lane_of(record: Record, number: int, lanes: int) -> int:
    """The lane of a record: by its key, so that a key keeps its order; without one, in turn."""
    return (crc32(record.key.encode()) if record.key else number) % lanes
