"""Holding a shard and keeping its position: by a lease in the store, or by the broker itself.

A holder trusts its lease only until a deadline on its own monotonic clock, counted from before the
renewal was asked for (invariants I5 Fence, I14 Deadline).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from eventmesh.clock import Clock
from eventmesh.errors import EventMeshError, SourceUnavailable, StateError
from eventmesh.mappings.invoking import first_of
from eventmesh.pulling import KeepsCheckpoints
from eventmesh.state.contract import CheckpointStore, Delivery, DeliveryStore, Durability, Lease

logger = logging.getLogger("eventmesh.mappings")

LEASE_SECONDS = 30.0
_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 10.0


class LeaseLost(EventMeshError):
    """The shard is not ours any more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a shard is finished, and the failure records that belong to it."""

    position: str | None
    state: str = ""
    finished: bool = False
    deliveries: tuple[Delivery, ...] = ()


class ShardClaim(Protocol):
    """A shard that is ours to read. `progress` is what was stored last."""

    progress: Progress

    async def save(self, progress: Progress) -> None:
        """Store it; waits as long as the store takes. Not called concurrently. Raises
        LeaseLost."""
        ...

    async def keep(self) -> None:
        """Hold the shard until cancelled. Raises LeaseLost."""
        ...

    def check_held(self) -> None:
        """Raise LeaseLost unless something may be started for the shard now."""
        ...

    async def release(self) -> None:
        """Let others have it."""
        ...


class LeasedShard:
    """A shard held by a lease; position, state and failure records go in one transaction."""

    def __init__(self, store: CheckpointStore, lease: Lease, clock: Clock, asked_at: float) -> None:
        self.progress = Progress(lease.position or None, lease.state, lease.finished)
        self._store = store
        self._lease = lease
        self._clock = clock
        self._deadline = asked_at + LEASE_SECONDS

    async def save(self, progress: Progress) -> None:
        lease = replace(
            self._lease,
            position=progress.position or "",
            state=progress.state,
            finished=progress.finished,
        )
        durability = Durability.SYNCED if progress.deliveries else Durability.NORMAL

        async def store() -> None:
            self.check_held()
            if not await self._store.save(lease, progress.deliveries, durability):
                raise LeaseLost(f"shard {lease.shard} was claimed by another engine")

        await insist(store, f"checkpoint of {lease.scope} {lease.shard}", self._clock)
        self._lease = lease
        self.progress = replace(progress, deliveries=())

    async def keep(self) -> None:
        wait = LEASE_SECONDS / 3
        while True:
            # never past the deadline: what is in flight ends with the lease (I4 SingleFlight)
            await self._clock.sleep(min(wait, self._deadline - self._clock.monotonic()))
            wait = LEASE_SECONDS / 3 if await self._renew() else 1.0

    def check_held(self) -> None:
        if self._clock.monotonic() >= self._deadline:
            raise LeaseLost(f"the lease of shard {self._lease.shard} was not renewed in time")

    async def release(self) -> None:
        try:
            await self._store.renew(self._lease, 0)
        except StateError as error:
            logger.warning("%s %s: not released: %s", self._lease.scope, self._lease.shard, error)

    async def _renew(self) -> bool:
        """Whether it was renewed; a store that fails is asked again until the deadline."""
        self.check_held()
        asked_at = self._clock.monotonic()
        left = self._deadline - asked_at
        renewal = asyncio.ensure_future(self._store.renew(self._lease, LEASE_SECONDS))
        try:
            await first_of(_ended(renewal), self._clock.sleep(left))
            self.check_held()
            if not renewal.done():  # a sleep may end a little before its time
                raise LeaseLost(f"the lease of shard {self._lease.shard} was not renewed in time")
            held = renewal.result()
        except StateError as error:
            logger.warning("%s %s: not renewed: %s", self._lease.scope, self._lease.shard, error)
            return False
        finally:
            renewal.cancel()
        if not held:
            raise LeaseLost(f"shard {self._lease.shard} was claimed by another engine")
        self._deadline = asked_at + LEASE_SECONDS
        return True


class BrokerShard:
    """A shard that the broker gave us and whose position it keeps. Failure records go to the
    outbox, synced, before the position moves (invariant I6)."""

    def __init__(
        self, shard: str, source: KeepsCheckpoints, outbox: DeliveryStore, clock: Clock
    ) -> None:
        self.progress = Progress(None)
        self._shard = shard
        self._source = source
        self._outbox = outbox
        self._clock = clock

    async def save(self, progress: Progress) -> None:
        what = f"commit of {self._shard}"
        if progress.deliveries:
            deliveries = progress.deliveries
            await insist(lambda: self._outbox.add(deliveries, Durability.SYNCED), what, self._clock)
        position = progress.position
        if position is not None and position != self.progress.position:
            commit = {self._shard: position}
            await insist(lambda: self._source.commit(commit), what, self._clock)
        self.progress = replace(progress, deliveries=())

    async def keep(self) -> None:
        await asyncio.Event().wait()

    def check_held(self) -> None:
        return None

    async def release(self) -> None:
        return None


async def insist(call: Callable[[], Awaitable[None]], what: str, clock: Clock) -> None:
    """Await `call()` again and again until neither store nor source refuses it."""
    delay = _FIRST_RETRY_SECONDS
    while True:
        try:
            await call()
            return
        except (StateError, SourceUnavailable) as error:
            logger.error("%s: %s; trying again in %g s", what, error, delay)
        await clock.sleep(delay)
        delay = min(_LONGEST_RETRY_SECONDS, delay * 2)


async def _ended(future: asyncio.Future[bool]) -> None:
    await asyncio.wait([future])
