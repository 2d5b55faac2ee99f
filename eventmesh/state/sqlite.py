"""The store in one SQLite file: writes through one thread in groups, reads through another.

A write whose caller is cancelled may still be stored; a claim whose caller is cancelled is undone.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from eventmesh.clock import Clock
from eventmesh.state import dead_letter_rows, delivery_rows, event_rows
from eventmesh.state.contract import (
    AsyncEventStore,
    CheckpointStore,
    DeadLetter,
    DeadLetterStore,
    Delivery,
    DeliveryStore,
    Durability,
    Finished,
    PositionChanges,
    PositionStore,
    Postponed,
    QueuedEvent,
)
from eventmesh.state.database import Database
from eventmesh.state.letters import revive
from eventmesh.state.opening import Opened, Opening, read_data_version
from eventmesh.state.sqlite_checkpoints import SqliteCheckpoints
from eventmesh.state.writer import Write

#: letters dropped in one transaction, so that a purge does not hold up the queue
_PURGE_ROWS = 1000

T = TypeVar("T")
DeadLetters = list[DeadLetter]
Work = Callable[[sqlite3.Connection], T]


class SqliteEvents:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def accept(
        self, events: Sequence[QueuedEvent], changes: PositionChanges | None, durability: Durability
    ) -> None:
        future = self._db.new_future()
        work = None if changes is None else partial(event_rows.change_positions, changes=changes)
        size = sum([len(event.payload) for event in events])
        self._db.submit(Write(work, future, durability is Durability.SYNCED, events, size))
        await future

    async def claim(self, function: str, limit: int, now: float) -> list[QueuedEvent]:
        future: asyncio.Future[list[QueuedEvent]] = self._db.new_future()
        work = partial(event_rows.claim_events, function=function, limit=limit, now=now)
        self._db.submit(Write(work, future, abandoned=self._release))
        try:
            return await future
        except asyncio.CancelledError:
            # answered, but cancelled before it could take the answer
            if not future.cancelled() and future.done() and future.exception() is None:
                self._release(future.result())
            raise

    def _release(self, events: Sequence[QueuedEvent]) -> None:
        if events:
            self._db.undo(partial(event_rows.release_events, ids=[event.id for event in events]))

    async def settle(
        self, settlements: Sequence[Finished | Postponed], durability: Durability
    ) -> None:
        await self._db.write(
            partial(event_rows.settle_events, settlements=settlements),
            synced=durability is Durability.SYNCED,
            size=sum([_size_of(one) for one in settlements if isinstance(one, Finished)]),
        )

    async def next_due(self, function: str) -> float | None:
        return await self._db.read(partial(event_rows.find_next_due, function=function))


class SqlitePositions:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self, scope: str) -> dict[str, str]:
        return await self._db.read(partial(event_rows.load_positions, scope=scope))


class SqliteDeliveries:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, deliveries: Sequence[Delivery], durability: Durability) -> None:
        await self._db.write(
            partial(delivery_rows.insert_deliveries, deliveries=deliveries),
            synced=durability is Durability.SYNCED,
            size=sum([len(delivery.payload) for delivery in deliveries]),
        )

    async def pending(self, limit: int) -> list[Delivery]:
        return await self._db.read(partial(delivery_rows.read_pending, limit=limit))

    async def complete(self, delivery: Delivery) -> None:
        await self._db.write(partial(delivery_rows.delete_delivery, delivery=delivery))

    async def postpone(self, delivery: Delivery) -> None:
        await self._db.write(partial(delivery_rows.postpone_delivery, delivery=delivery))


class SqliteDeadLetters:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, function: str | None, limit: int) -> DeadLetters:
        return await self._db.read(
            partial(dead_letter_rows.read_letters, function=function, limit=limit)
        )

    async def get(self, request_id: str) -> DeadLetter | None:
        return await self._db.read(partial(dead_letter_rows.find_letter, prefix=request_id))

    async def redrive(self, letters: Sequence[DeadLetter], now: float) -> None:
        future = self._db.new_future()
        work = partial(dead_letter_rows.mark_redriven, letters=letters, now=now)
        events = [revive(letter, now) for letter in letters]
        size = sum(len(event.payload) for event in events)
        self._db.submit(Write(work, future, True, events, size))
        await future

    async def purge(self, before: float) -> int:
        total = 0
        while True:
            work = partial(dead_letter_rows.delete_before, before=before, limit=_PURGE_ROWS)
            dropped = await self._db.write(work)
            total += dropped
            if dropped < _PURGE_ROWS:
                return total


class SqliteStore:
    """The `Store` in a directory; made by `open_sqlite`."""

    events: AsyncEventStore
    positions: PositionStore
    checkpoints: CheckpointStore
    deliveries: DeliveryStore
    dead_letters: DeadLetterStore

    def __init__(self, db: Database, data_version: int, clock: Clock) -> None:
        self._db = db
        self._data_version = data_version
        self._closing: asyncio.Task[None] | None = None
        self.events = SqliteEvents(db)
        self.positions = SqlitePositions(db)
        self.checkpoints = SqliteCheckpoints(db, clock)
        self.deliveries = SqliteDeliveries(db)
        self.dead_letters = SqliteDeadLetters(db)

    async def changed_outside(self) -> bool:
        """As the contract says. Another process's commit is seen by the writing connection."""
        version = await self._db.write(read_data_version)
        changed, self._data_version = version != self._data_version, version
        return changed

    async def backlog(self) -> Mapping[str, int]:
        return await self._db.read(event_rows.count_events)

    async def describe(self, **facts: str) -> None:
        """Tell later comers more about this engine: `describe(http="127.0.0.1:8080")`. Nothing
        happens where the lock was not taken. Raises StateError when the disk is full."""
        self._db.refuse_closed()
        if self._db.lock is not None:
            await asyncio.to_thread(self._db.lock.describe, **facts)

    async def close(self) -> None:
        """As the contract says. May be cancelled and called again; the closing goes on."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._db.close())
        await asyncio.shield(self._closing)


async def open_sqlite(
    directory: Path,
    clock: Clock,
    *,
    exclusive: bool = True,
    owner: Mapping[str, str] | None = None,
) -> SqliteStore:
    """Open the state in `directory`, on the running event loop; waits for the disk.

    `exclusive` is for an engine: it makes what is missing, takes the engine lock (`owner` is noted
    there: `command`, `http`), migrates, and frees the claims of the engine before it, counting a
    crash on each. Otherwise an existing state is opened beside whatever engine runs, which sees
    the changes by `changed_outside`.

    Raises StateInUse, StateCorrupt, StateFull, or StateError for a directory that is exposed,
    remote, not writable, or written by a newer eventmesh.
    """
    opening = Opening(directory, clock.now(), exclusive, dict(owner or {}))
    loop = asyncio.get_running_loop()
    limit = asyncio.ensure_future(opening.limit_check(clock))
    work = loop.run_in_executor(None, opening.run)
    try:
        opened = await asyncio.shield(work)
        db = Database(opened, loop)
    except asyncio.CancelledError:
        work.add_done_callback(_close_unwanted)
        raise
    finally:
        limit.cancel()
    return SqliteStore(db, opened.data_version, clock)


def _size_of(finished: Finished) -> int:
    letter = finished.dead_letter
    kept = 0 if letter is None else len(letter.payload)
    return kept + sum([len(delivery.payload) for delivery in finished.deliveries])


def _close_unwanted(work: asyncio.Future[Opened]) -> None:
    if not work.cancelled() and work.exception() is None:
        asyncio.get_running_loop().run_in_executor(None, work.result().close)
