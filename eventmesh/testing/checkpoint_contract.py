"""The rules of `eventmesh.state.contract.CheckpointStore` as tests; part of `StoreContract`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from eventmesh.clock import Clock
from eventmesh.state.contract import Checkpoint, Delivery, Durability, Lease, Store
from eventmesh.testing.clock import FakeClock

NORMAL, SYNCED = Durability.NORMAL, Durability.SYNCED
TTL = 30.0


async def hold(store: Store, owner: str = "one", shard: str = "s-1", scope: str = "m") -> Lease:
    """Acquire a shard that is to be had."""
    lease = await store.checkpoints.acquire(scope, shard, owner, TTL)
    assert lease is not None
    return lease


def failure_record(name: str) -> Delivery:
    return Delivery(name, "f", "on_failure", b"{}", {"a": "b"}, 300.0)


class CheckpointContract:
    """Leases are fences: one holder a shard, and whoever lost it writes nothing."""

    keeps: ClassVar[bool]

    async def open_store(self, place: Path, clock: Clock) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    # acquiring

    async def test_a_free_shard_is_had(self, store: Store, clock: FakeClock) -> None:
        assert await store.checkpoints.load("m") == []
        assert await hold(store) == Lease("m", "s-1", "one", 1, "", "", False)
        assert await store.checkpoints.load("m") == [
            Checkpoint("s-1", "", "", False, "one", 1, clock.now() + TTL, 0.0)
        ]

    async def test_a_held_shard_is_not(self, store: Store, clock: FakeClock) -> None:
        lease = await hold(store)
        before = await store.checkpoints.load("m")
        clock.step(TTL - 0.001)
        assert await store.checkpoints.acquire("m", "s-1", "two", TTL) is None
        assert await store.checkpoints.load("m") == before
        assert await store.checkpoints.save(lease, [], NORMAL)

    async def test_an_expired_lease_goes_to_another(self, store: Store, clock: FakeClock) -> None:
        await hold(store)
        clock.step(TTL)
        assert (await hold(store, "two")).epoch == 2
        assert await store.checkpoints.acquire("m", "s-1", "one", TTL) is None

    async def test_the_owner_gets_its_own_again(self, store: Store) -> None:
        first, second = await hold(store), await hold(store)
        assert (first.epoch, second.epoch) == (1, 2)
        assert not await store.checkpoints.save(first, [], NORMAL)
        assert await store.checkpoints.save(second, [], NORMAL)

    async def test_shards_and_mappings_are_apart(self, store: Store) -> None:
        await hold(store, "one", "s-1", "m")
        await hold(store, "two", "s-2", "m")
        lease = await hold(store, "three", "s-1", "n")
        assert await store.checkpoints.save(replace(lease, position="9"), [], NORMAL)
        assert [(one.shard, one.owner) for one in await store.checkpoints.load("m")] == [
            ("s-1", "one"),
            ("s-2", "two"),
        ]
        assert [(one.shard, one.position) for one in await store.checkpoints.load("n")] == [
            ("s-1", "9")
        ]
        assert await store.checkpoints.load("o") == []

    async def test_one_of_many_gets_it(self, store: Store) -> None:
        calls = [
            store.checkpoints.acquire("m", "s-1", f"owner {number}", TTL) for number in range(20)
        ]
        won = [lease for lease in await asyncio.gather(*calls) if lease is not None]
        assert [lease.epoch for lease in won] == [1]

    async def test_epochs_grow_by_one_and_never_return(
        self, store: Store, clock: FakeClock
    ) -> None:
        epochs = []
        for turn in range(8):
            lease = await hold(store, f"owner {turn % 3}")
            epochs.append(lease.epoch)
            if turn % 2:
                await store.checkpoints.save(replace(lease, finished=True), [], NORMAL)
                await store.checkpoints.renew(lease, 0)
            clock.step(TTL)
        assert epochs == [1, 2, 3, 4, 5, 6, 7, 8]

    # renewing

    async def test_a_renewed_lease_is_held_on(self, store: Store, clock: FakeClock) -> None:
        lease = await hold(store)
        clock.step(20.0)
        assert await store.checkpoints.renew(lease, TTL)
        clock.step(TTL - 1)
        assert await store.checkpoints.acquire("m", "s-1", "two", TTL) is None
        clock.step(1.0)
        assert (await hold(store, "two")).epoch == 2

    async def test_expired_but_not_taken_is_not_lost(self, store: Store, clock: FakeClock) -> None:
        lease = await hold(store)
        clock.step(TTL * 10)
        assert await store.checkpoints.save(replace(lease, position="5"), [], NORMAL)
        assert await store.checkpoints.renew(lease, TTL)
        assert await store.checkpoints.acquire("m", "s-1", "two", TTL) is None

    async def test_a_lost_lease_is_not_renewed(self, store: Store, clock: FakeClock) -> None:
        lease = await hold(store)
        clock.step(TTL)
        taken = await hold(store, "two")
        before = await store.checkpoints.load("m")
        assert not await store.checkpoints.renew(lease, TTL)
        assert not await store.checkpoints.renew(lease, 0)
        assert await store.checkpoints.load("m") == before
        assert await store.checkpoints.renew(taken, TTL)

    async def test_what_never_was_is_not_renewed(self, store: Store) -> None:
        lease = await hold(store)
        strangers = [
            replace(lease, scope="n"),
            replace(lease, shard="s-2"),
            replace(lease, owner="two"),
            replace(lease, epoch=2),
            replace(lease, epoch=0),
        ]
        for stranger in strangers:
            assert not await store.checkpoints.renew(stranger, TTL)
            assert not await store.checkpoints.save(stranger, [failure_record("d")], NORMAL)
        assert await store.deliveries.pending(9) == []
        assert len(await store.checkpoints.load("m")) == 1

    async def test_a_released_shard_is_free_at_once(self, store: Store) -> None:
        lease = replace(await hold(store), position="7", state="{}")
        assert await store.checkpoints.save(lease, [], NORMAL)
        assert await store.checkpoints.renew(lease, 0)
        (row,) = await store.checkpoints.load("m")
        assert (row.expires_at, row.position, row.epoch) == (0.0, "7", 1)
        assert not await store.checkpoints.renew(lease, TTL)
        assert not await store.checkpoints.save(replace(lease, position="8"), [], NORMAL)
        assert await hold(store, "two") == Lease("m", "s-1", "two", 2, "7", "{}", False)

    # saving

    async def test_the_next_holder_goes_on_where_it_stands(
        self, store: Store, clock: FakeClock
    ) -> None:
        lease = await hold(store)
        await store.checkpoints.save(replace(lease, position="100", state="ä" * 70_000), [], NORMAL)
        clock.step(5.0)
        last = replace(lease, position="ключ-200", state='{"sum": 3}')
        assert await store.checkpoints.save(last, [], SYNCED)
        assert await store.checkpoints.load("m") == [
            Checkpoint(
                "s-1", "ключ-200", '{"sum": 3}', False, "one", 1, clock.now() + 25.0, clock.now()
            )
        ]
        assert await hold(store) == replace(last, epoch=2)

    async def test_saving_holds_no_longer(self, store: Store, clock: FakeClock) -> None:
        lease = await hold(store)
        clock.step(TTL - 1)
        await store.checkpoints.save(replace(lease, position="1"), [], NORMAL)
        clock.step(1.0)
        assert (await hold(store, "two")).position == "1"

    async def test_the_store_does_not_compare_positions(self, store: Store) -> None:
        lease = await hold(store)
        for position in ("9", "10", "2", ""):
            assert await store.checkpoints.save(replace(lease, position=position), [], NORMAL)
            (row,) = await store.checkpoints.load("m")
            assert row.position == position

    async def test_failure_records_come_with_the_position(self, store: Store) -> None:
        lease = replace(await hold(store), position="1")
        given = [failure_record("d-1"), failure_record("d-2")]
        assert await store.checkpoints.save(lease, given, SYNCED)
        pending = await store.deliveries.pending(9)
        assert [replace(one, id=0) for one in pending] == given

    async def test_whoever_lost_it_stores_nothing(self, store: Store, clock: FakeClock) -> None:
        lease = await hold(store)
        clock.step(TTL)
        taken = replace(await hold(store, "two"), position="50")
        assert await store.checkpoints.save(taken, [], NORMAL)
        before = await store.checkpoints.load("m")
        late = replace(lease, position="99", state="x", finished=True)
        assert not await store.checkpoints.save(late, [failure_record("late")], SYNCED)
        assert await store.checkpoints.load("m") == before
        assert await store.deliveries.pending(9) == []

    async def test_a_late_save_does_not_spoil_its_neighbours(
        self, store: Store, clock: FakeClock
    ) -> None:
        late = await hold(store)
        clock.step(TTL)
        taken = await hold(store, "two")
        saves = [
            store.checkpoints.save(replace(lease, position=str(number)), [delivery], NORMAL)
            for number, (lease, delivery) in enumerate(
                [
                    (taken, failure_record("d-0")),
                    (late, failure_record("d-1")),
                    (taken, failure_record("d-2")),
                ]
            )
        ]
        assert await asyncio.gather(*saves) == [True, False, True]
        assert [one.delivery_id for one in await store.deliveries.pending(9)] == ["d-0", "d-2"]
        assert (await store.checkpoints.load("m"))[0].position == "2"

    async def test_finished_shards_stay(self, store: Store) -> None:
        lease = await hold(store, shard="s-2")
        assert await store.checkpoints.save(replace(lease, position="9", finished=True), [], NORMAL)
        await store.checkpoints.renew(lease, 0)
        await hold(store, shard="s-1")
        rows = await store.checkpoints.load("m")
        assert [(row.shard, row.finished) for row in rows] == [("s-1", False), ("s-2", True)]
        again = await hold(store, "two", "s-2")
        assert (again.finished, again.position) == (True, "9")

    # restarts

    @pytest.mark.usefixtures("kept")
    async def test_leases_and_checkpoints_are_there_after_a_restart(
        self, store: Store, place: Path, clock: FakeClock
    ) -> None:
        lease = await hold(store)
        saved = replace(lease, position="3", state="{}")
        await store.checkpoints.save(saved, [failure_record("d-1")], NORMAL)
        done = await hold(store, shard="s-2")
        await store.checkpoints.save(replace(done, finished=True), [], NORMAL)
        await store.checkpoints.renew(done, 0)
        before = await store.checkpoints.load("m")
        await store.close()
        again = await self.open_store(place, clock)
        assert await again.checkpoints.load("m") == before
        assert len(await again.deliveries.pending(9)) == 1
        assert await again.checkpoints.acquire("m", "s-1", "two", TTL) is None
        assert await again.checkpoints.save(replace(saved, position="4"), [], NORMAL)
        assert await hold(again) == replace(saved, position="4", epoch=2)
        await again.close()
