"""Leases: fenced by the store, trusted only until a deadline on the holder's own clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eventmesh.errors import StateError
from eventmesh.mappings.claims import LEASE_SECONDS, LeasedShard, LeaseLost, Progress
from eventmesh.state.contract import CheckpointStore
from eventmesh.state.memory import MemoryStore
from eventmesh.testing import FakeClock
from eventmesh.testing.clock import settle


async def claim(store: CheckpointStore, clock: FakeClock, owner: str = "a") -> LeasedShard:
    asked_at = clock.monotonic()
    lease = await store.acquire("m", "s", owner, LEASE_SECONDS)
    assert lease is not None
    return LeasedShard(store, lease, clock, asked_at)


async def test_a_kept_lease_never_ends(clock: FakeClock) -> None:
    held = await claim(MemoryStore(clock).checkpoints, clock)
    keeper = asyncio.ensure_future(held.keep())
    await clock.advance(1000)
    held.check_held()
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    await clock.advance(LEASE_SECONDS)
    with pytest.raises(LeaseLost, match="not renewed in time"):
        held.check_held()


async def test_a_store_that_fails_is_asked_until_the_deadline(clock: FakeClock) -> None:
    store = MemoryStore(clock).checkpoints
    held = await claim(store, clock)
    asked: list[float] = []

    async def failing(*arguments: Any) -> bool:
        asked.append(clock.monotonic() - 1000.0)
        raise StateError("down")

    store.renew = failing  # type: ignore[method-assign]
    keeper = asyncio.ensure_future(held.keep())
    await clock.advance(29.9)
    assert not keeper.done()
    held.check_held()
    await clock.advance(0.2)
    with pytest.raises(LeaseLost):
        await keeper
    assert asked == [10.0 + n for n in range(20)]


async def test_a_store_that_hangs_does_not_hold_the_lease_beyond_its_time(
    clock: FakeClock,
) -> None:
    store = MemoryStore(clock).checkpoints
    held = await claim(store, clock)

    async def hanging(*arguments: Any) -> bool:
        await asyncio.Event().wait()
        return True

    store.renew = hanging  # type: ignore[method-assign]
    keeper = asyncio.ensure_future(held.keep())
    await clock.advance(30.1)
    await settle()
    assert keeper.done()
    with pytest.raises(LeaseLost):
        await keeper


async def test_a_late_writer_is_refused(clock: FakeClock) -> None:
    store = MemoryStore(clock).checkpoints
    late = await claim(store, clock)
    clock.step(100)
    await claim(store, clock, "b")
    with pytest.raises(LeaseLost, match="claimed by another"):
        await late.save(Progress("5"))
    assert [c.position for c in await store.load("m")] == [""]


async def test_nothing_is_written_after_the_deadline(clock: FakeClock) -> None:
    store = MemoryStore(clock).checkpoints
    held = await claim(store, clock)
    await clock.advance(LEASE_SECONDS)
    with pytest.raises(LeaseLost):
        await held.save(Progress("5"))


async def test_what_was_saved_is_where_the_next_goes_on(clock: FakeClock) -> None:
    store = MemoryStore(clock).checkpoints
    held = await claim(store, clock)
    await held.save(Progress("7", "state"))
    await held.release()
    again = await claim(store, clock, "b")
    assert again.progress == Progress("7", "state")


class Hasty(FakeClock):
    """A clock whose sleeps end a little before their time, as an event loop's may."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds - 1e-9)


async def test_a_renewal_that_hangs_until_just_before_the_deadline_is_a_lost_lease() -> None:
    clock = Hasty()
    store = MemoryStore(clock).checkpoints
    held = await claim(store, clock)

    async def hanging(*arguments: Any) -> bool:
        return await asyncio.Event().wait()

    store.renew = hanging  # type: ignore[method-assign]
    keeper = asyncio.ensure_future(held.keep())
    await clock.advance(LEASE_SECONDS)
    with pytest.raises(LeaseLost, match="not renewed in time"):
        await keeper


async def test_a_lease_whose_store_fails_ends_at_its_deadline_not_after(clock: FakeClock) -> None:
    store = MemoryStore(clock).checkpoints
    held = await claim(store, clock)

    async def slow_to_fail(*arguments: Any) -> bool:
        await clock.sleep(0.3)
        raise StateError("down")

    store.renew = slow_to_fail  # type: ignore[method-assign]
    keeper = asyncio.ensure_future(held.keep())
    await clock.advance(LEASE_SECONDS)
    await settle()
    assert keeper.done()
    assert isinstance(keeper.exception(), LeaseLost)
