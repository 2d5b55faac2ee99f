"""Bugs planted on purpose: a simulation that has never failed proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from eventmesh.errors import StateError
from eventmesh.mappings.batcher import Batch
from eventmesh.mappings.claims import LEASE_SECONDS, LeasedShard, LeaseLost, Progress
from eventmesh.mappings.shard_poller import Lane, ShardPoller
from eventmesh.state.contract import Checkpoint, Durability, Lease
from eventmesh.state.memory_checkpoints import MemoryCheckpoints
from tests.simulation.virtual_time import EPOCH
from tests.simulation.world import StoreClock

Mutant = Callable[[], AbstractContextManager[None]]


@contextmanager
def no_mutant() -> Iterator[None]:
    """The code as it is."""
    yield


@contextmanager
def _patched(*patches: tuple[type[Any], str, Any]) -> Iterator[None]:
    kept = [(owner, name, owner.__dict__[name]) for owner, name, _ in patches]
    for owner, name, value in patches:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)


def checkpoint_before_handler() -> AbstractContextManager[None]:
    """The position moves before the handler ran."""
    unchanged = ShardPoller.handle

    async def handle(self: ShardPoller, lane: Lane, batch: Batch) -> None:
        async with self._saving:
            await self.claim.save(Progress(batch.records[-1].position))
        await unchanged(self, lane, batch)

    return _patched((ShardPoller, "handle", handle))


def unfenced_checkpoint() -> AbstractContextManager[None]:
    """The store takes a checkpoint from anybody."""

    async def save(
        self: MemoryCheckpoints, lease: Lease, deliveries: Any, durability: Durability
    ) -> bool:
        row = self._checkpoints[lease.scope][lease.shard]
        changed = replace(row, position=lease.position, state=lease.state, finished=lease.finished)
        self._checkpoints[lease.scope][lease.shard] = changed
        for delivery in deliveries:
            self._rows.add_delivery(delivery)
        return True

    return _patched((MemoryCheckpoints, "save", save))


def lost_take() -> AbstractContextManager[None]:
    """An engine renews all rows that name it at once, and is not given what is its own already: a
    take whose reply is lost leaves the shard held and unworked."""
    acquire, renew = MemoryCheckpoints.acquire, MemoryCheckpoints.renew

    async def acquire_others(
        self: MemoryCheckpoints, scope: str, shard: str, owner: str, ttl_seconds: float
    ) -> Lease | None:
        row = self._checkpoints.get(scope, {}).get(shard)
        if row is not None and row.owner == owner and row.expires_at > self._clock.now():
            return None
        return await acquire(self, scope, shard, owner, ttl_seconds)

    async def renew_all(self: MemoryCheckpoints, lease: Lease, ttl_seconds: float) -> bool:
        held = await renew(self, lease, ttl_seconds)
        now = self._clock.now()
        for shard, row in self._checkpoints[lease.scope].items():
            if ttl_seconds > 0 and row.owner == lease.owner and row.expires_at > now:
                until = now + ttl_seconds
                self._checkpoints[lease.scope][shard] = replace(row, expires_at=until)
        return held

    return _patched(
        (MemoryCheckpoints, "acquire", acquire_others), (MemoryCheckpoints, "renew", renew_all)
    )


def no_local_deadline() -> AbstractContextManager[None]:
    """A holder believes in its lease until the store says otherwise."""

    async def renew(self: LeasedShard) -> bool:
        try:
            held = await self._store.renew(self._lease, LEASE_SECONDS)
        except StateError:
            return False
        if not held:
            raise LeaseLost("claimed by another engine")
        return True

    return _patched((LeasedShard, "check_held", lambda self: None), (LeasedShard, "_renew", renew))


def callers_clock() -> AbstractContextManager[None]:
    """Whether a lease has expired is judged by the wall clock of the engine that wants it."""

    def now(self: StoreClock) -> float:
        return self.timeline.now + EPOCH + self.caller_skew

    return _patched((StoreClock, "now", now))


def epoch_not_raised() -> AbstractContextManager[None]:
    """An engine that takes again what was its own gets the same epoch."""
    acquire = MemoryCheckpoints.acquire

    async def acquire_same(
        self: MemoryCheckpoints, scope: str, shard: str, owner: str, ttl_seconds: float
    ) -> Lease | None:
        row: Checkpoint | None = self._checkpoints.get(scope, {}).get(shard)
        lease = await acquire(self, scope, shard, owner, ttl_seconds)
        if lease is None or row is None or row.owner != owner:
            return lease
        rows = self._checkpoints[scope]
        rows[shard] = replace(rows[shard], epoch=row.epoch)
        return replace(lease, epoch=row.epoch)

    return _patched((MemoryCheckpoints, "acquire", acquire_same))


MUTANTS: dict[str, Mutant] = {
    "checkpoint-before-handler": checkpoint_before_handler,
    "unfenced-checkpoint": unfenced_checkpoint,
    "lost-take": lost_take,
    "no-local-deadline": no_local_deadline,
    "callers-clock": callers_clock,
    "epoch-not-raised": epoch_not_raised,
}
