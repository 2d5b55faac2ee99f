"""Leases and checkpoints in the SQLite file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from eventmesh.clock import Clock
from eventmesh.state import checkpoint_rows
from eventmesh.state.contract import Checkpoint, Delivery, Durability, Lease
from eventmesh.state.database import Database


class SqliteCheckpoints:
    """The `CheckpointStore` of a file. An acquisition whose caller is cancelled may still hold the
    shard; its owner gets it again at once, others when it expires."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def load(self, scope: str) -> list[Checkpoint]:
        return await self._db.read(partial(checkpoint_rows.load_checkpoints, scope=scope))

    async def acquire(self, scope: str, shard: str, owner: str, ttl_seconds: float) -> Lease | None:
        now = self._clock.now()
        work = partial(
            checkpoint_rows.acquire_lease,
            scope=scope,
            shard=shard,
            owner=owner,
            now=now,
            until=now + ttl_seconds,
        )
        # synced: an epoch that was given out must not come again after a power cut
        return await self._db.write(work, synced=True)

    async def renew(self, lease: Lease, ttl_seconds: float) -> bool:
        until = self._clock.now() + ttl_seconds if ttl_seconds > 0 else 0.0
        return await self._db.write(partial(checkpoint_rows.renew_lease, lease=lease, until=until))

    async def save(
        self, lease: Lease, deliveries: Sequence[Delivery], durability: Durability
    ) -> bool:
        return await self._db.write(
            partial(
                checkpoint_rows.save_lease,
                lease=lease,
                deliveries=deliveries,
                now=self._clock.now(),
            ),
            synced=durability is Durability.SYNCED,
            size=len(lease.state) + sum([len(delivery.payload) for delivery in deliveries]),
        )
