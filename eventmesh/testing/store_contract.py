"""The rules of `eventmesh.state.contract.Store` as tests, for every implementation.

Subclass `StoreContract` as `TestMyStore`, override `open_store`, and say in `keeps` whether what
was stored is there again after close and open. Needs pytest and pytest-asyncio in auto mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from eventmesh.clock import Clock
from eventmesh.errors import StateError
from eventmesh.state.contract import (
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
from eventmesh.testing.checkpoint_contract import CheckpointContract
from eventmesh.testing.clock import FakeClock

NORMAL, SYNCED = Durability.NORMAL, Durability.SYNCED


def make_event(request_id: str = "r-1", **fields: Any) -> QueuedEvent:
    """An event of function `f`, due at 100."""
    given = {"function": "f", "payload": b"{}", "accepted_at": 90.0, "due_at": 100.0, **fields}
    return QueuedEvent(request_id=request_id, **given)


def make_letter(request_id: str = "r-1", **fields: Any) -> DeadLetter:
    """A dead letter of function `f` that failed at 200."""
    given = {
        "function": "f",
        "payload": b"{}",
        "accepted_at": 90.0,
        "failed_at": 200.0,
        "condition": "RetriesExhausted",
        "attempts": 3,
        "error_type": "ValueError",
        "error_message": "no",
        **fields,
    }
    return DeadLetter(request_id=request_id, **given)


def make_delivery(delivery_id: str = "d-1", **fields: Any) -> Delivery:
    """A delivery of function `f` to its `on_failure`, due at 300."""
    given = {
        "function": "f",
        "destination": "on_failure",
        "payload": b"{}",
        "attributes": {},
        "due_at": 300.0,
        **fields,
    }
    return Delivery(delivery_id=delivery_id, **given)


async def finish(store: Store, *letters: DeadLetter, deliveries: tuple[Delivery, ...] = ()) -> None:
    """Run each letter's event through accept, claim and settle; deliveries come with the first."""
    for letter in letters:
        event = make_event(letter.request_id, function=letter.function)
        await store.events.accept([event], None, NORMAL)
        (claimed,) = await store.events.claim(letter.function, 1, 1e12)
        await store.events.settle([Finished(claimed, deliveries, letter)], NORMAL)
        deliveries = ()


def names(events: list[QueuedEvent]) -> list[str]:
    return [event.request_id for event in events]


