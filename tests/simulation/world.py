"""Everything outside the engines: the store behind a bad network, the stream, the handlers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from random import Random
from typing import Any

from eventmesh.connectors import InvocationResult
from eventmesh.errors import SourceExhausted, SourceUnavailable, StateError
from eventmesh.records import Record
from eventmesh.state.contract import Checkpoint, Delivery, Durability, Lease
from eventmesh.state.memory import MemoryStore
from tests.simulation.oracle import Flight, Oracle, Process
from tests.simulation.plan import Plan, PlannedShard
from tests.simulation.virtual_time import EPOCH, Call, SimulatedLoop, Timeline

SCOPE = "m"


class StoreClock:
    """The store's own clock: the only one that judges leases. `caller_skew` is how wrong the
    caller's is; nothing but a mutant looks at it."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.caller_skew = 0.0

    def now(self) -> float:
        return self.timeline.now + EPOCH

    def monotonic(self) -> float:
        return self.timeline.now

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the store does not wait")

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        raise AssertionError("the store does not wait")


class World:
    """The store, the stream's records and what handlers do. All chance comes from `random`."""

    def __init__(self, plan: Plan, random: Random, tell: Callable[[str], None] | None) -> None:
        self.plan = plan
        self.random = random
        self.timeline = Timeline()
        self.oracle = Oracle(plan.policy.parallelization_factor, self.timeline)
        self.clock = StoreClock(self.timeline)
        self.store = MemoryStore(self.clock)
        self.store_down_until = self.stream_down_until = 0.0
        self.is_calm = False
        self._tell = tell
        self.shards = {shard.name: shard for shard in plan.shards}
        for shard in plan.shards:
            self.oracle.add_shard(shard.name, shard.parents, shard.keys)
        self.records = {shard.name: _records_of(shard) for shard in plan.shards}

    def tell(self, who: object, what: object, *more: object) -> None:
        """Add to the trace, if somebody wants it."""
        if self._tell is not None:
            text = " ".join(str(part)[:60] for part in (what, *more))
            self._tell(f"{self.timeline.now:9.3f} {who!s:5} {text}")

    def chance(self, rate: float) -> bool:
        return not self.is_calm and rate > 0 and self.random.random() < rate


def _records_of(shard: PlannedShard) -> list[Record]:
    return [
        Record(
            f"{shard.name}-{number}",
            f"{shard.name}-{number}".encode(),
            EPOCH + arrived,
            shard.name,
            str(number),
            shard.keys[number],
        )
        for number, arrived in enumerate(shard.arrivals)
    ]


