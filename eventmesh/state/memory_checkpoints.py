"""Leases and checkpoints in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from eventmesh.clock import Clock
from eventmesh.state.contract import Checkpoint, Delivery, Durability, Lease


class Rows(Protocol):
    """What else the store holds."""

    def refuse_closed(self) -> None: ...

    def add_delivery(self, delivery: Delivery) -> None: ...


class MemoryCheckpoints:
    """The `CheckpointStore` of a `MemoryStore`: the same rules, nothing kept."""

    def __init__(self, rows: Rows, clock: Clock) -> None:
        self._rows = rows
        self._clock = clock
        self._checkpoints: dict[str, dict[str, Checkpoint]] = {}

    async def load(self, scope: str) -> list[Checkpoint]:
        self._rows.refuse_closed()
        shards = self._checkpoints.get(scope, {})
        return [shards[shard] for shard in sorted(shards)]

    async def acquire(self, scope: str, shard: str, owner: str, ttl_seconds: float) -> Lease | None:
        self._rows.refuse_closed()
        shards = self._checkpoints.setdefault(scope, {})
        found = shards.get(shard) or Checkpoint(shard, "", "", False, owner, 0, 0.0, 0.0)
        now = self._clock.now()
        if found.expires_at > now and found.owner != owner:
            return None
        taken = replace(found, owner=owner, epoch=found.epoch + 1, expires_at=now + ttl_seconds)
        shards[shard] = taken
        return Lease(scope, shard, owner, taken.epoch, taken.position, taken.state, taken.finished)

    async def renew(self, lease: Lease, ttl_seconds: float) -> bool:
        self._rows.refuse_closed()
        found = self._find(lease)
        if found is None:
            return False
        until = self._clock.now() + ttl_seconds if ttl_seconds > 0 else 0.0
        self._checkpoints[lease.scope][lease.shard] = replace(found, expires_at=until)
        return True

    async def save(
        self, lease: Lease, deliveries: Sequence[Delivery], durability: Durability
    ) -> bool:
        self._rows.refuse_closed()
        found = self._find(lease)
        if found is None:
            return False
        self._checkpoints[lease.scope][lease.shard] = replace(
            found,
            position=lease.position,
            state=lease.state,
            finished=lease.finished,
            saved_at=self._clock.now(),
        )
        for delivery in deliveries:
            self._rows.add_delivery(delivery)
        return True

    def _find(self, lease: Lease) -> Checkpoint | None:
        """The lease's row while it is held; None once another claimed it, or it was released."""
        found = self._checkpoints.get(lease.scope, {}).get(lease.shard)
        held = found is not None and (
            (found.owner, found.epoch) == (lease.owner, lease.epoch) and found.expires_at > 0
        )
        return found if held else None