class StoreContract(CheckpointContract):
    """All rules. One test, one rule."""

    #: whether a store opened at the same place again holds what the one before it was told
    keeps: ClassVar[bool] = False

    async def open_store(self, place: Path, clock: Clock) -> Store:
        """Open the store at `place`, a path in a private directory, made when missing."""
        raise NotImplementedError

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path / "state"

    @pytest.fixture
    async def store(self, place: Path, clock: FakeClock) -> AsyncIterator[Store]:
        store = await self.open_store(place, clock)
        yield store
        await store.close()

    # asynchronous events

    async def test_every_field_comes_back_as_accepted(self, store: Store) -> None:
        event = make_event(
            payload=b'{"a": "\xc3\xa4"}\x00\xff',
            qualifier="live",
            source="s3:./in",
            attempts=2,
            postponements=3,
            crashes=1,
            client_context="eyJ9",
            trace_id="Root=1-2",
        )
        await store.events.accept([event], None, SYNCED)
        (claimed,) = await store.events.claim("f", 10, 100.0)
        assert claimed.id > 0
        assert replace(claimed, id=0) == event

    async def test_nothing_given_is_nothing_stored(self, store: Store) -> None:
        await store.events.accept([], None, SYNCED)
        await store.events.settle([], NORMAL)
        await store.dead_letters.redrive([], 1.0)
        assert await store.backlog() == {}
        assert await store.events.claim("f", 10, 1e12) == []
        assert await store.events.next_due("f") is None

    async def test_oldest_due_comes_first(self, store: Store) -> None:
        dues = {"c": 30.0, "a": 10.0, "d": 40.0, "b": 20.0}
        for request_id, due_at in dues.items():
            await store.events.accept([make_event(request_id, due_at=due_at)], None, NORMAL)
        assert names(await store.events.claim("f", 10, 100.0)) == ["a", "b", "c", "d"]

    async def test_equal_due_times_keep_the_order_of_arrival(self, store: Store) -> None:
        arrived = [f"r{number}" for number in range(120)]
        await store.events.accept([make_event(name) for name in arrived[:70]], None, NORMAL)
        await store.events.accept([make_event(name) for name in arrived[70:]], None, NORMAL)
        first = await store.events.claim("f", 100, 100.0)
        second = await store.events.claim("f", 100, 100.0)
        assert names(first) + names(second) == arrived

    async def test_only_due_events_are_claimed(self, store: Store) -> None:
        events = [make_event("now", due_at=100.0), make_event("later", due_at=100.001)]
        await store.events.accept(events, None, NORMAL)
        assert names(await store.events.claim("f", 10, 99.999)) == []
        assert names(await store.events.claim("f", 10, 100.0)) == ["now"]
        assert names(await store.events.claim("f", 10, 100.001)) == ["later"]

    @pytest.mark.parametrize("limit", [-1, 0, 1, 3])
    async def test_a_claim_keeps_its_limit(self, store: Store, limit: int) -> None:
        await store.events.accept([make_event(str(number)) for number in range(5)], None, NORMAL)
        assert len(await store.events.claim("f", limit, 100.0)) == max(limit, 0)

    async def test_a_function_sees_only_its_own_events(self, store: Store) -> None:
        events = [make_event("a", function="f"), make_event("b", function="g", due_at=50.0)]
        await store.events.accept(events, None, NORMAL)
        assert names(await store.events.claim("f", 10, 100.0)) == ["a"]
        assert await store.events.next_due("g") == 50.0
        assert names(await store.events.claim("g", 10, 100.0)) == ["b"]
        assert await store.events.claim("F", 10, 100.0) == []

    async def test_a_claimed_event_is_nobody_elses(self, store: Store) -> None:
        await store.events.accept([make_event()], None, NORMAL)
        assert len(await store.events.claim("f", 10, 100.0)) == 1
        assert await store.events.claim("f", 10, 1e12) == []

    async def test_next_due_is_the_earliest_unclaimed(self, store: Store) -> None:
        events = [make_event("b", due_at=20.0), make_event("a", due_at=10.5)]
        await store.events.accept(events, None, NORMAL)
        assert await store.events.next_due("f") == 10.5
        await store.events.claim("f", 1, 100.0)
        assert await store.events.next_due("f") == 20.0
        await store.events.claim("f", 1, 100.0)
        assert await store.events.next_due("f") is None

    async def test_the_same_request_may_be_queued_twice(self, store: Store) -> None:
        await store.events.accept([make_event("same"), make_event("same")], None, NORMAL)
        one, other = await store.events.claim("f", 10, 100.0)
        await store.events.settle([Finished(one)], NORMAL)
        await store.events.settle([Postponed(other)], NORMAL)
        assert await store.events.claim("f", 10, 100.0) == [other]

    # settling

    async def test_a_finished_event_is_gone(self, store: Store) -> None:
        await store.events.accept([make_event()], None, NORMAL)
        (event,) = await store.events.claim("f", 1, 100.0)
        await store.events.settle([Finished(event)], SYNCED)
        assert await store.backlog() == {}
        assert await store.dead_letters.list(None, 10) == []
        assert await store.deliveries.pending(10) == []

    async def test_a_postponed_event_goes_back_as_given(self, store: Store) -> None:
        await store.events.accept([make_event()], None, NORMAL)
        (event,) = await store.events.claim("f", 1, 100.0)
        given = replace(event, due_at=160.25, attempts=1, postponements=2, crashes=3)
        await store.events.settle([Postponed(given)], NORMAL)
        assert await store.events.next_due("f") == 160.25
        assert await store.events.claim("f", 1, 160.0) == []
        assert await store.events.claim("f", 1, 160.25) == [given]

    async def test_postponing_changes_nothing_else(self, store: Store) -> None:
        await store.events.accept([make_event()], None, NORMAL)
        (event,) = await store.events.claim("f", 1, 100.0)
        odd = replace(event, payload=b"[]", function="g", request_id="other", accepted_at=0.0)
        await store.events.settle([Postponed(odd)], NORMAL)
        assert await store.events.claim("f", 1, 100.0) == [event]

    async def test_finishing_stores_deliveries_and_the_dead_letter(self, store: Store) -> None:
        await store.events.accept([make_event("r-9")], None, NORMAL)
        (event,) = await store.events.claim("f", 1, 100.0)
        deliveries = (
            make_delivery("d-1", attributes={"RequestID": "r-9", "ErrorMessage": "ä"}, attempts=4),
            make_delivery("d-2", destination="dead_letter_queue", payload=b"\x00\xff"),
        )
        letter = make_letter("r-9", source="http", qualifier="2", sent_to="directory ./failed")
        await store.events.settle([Finished(event, deliveries, letter)], SYNCED)
        pending = await store.deliveries.pending(10)
        assert [replace(one, id=0) for one in pending] == list(deliveries)
        (stored,) = await store.dead_letters.list("f", 10)
        assert replace(stored, id=0) == letter

    async def test_outcomes_of_one_call_may_be_mixed(self, store: Store) -> None:
        await store.events.accept([make_event(name) for name in "abc"], None, NORMAL)
        a, b, c = await store.events.claim("f", 3, 100.0)
        letter = make_letter("c")
        back = Postponed(replace(b, due_at=500.0, attempts=1))
        await store.events.settle([Finished(a), back, Finished(c, (), letter)], NORMAL)
        assert await store.backlog() == {"f": 1}
        assert await store.events.next_due("f") == 500.0
        assert [one.request_id for one in await store.dead_letters.list(None, 9)] == ["c"]

    @pytest.mark.parametrize("outcome", [Finished, Postponed])
    async def test_settling_an_unclaimed_event_breaks_an_invariant(
        self, store: Store, outcome: type[Finished] | type[Postponed]
    ) -> None:
        await store.events.accept([make_event("a"), make_event("b", due_at=900.0)], None, NORMAL)
        (a,) = await store.events.claim("f", 1, 100.0)
        await store.events.settle([Postponed(a)], NORMAL)
        with pytest.raises(AssertionError, match="settle-claimed"):
            await store.events.settle([outcome(a)], NORMAL)
        with pytest.raises(AssertionError, match="settle-claimed"):
            await store.events.settle([outcome(make_event("unknown", id=10**9))], NORMAL)
        assert await store.backlog() == {"f": 2}

    async def test_settling_twice_in_one_call_breaks_an_invariant(self, store: Store) -> None:
        await store.events.accept([make_event("a")], None, NORMAL)
        (a,) = await store.events.claim("f", 1, 100.0)
        pairs: list[list[Finished | Postponed]] = [
            [Finished(a), Finished(a)],
            [Postponed(a), Finished(a)],
        ]
        for pair in pairs:
            with pytest.raises(AssertionError, match="settle-claimed"):
                await store.events.settle(pair, NORMAL)
        await store.events.settle([Finished(a)], NORMAL)

    async def test_a_settlement_is_all_or_nothing(self, store: Store) -> None:
        await store.events.accept([make_event("a"), make_event("b")], None, NORMAL)
        (a,) = await store.events.claim("f", 1, 100.0)
        stranger = make_event("stranger", id=10**9)
        good = Finished(a, (make_delivery(),), make_letter("a"))
        with pytest.raises(AssertionError, match="settle-claimed"):
            await store.events.settle([good, Finished(stranger)], NORMAL)
        assert await store.deliveries.pending(10) == []
        assert await store.dead_letters.list(None, 10) == []
        await store.events.settle([good], NORMAL)
        assert len(await store.deliveries.pending(10)) == 1

    async def test_a_dead_letter_belongs_to_its_event(self, store: Store) -> None:
        await store.events.accept([make_event("a")], None, NORMAL)
        (a,) = await store.events.claim("f", 1, 100.0)
        with pytest.raises(AssertionError, match="failure-atomic"):
            await store.events.settle([Finished(a, (), make_letter("b"))], NORMAL)
        assert await store.backlog() == {"f": 1}

    async def test_the_backlog_counts_claimed_events_too(self, store: Store) -> None:
        events = [make_event("a"), make_event("b"), make_event("c", function="g")]
        await store.events.accept(events, None, NORMAL)
        await store.events.claim("f", 1, 100.0)
        await store.events.claim("g", 1, 100.0)
        assert dict(await store.backlog()) == {"f": 2, "g": 1}

    # positions

    async def test_positions_are_kept_by_scope(self, store: Store) -> None:
        first = PositionChanges("one", {"k": "1", "ключ": "ä", "": ""})
        await store.events.accept([], first, NORMAL)
        await store.events.accept([], PositionChanges("two", {"k": "2"}), NORMAL)
        assert await store.positions.load("one") == {"k": "1", "ключ": "ä", "": ""}
        assert await store.positions.load("two") == {"k": "2"}
        assert await store.positions.load("three") == {}

    async def test_a_position_is_replaced_or_forgotten(self, store: Store) -> None:
        many = {f"k{number}": str(number) for number in range(130)}
        await store.events.accept([], PositionChanges("m", many), NORMAL)
        changes = {"k0": "new", "k1": None, "k129": None, "never there": None}
        await store.events.accept([], PositionChanges("m", changes), NORMAL)
        expected = {**many, "k0": "new"}
        del expected["k1"], expected["k129"]
        assert await store.positions.load("m") == expected

    async def test_events_and_positions_come_together(self, store: Store) -> None:
        await store.events.accept([make_event()], PositionChanges("m", {"file": "7"}), SYNCED)
        assert await store.backlog() == {"f": 1}
        assert await store.positions.load("m") == {"file": "7"}

    # deliveries

    async def test_deliveries_may_come_without_an_event(self, store: Store) -> None:
        added = [make_delivery(f"d-{n}", payload=b"\x00", attributes={"A": "b"}) for n in range(60)]
        await store.deliveries.add(added[:59], SYNCED)
        await store.deliveries.add([], NORMAL)
        await store.deliveries.add(added[59:], NORMAL)
        assert [replace(one, id=0) for one in await store.deliveries.pending(99)] == added
        assert await store.backlog() == {}

    async def test_deliveries_come_earliest_due_first(self, store: Store) -> None:
        dues = {"late": 1e12, "b": 20.0, "a": 10.0, "c": 20.0}
        deliveries = tuple(make_delivery(name, due_at=due) for name, due in dues.items())
        await finish(store, make_letter(), deliveries=deliveries)
        pending = await store.deliveries.pending(10)
        assert [one.delivery_id for one in pending] == ["a", "b", "c", "late"]
        assert [one.delivery_id for one in await store.deliveries.pending(2)] == ["a", "b"]
        assert await store.deliveries.pending(0) == []

    async def test_a_completed_delivery_is_forgotten(self, store: Store) -> None:
        await finish(store, make_letter(), deliveries=(make_delivery("a"), make_delivery("b")))
        first, second = await store.deliveries.pending(10)
        await store.deliveries.complete(first)
        await store.deliveries.complete(first)
        assert await store.deliveries.pending(10) == [second]

    async def test_a_postponed_delivery_waits_again(self, store: Store) -> None:
        await finish(store, make_letter(), deliveries=(make_delivery("a"), make_delivery("b")))
        first, second = await store.deliveries.pending(10)
        given = replace(first, due_at=999.5, attempts=1)
        await store.deliveries.postpone(given)
        assert await store.deliveries.pending(10) == [second, given]
        await store.deliveries.complete(given)
        await store.deliveries.postpone(given)
        assert await store.deliveries.pending(10) == [second]

    # dead letters

    async def test_letters_are_listed_newest_first(self, store: Store) -> None:
        failed = {"a": 30.0, "b": 10.0, "c": 20.0, "d": 20.0}
        letters = [
            make_letter(name, failed_at=at, function="g" if name == "c" else "f")
            for name, at in failed.items()
        ]
        await finish(store, *letters)
        listed = await store.dead_letters.list(None, 10)
        assert [one.request_id for one in listed] == ["a", "d", "c", "b"]
        assert [one.request_id for one in await store.dead_letters.list("f", 2)] == ["a", "d"]
        assert [one.request_id for one in await store.dead_letters.list("g", 2)] == ["c"]
        assert await store.dead_letters.list("h", 10) == []
        assert await store.dead_letters.list(None, 0) == []

    async def test_a_letter_is_found_by_id_or_unique_prefix(self, store: Store) -> None:
        await finish(store, make_letter("abcd-1111"), make_letter("abcd-2222"), make_letter("ab"))
        for wanted in ("abcd-1111", "abcd-1"):
            found = await store.dead_letters.get(wanted)
            assert found is not None
            assert found.request_id == "abcd-1111"
        exact = await store.dead_letters.get("ab")
        assert exact is not None
        assert exact.request_id == "ab"

    @pytest.mark.parametrize("wanted", ["", "a", "abc", "abcd-3", "bcd-1", "abcd_1", "abcd%", "*"])
    async def test_no_letter_is_found_by_anything_else(self, store: Store, wanted: str) -> None:
        await finish(store, make_letter("abcd-1111"), make_letter("efgh-2222"))
        assert await store.dead_letters.get(wanted) is None

    async def test_a_prefix_of_several_requests_is_refused(self, store: Store) -> None:
        await finish(store, *[make_letter(f"abcd-{number}") for number in range(4)])
        with pytest.raises(StateError, match=r"several request ids \(abcd-0, abcd-1, \.\.\.\)"):
            await store.dead_letters.get("abcd")

    async def test_the_newest_letter_of_a_request_is_found(self, store: Store) -> None:
        for failed_at in (200.0, 400.0, 300.0):
            await finish(store, make_letter("abcd-1", failed_at=failed_at))
        for wanted in ("abcd-1", "abcd"):
            found = await store.dead_letters.get(wanted)
            assert found is not None
            assert found.failed_at == 400.0

    async def test_redriving_queues_again_and_marks(self, store: Store) -> None:
        letter = make_letter("r-7", payload=b"[1]", qualifier="live", source="schedule:x")
        await finish(store, letter, make_letter("r-8"))
        found = await store.dead_letters.get("r-7")
        assert found is not None
        await store.dead_letters.redrive([found], 1000.0)
        assert await store.events.claim("f", 10, 999.9) == []
        (event,) = await store.events.claim("f", 10, 1000.0)
        assert replace(event, id=0) == make_event(
            "r-7",
            payload=b"[1]",
            qualifier="live",
            source="schedule:x",
            accepted_at=1000.0,
            due_at=1000.0,
        )
        marks = {one.request_id: one.redriven_at for one in await store.dead_letters.list("f", 9)}
        assert marks == {"r-7": 1000.0, "r-8": None}

    async def test_redriving_is_all_or_nothing(self, store: Store) -> None:
        await finish(store, make_letter("r-7"))
        (found,) = await store.dead_letters.list(None, 1)
        with pytest.raises(StateError, match="request gone-1 is gone"):
            await store.dead_letters.redrive([found, make_letter("gone-1", id=10**9)], 1000.0)
        assert await store.backlog() == {}
        assert await store.dead_letters.list(None, 1) == [found]

    async def test_purging_drops_what_failed_before(self, store: Store) -> None:
        await finish(store, *[make_letter(f"r-{at}", failed_at=at) for at in (1.0, 2.0, 3.0)])
        assert await store.dead_letters.purge(1.0) == 0
        assert await store.dead_letters.purge(3.0) == 2
        assert [one.failed_at for one in await store.dead_letters.list(None, 9)] == [3.0]
        assert await store.dead_letters.purge(1e12) == 1
        assert await store.dead_letters.list(None, 9) == []

    # the whole store

    async def test_nobody_outside_changed_anything(self, store: Store) -> None:
        assert await store.changed_outside() is False
        await store.events.accept([make_event()], None, SYNCED)
        assert await store.changed_outside() is False

    async def test_closing_twice_is_closing_once(self, store: Store) -> None:
        await store.close()
        await store.close()

    async def test_a_closed_store_refuses(self, store: Store) -> None:
        await store.close()
        event, letter, delivery = make_event(), make_letter(), make_delivery()
        lease = Lease("m", "s-1", "one", 1)
        for call in (
            store.events.accept([event], None, SYNCED),
            store.events.claim("f", 1, 0.0),
            store.events.settle([Finished(event)], NORMAL),
            store.events.next_due("f"),
            store.positions.load("m"),
            store.checkpoints.load("m"),
            store.checkpoints.acquire("m", "s-1", "one", 30.0),
            store.checkpoints.renew(lease, 30.0),
            store.checkpoints.save(lease, [], NORMAL),
            store.deliveries.add([delivery], SYNCED),
            store.deliveries.pending(1),
            store.deliveries.complete(delivery),
            store.deliveries.postpone(delivery),
            store.dead_letters.list(None, 1),
            store.dead_letters.get("abcd"),
            store.dead_letters.redrive([letter], 0.0),
            store.dead_letters.purge(0.0),
            store.changed_outside(),
            store.backlog(),
        ):
            with pytest.raises(StateError, match="closed"):
                await call

    # restarts

    @pytest.fixture
    def kept(self) -> None:
        if not self.keeps:
            pytest.skip("this store keeps nothing")

    @pytest.mark.usefixtures("kept")
    async def test_everything_is_there_after_a_restart(self, store: Store, place: Path) -> None:
        await finish(store, make_letter("abcd"), deliveries=(make_delivery(),))
        await store.events.accept([make_event("b")], PositionChanges("m", {"k": "1"}), NORMAL)
        before = await store.dead_letters.list(None, 9), await store.deliveries.pending(9)
        await store.close()
        again = await self.open_store(place, FakeClock())
        assert (await again.dead_letters.list(None, 9), await again.deliveries.pending(9)) == before
        assert await again.positions.load("m") == {"k": "1"}
        assert names(await again.events.claim("f", 9, 100.0)) == ["b"]
        await again.close()

    @pytest.mark.usefixtures("kept")
    async def test_a_restart_frees_claims_and_counts_a_crash(
        self, store: Store, place: Path
    ) -> None:
        events = [make_event("a", due_at=1.0), make_event("b", due_at=2.0)]
        await store.events.accept(events, None, NORMAL)
        await store.events.claim("f", 1, 100.0)
        for boot in (1, 2):
            await store.close()
            store = await self.open_store(place, FakeClock())
            a, b = await store.events.claim("f", 9, 100.0)
            assert (a.request_id, a.crashes) == ("a", boot)
            assert (b.request_id, b.crashes) == ("b", boot - 1)
        await store.close()

    @pytest.mark.usefixtures("kept")
    async def test_closing_commits_what_is_under_way(self, store: Store, place: Path) -> None:
        calls = [
            asyncio.ensure_future(store.events.accept([make_event(str(number))], None, NORMAL))
            for number in range(300)
        ]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*calls) == [None] * 300
        again = await self.open_store(place, FakeClock())
        assert await again.backlog() == {"f": 300}
        await again.close()