class StoreLink:
    """One process's connection to the store, a `CheckpointStore`. Requests arrive in the order they
    were sent, also after the process was killed; each may be refused, or applied with its reply
    lost. Only a take of a killed process is dropped: its next life, of the same name, would be
    robbed by it. (Nothing can come late to the stores there are; one behind a network will need
    an owner's name for each life.)"""

    def __init__(self, world: World, process: Process, loop: SimulatedLoop, skew: float) -> None:
        self.partitioned_until = 0.0
        self._world = world
        self._process = process
        self._loop = loop
        self._skew = skew
        self._last_arrival = 0.0

    async def load(self, scope: str) -> list[Checkpoint]:
        found: list[Checkpoint] = await self._ask(
            ("load",), lambda: self._world.store.checkpoints.load(scope), None
        )
        return found

    async def acquire(self, scope: str, shard: str, owner: str, ttl_seconds: float) -> Lease | None:
        def note(lease: Lease | None) -> None:
            if lease is not None:
                self._world.oracle.acquired(self._process, lease, ttl_seconds)

        checkpoints = self._world.store.checkpoints
        lease: Lease | None = await self._ask(
            ("acquire", shard),
            lambda: checkpoints.acquire(scope, shard, owner, ttl_seconds),
            note,
        )
        if lease is not None:
            self._process.leases[shard] = lease
        return lease

    async def renew(self, lease: Lease, ttl_seconds: float) -> bool:
        live = self._process.processing[lease.shard] > 0

        def note(held: bool) -> None:
            if held:
                self._world.oracle.renewed(self._process, lease, ttl_seconds, live)

        checkpoints = self._world.store.checkpoints
        what = ("renew", lease.shard, "epoch", lease.epoch, "for", ttl_seconds)
        held: bool = await self._ask(what, lambda: checkpoints.renew(lease, ttl_seconds), note)
        return held

    async def save(
        self, lease: Lease, deliveries: Sequence[Delivery], durability: Durability
    ) -> bool:
        oracle = self._world.oracle

        def note(held: bool) -> None:
            if held:
                oracle.saved(self._process, lease, deliveries)
            else:
                oracle.refused += 1

        checkpoints = self._world.store.checkpoints
        what = ("save", lease.shard, "at", lease.position, "epoch", lease.epoch)
        held: bool = await self._ask(
            what, lambda: checkpoints.save(lease, deliveries, durability), note
        )
        return held

    async def _ask(
        self,
        what: tuple[object, ...],
        work: Callable[[], Coroutine[Any, Any, Any]],
        note: Callable[[Any], None] | None,
    ) -> Any:
        """Send a request and wait for its reply. Raises StateError when it is not applied, and
        sometimes when it is."""
        if not self._process.is_alive:
            raise StateError("killed")
        world, now = self._world, self._world.timeline.now
        delay = world.random.uniform(0.001, 0.02)
        if now < self.partitioned_until and world.random.random() < 0.5:
            # it hangs in the network, and those behind it too
            delay += world.random.uniform(0.0, self.partitioned_until - now + 3.0)
        self._last_arrival = max(self._last_arrival, now + delay)
        reply = self._loop.create_future()
        world.timeline.after(self._last_arrival - now, self._arrive, what, work, note, reply)
        return await reply

    def _arrive(
        self,
        what: tuple[object, ...],
        work: Callable[[], Coroutine[Any, Any, Any]],
        note: Callable[[Any], None] | None,
        reply: asyncio.Future[Any],
    ) -> None:
        world = self._world
        now = world.timeline.now
        if what[0] == "acquire" and not self._process.is_alive:
            return
        if now < max(world.store_down_until, self.partitioned_until):
            world.tell(self._process, *what, "refused")
            self._answer(reply, world.random.uniform(0.01, 2.0), StateError("store is down"))
            return
        world.clock.caller_skew = self._skew
        result = _finish(work())
        world.tell(self._process, *what, "->", result)
        if note is not None:
            note(result)
        lost = world.chance(world.plan.lost_reply_rate)
        wait = world.random.uniform(0.1, 3.0) if lost else world.random.uniform(0.001, 0.02)
        self._answer(reply, wait, StateError("reply lost") if lost else result)

    def _answer(self, reply: asyncio.Future[Any], seconds: float, answer: Any) -> None:
        self._world.timeline.after(seconds, post, self._loop, reply, answer)


def post(loop: SimulatedLoop, future: asyncio.Future[Any], answer: Any) -> None:
    """Bring an answer into a process from outside."""
    loop.timeline.put_ready(Call(loop, 0.0, _resolve, (future, answer), None))


