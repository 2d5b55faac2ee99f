"""Every store keeps the contract: the shipped suite, and any order of calls against a model."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eventmesh.clock import Clock
from eventmesh.state.contract import (
    Checkpoint,
    DeadLetter,
    Delivery,
    Durability,
    Finished,
    Lease,
    PositionChanges,
    Postponed,
    QueuedEvent,
    Store,
)
from eventmesh.state.memory import MemoryStore
from eventmesh.state.sqlite import open_sqlite
from eventmesh.testing import FakeClock
from eventmesh.testing.store_contract import (
    StoreContract,
    make_delivery,
    make_event,
    make_letter,
)

T = TypeVar("T")


class TestMemoryStore(StoreContract):
    async def open_store(self, place: Path, clock: Clock) -> Store:
        return MemoryStore(clock)


class TestSqliteStore(StoreContract):
    keeps = True

    async def open_store(self, place: Path, clock: Clock) -> Store:
        return await open_sqlite(place, clock)


SHARDS = st.sampled_from(["s-1", "s-2"])
OWNERS = st.sampled_from(["one", "two"])
FUNCTIONS = st.sampled_from(["f", "g"])
TIMES = st.integers(0, 20).map(float)
DURABILITIES = st.sampled_from(Durability)
KEYS = st.sampled_from(["a", "b", "c"])
CHANGES = st.dictionaries(KEYS, st.none() | st.sampled_from(["1", "2"]), max_size=3)


class StoreMachine(RuleBasedStateMachine):
    """Calls in any order. The model is the plainest there is: lists, searched and sorted."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.place = Path(tempfile.mkdtemp(prefix="eventmesh-machine-"))
        self.store = self.wait(self.open_store())
        self.arrived = 0
        #: in order of arrival
        self.queued: list[QueuedEvent] = []
        self.claimed: list[QueuedEvent] = []
        self.positions: dict[str, str] = {}
        self.deliveries: list[Delivery] = []
        self.letters: list[DeadLetter] = []
        self.checkpoints: dict[str, Checkpoint] = {}
        #: every lease ever given out
        self.leases: list[Lease] = []

    async def open_store(self) -> Store:
        return MemoryStore(self.clock)

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        self.wait(self.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.place)

    def next_name(self) -> str:
        self.arrived += 1
        return f"req-{self.arrived}"

    @initialize()
    def start_empty(self) -> None:
        assert self.wait(self.store.backlog()) == {}

    @rule(
        dues=st.lists(TIMES, max_size=4),
        function=FUNCTIONS,
        changes=st.none() | CHANGES,
        durability=DURABILITIES,
    )
    def accept(
        self,
        dues: list[float],
        function: str,
        changes: dict[str, str | None] | None,
        durability: Durability,
    ) -> None:
        events = [make_event(self.next_name(), function=function, due_at=due) for due in dues]
        given = None if changes is None else PositionChanges("m", changes)
        self.wait(self.store.events.accept(events, given, durability))
        self.queued += events
        for key, position in (changes or {}).items():
            self.positions.pop(key, None)
            if position is not None:
                self.positions[key] = position

    def due(self, function: str, now: float) -> list[QueuedEvent]:
        fitting = [one for one in self.queued if one.function == function and one.due_at <= now]
        # sorting is stable: equal due times stay in order of arrival
        return sorted(fitting, key=lambda one: one.due_at)

    @rule(function=FUNCTIONS, limit=st.integers(0, 5), now=TIMES)
    def claim(self, function: str, limit: int, now: float) -> None:
        got = self.wait(self.store.events.claim(function, limit, now))
        expected = self.due(function, now)[:limit]
        assert [replace(one, id=0) for one in got] == expected
        self.queued = [one for one in self.queued if one not in expected]
        self.claimed += got

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), failed=st.booleans(), due_at=TIMES, durability=DURABILITIES)
    def finish(
        self, data: st.DataObject, failed: bool, due_at: float, durability: Durability
    ) -> None:
        event = data.draw(st.sampled_from(self.claimed))
        letter = make_letter(event.request_id, function=event.function, failed_at=due_at)
        delivery = make_delivery(self.next_name(), due_at=due_at)
        outcome = Finished(event, (delivery,), letter) if failed else Finished(event)
        self.wait(self.store.events.settle([outcome], durability))
        self.claimed.remove(event)
        if failed:
            self.deliveries.append(delivery)
            self.letters.append(letter)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), due_at=TIMES, durability=DURABILITIES)
    def postpone(self, data: st.DataObject, due_at: float, durability: Durability) -> None:
        event = data.draw(st.sampled_from(self.claimed))
        back = replace(event, due_at=due_at, attempts=event.attempts + 1)
        self.wait(self.store.events.settle([Postponed(back)], durability))
        self.claimed.remove(event)
        self.put_in_order_of_arrival(replace(back, id=0))

    def put_in_order_of_arrival(self, event: QueuedEvent) -> None:
        self.queued.append(event)
        self.queued.sort(key=lambda one: int(one.request_id.removeprefix("req-")))

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def settle_unclaimed(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(self.queued))
        claimed = self.claimed[:1]
        with pytest.raises(AssertionError, match="settle-claimed"):
            self.wait(
                self.store.events.settle(
                    [*map(Finished, claimed), Finished(event)], Durability.NORMAL
                )
            )

    @precondition(lambda self: self.deliveries)
    @rule(due_at=TIMES | st.none())
    def deliver(self, due_at: float | None) -> None:
        first = self.wait(self.store.deliveries.pending(1))[0]
        expected = min(self.deliveries, key=lambda one: one.due_at)
        assert replace(first, id=0) == expected
        place = self.deliveries.index(expected)
        if due_at is None:
            self.wait(self.store.deliveries.complete(first))
            del self.deliveries[place]
        else:
            later = replace(first, due_at=due_at, attempts=first.attempts + 1)
            self.wait(self.store.deliveries.postpone(later))
            self.deliveries[place] = replace(later, id=0)

    @rule(seconds=st.sampled_from([1.0, 9.0, 10.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.step(seconds)

    @rule(shard=SHARDS, owner=OWNERS)
    def acquire(self, shard: str, owner: str) -> None:
        lease = self.wait(self.store.checkpoints.acquire("m", shard, owner, 10.0))
        now = self.clock.now()
        row = self.checkpoints.get(shard, Checkpoint(shard, "", "", False, owner, 0, 0.0, 0.0))
        if row.owner != owner and row.expires_at > now:
            assert lease is None
            return
        row = replace(row, owner=owner, epoch=row.epoch + 1, expires_at=now + 10.0)
        self.checkpoints[shard] = row
        assert lease == Lease("m", shard, owner, row.epoch, row.position, row.state, row.finished)
        self.leases.append(lease)

    def is_held(self, lease: Lease) -> bool:
        row = self.checkpoints[lease.shard]
        return (row.owner, row.epoch) == (lease.owner, lease.epoch) and row.expires_at != 0

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), ttl=st.sampled_from([0.0, 10.0]))
    def renew(self, data: st.DataObject, ttl: float) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        held = self.is_held(lease)
        assert self.wait(self.store.checkpoints.renew(lease, ttl)) is held
        if held:
            until = self.clock.now() + ttl if ttl else 0.0
            self.checkpoints[lease.shard] = replace(self.checkpoints[lease.shard], expires_at=until)

    @precondition(lambda self: self.leases)
    @rule(
        data=st.data(),
        position=KEYS,
        state=KEYS,
        finished=st.booleans(),
        failed=st.booleans(),
        durability=DURABILITIES,
    )
    def save(
        self,
        data: st.DataObject,
        position: str,
        state: str,
        finished: bool,
        failed: bool,
        durability: Durability,
    ) -> None:
        lease = replace(
            data.draw(st.sampled_from(self.leases)),
            position=position,
            state=state,
            finished=finished,
        )
        given = [make_delivery(self.next_name())] if failed else []
        held = self.is_held(lease)
        assert self.wait(self.store.checkpoints.save(lease, given, durability)) is held
        if held:
            self.deliveries += given
            self.checkpoints[lease.shard] = replace(
                self.checkpoints[lease.shard],
                position=position,
                state=state,
                finished=finished,
                saved_at=self.clock.now(),
            )

    @rule(before=TIMES)
    def purge(self, before: float) -> None:
        old = [one for one in self.letters if one.failed_at < before]
        assert self.wait(self.store.dead_letters.purge(before)) == len(old)
        self.letters = [one for one in self.letters if one not in old]

    @invariant()
    def the_next_due_is_right(self) -> None:
        for function in ("f", "g"):
            expected = min((one.due_at for one in self.due(function, 1e12)), default=None)
            assert self.wait(self.store.events.next_due(function)) == expected

    @invariant()
    def nothing_is_lost(self) -> None:
        backlog = self.wait(self.store.backlog())
        rows = [one.function for one in self.queued + self.claimed]
        assert dict(backlog) == {name: rows.count(name) for name in sorted(set(rows))}
        assert self.wait(self.store.positions.load("m")) == self.positions

    @invariant()
    def checkpoints_are_what_their_holders_saved(self) -> None:
        rows = self.wait(self.store.checkpoints.load("m"))
        assert rows == [self.checkpoints[shard] for shard in sorted(self.checkpoints)]

    @invariant()
    def failure_records_are_all_there(self) -> None:
        pending = self.wait(self.store.deliveries.pending(1000))
        given = sorted(self.deliveries, key=lambda one: one.due_at)
        assert [replace(one, id=0) for one in pending] == given

    @invariant()
    def letters_are_newest_first(self) -> None:
        listed = self.wait(self.store.dead_letters.list(None, 100))
        # oldest first and turned round: of equal times the later one comes first
        oldest = sorted(self.letters, key=lambda one: one.failed_at)
        assert [replace(one, id=0) for one in listed] == oldest[::-1]


class SqliteMachine(StoreMachine):
    async def open_store(self) -> Store:
        return await open_sqlite(self.place / "state", self.clock)

    @rule()
    def restart(self) -> None:
        self.wait(self.store.close())
        self.store = self.wait(self.open_store())
        claimed, self.claimed = self.claimed, []
        for event in claimed:
            self.put_in_order_of_arrival(replace(event, id=0, crashes=event.crashes + 1))


FEW = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

TestMemoryMachine = StoreMachine.TestCase
TestMemoryMachine.settings = FEW
TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = FEW