def _resolve(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _finish(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that does not wait."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the store waited")


class SimulatedStream:
    """One process's view of the stream: a `StreamSource` whose shards end."""

    def __init__(self, world: World) -> None:
        self._world = world

    def envelope(self, records: Sequence[Record]) -> bytes:
        return b",".join([record.event for record in records])

    def fields(self, record: Record) -> Mapping[str, Any]:
        return {}

    def batch_info(self, records: Sequence[Record]) -> Mapping[str, Any]:
        info = {"first": records[0].position, "last": records[-1].position}
        return {"SimulatedBatchInfo": info}

    async def close(self) -> None:
        return None

    async def shards(self) -> AsyncIterator[Mapping[str, Sequence[str]]]:
        self.refuse()
        yield {name: shard.parents for name, shard in self._world.shards.items()}

    async def open_shard(self, shard: str, position: str | None) -> SimulatedReader:
        self.refuse()
        return SimulatedReader(self._world, shard, 0 if position is None else int(position) + 1)

    def refuse(self) -> None:
        if self._world.timeline.now < self._world.stream_down_until:
            raise SourceUnavailable("stream is down")


class SimulatedReader:
    """Reads one shard; waits until records have come."""

    def __init__(self, world: World, shard: str, index: int) -> None:
        self._world = world
        self._shard = world.shards[shard]
        self._arrivals = self._shard.arrivals
        self._records = world.records[shard]
        self._index = index

    async def read(self, limit: int) -> Sequence[Record]:
        if self._index == len(self._arrivals):
            if self._shard.closes:
                raise SourceExhausted
            await asyncio.Event().wait()
        now = self._world.timeline.now
        await asyncio.sleep(max(0.005, self._arrivals[self._index] - now + 0.001))
        if (now := self._world.timeline.now) < self._world.stream_down_until:
            raise SourceUnavailable("stream is down")
        end = self._index
        while end < len(self._arrivals) and end - self._index < limit and self._arrivals[end] < now:
            end += 1
        records = self._records[self._index : end]
        self._index = end
        return records

    async def close(self) -> None:
        return None


class SimulatedHandlers:
    """A process's workers, a `BatchTarget`. They go on while their engine is stopped, and may
    outlive it by a second (I13)."""

    function_arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    most_invocations = 100

    def __init__(self, world: World, process: Process, loop: SimulatedLoop) -> None:
        self._world = world
        self._process = process
        self._loop = loop

    async def wait_for_room(self, seconds: float) -> None:
        raise AssertionError("there is room")

    async def invoke(self, event: bytes, attempt: int) -> InvocationResult:
        world, process = self._world, self._process
        names = event.decode().split(",")
        shard = names[0].partition("-")[0]
        numbers = [int(name.partition("-")[2]) for name in names]
        records = [world.records[shard][number] for number in numbers]
        epoch = process.leases[shard].epoch
        flight = Flight(process, shard, epoch, records, world.timeline.now)
        world.tell(process, "invoke", shard, numbers, "epoch", epoch, "attempt", attempt)
        world.oracle.started(process, shard, numbers, flight)
        handled, result = self._outcome(shard, numbers)
        reply = self._loop.create_future()
        end = world.timeline.after(
            self._seconds(), self._end, flight, numbers[:handled], reply, result
        )
        try:
            answer: InvocationResult = await reply
        except asyncio.CancelledError:
            self._cancel(end, flight)
            raise
        return answer

    def _cancel(self, end: Call, flight: Flight) -> None:
        """The engine kills the handler, or died and the handler follows within a second."""
        world = self._world
        if end.is_cancelled or flight not in world.oracle.shards[flight.shard].flights:
            return
        survives = not self._process.is_alive and world.random.random() < 0.5
        if survives and end.due <= world.timeline.now + 1.0:
            return
        end.cancel()
        if survives:
            world.timeline.after(1.0, world.oracle.ended, flight, [])
        else:
            world.oracle.ended(flight, [])

    def _end(
        self,
        flight: Flight,
        handled: list[int],
        reply: asyncio.Future[Any],
        result: InvocationResult,
    ) -> None:
        world = self._world
        world.oracle.ended(flight, handled)
        world.tell(self._process, "handled", flight.shard, handled, "of", len(flight.records))
        post(self._loop, reply, result)

    def _seconds(self) -> float:
        world = self._world
        if world.chance(world.plan.slow_handler_rate):
            return world.random.uniform(5.0, 40.0)
        return world.random.uniform(0.02, 1.5)

    def _outcome(self, shard: str, numbers: list[int]) -> tuple[int, InvocationResult]:
        """How many records are handled, and what the handler says."""
        world = self._world
        poison = world.shards[shard].poison
        bad = next((i for i, number in enumerate(numbers) if number in poison), None)
        if bad is None and world.chance(world.plan.failure_rate):
            bad = world.random.randrange(len(numbers))
        if bad is None:
            return len(numbers), InvocationResult("r", b"{}")
        if world.plan.policy.report_failures:
            item = {"itemIdentifier": f"{shard}-{numbers[bad]}"}
            return bad, InvocationResult("r", json.dumps({"batchItemFailures": [item]}).encode())
        return 0, InvocationResult("r", b"{}", function_error="Unhandled", error_type="E")
