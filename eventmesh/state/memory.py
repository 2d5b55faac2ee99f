"""The store in memory: the same rules, nothing kept. For tests and one-off runs."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from eventmesh.clock import Clock, SystemClock
from eventmesh.errors import StateError
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
from eventmesh.state.invariants import check_settled
from eventmesh.state.letters import choose_request, missing_letter, revive
from eventmesh.state.memory_checkpoints import MemoryCheckpoints

DeadLetters = list[DeadLetter]


class _Rows:
    """All rows, by id. Methods are plain: one call is one transaction."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._closed = False
        self._waiting: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        self.events: dict[int, QueuedEvent] = {}
        self.claimed: set[int] = set()
        self.positions: dict[str, dict[str, str]] = {}
        self.deliveries: dict[int, Delivery] = {}
        self.letters: dict[int, DeadLetter] = {}

    def close(self) -> None:
        self._closed = True

    def refuse_closed(self) -> None:
        if self._closed:
            raise StateError("the state is closed: eventmesh is stopping")

    def add_event(self, event: QueuedEvent) -> None:
        self._put(replace(event, id=next(self._ids)))

    def add_delivery(self, delivery: Delivery) -> None:
        stored = replace(delivery, id=next(self._ids), attributes=dict(delivery.attributes))
        self.deliveries[stored.id] = stored

    def add_letter(self, letter: DeadLetter) -> None:
        stored = replace(letter, id=next(self._ids))
        self.letters[stored.id] = stored

    def change_positions(self, changes: PositionChanges) -> None:
        known = self.positions.setdefault(changes.scope, {})
        for key, position in changes.positions.items():
            if position is None:
                known.pop(key, None)
            else:
                known[key] = position

    def claim(self, function: str, limit: int, now: float) -> list[QueuedEvent]:
        waiting = self._waiting[function]
        taken: list[QueuedEvent] = []
        while waiting and waiting[0][0] <= now and len(taken) < limit:
            _, number = heapq.heappop(waiting)
            self.claimed.add(number)
            taken.append(self.events[number])
        return taken

    def next_due(self, function: str) -> float | None:
        waiting = self._waiting[function]
        return waiting[0][0] if waiting else None

    def settle(self, settlements: Sequence[Finished | Postponed]) -> None:
        # checked before anything changes: all of it or nothing
        check_settled(settlements, len({one.event.id for one in settlements} & self.claimed))
        for one in settlements:
            self.claimed.remove(one.event.id)
            stored = self.events.pop(one.event.id)
            if isinstance(one, Postponed):
                self._put_back(stored, one.event)
            else:
                self._finish(one)

    def _finish(self, one: Finished) -> None:
        for delivery in one.deliveries:
            self.add_delivery(delivery)
        if one.dead_letter is not None:
            self.add_letter(one.dead_letter)

    def _put_back(self, stored: QueuedEvent, given: QueuedEvent) -> None:
        self._put(
            replace(
                stored,
                due_at=given.due_at,
                attempts=given.attempts,
                postponements=given.postponements,
                crashes=given.crashes,
            )
        )

    def _put(self, event: QueuedEvent) -> None:
        self.events[event.id] = event
        heapq.heappush(self._waiting[event.function], (event.due_at, event.id))


class _MemoryEvents:
    def __init__(self, rows: _Rows) -> None:
        self._rows = rows

    async def accept(
        self, events: Sequence[QueuedEvent], changes: PositionChanges | None, durability: Durability
    ) -> None:
        self._rows.refuse_closed()
        for event in events:
            self._rows.add_event(event)
        if changes is not None:
            self._rows.change_positions(changes)

    async def claim(self, function: str, limit: int, now: float) -> list[QueuedEvent]:
        self._rows.refuse_closed()
        return self._rows.claim(function, limit, now)

    async def settle(
        self, settlements: Sequence[Finished | Postponed], durability: Durability
    ) -> None:
        self._rows.refuse_closed()
        self._rows.settle(settlements)

    async def next_due(self, function: str) -> float | None:
        self._rows.refuse_closed()
        return self._rows.next_due(function)


class _MemoryPositions:
    def __init__(self, rows: _Rows) -> None:
        self._rows = rows

    async def load(self, scope: str) -> dict[str, str]:
        self._rows.refuse_closed()
        return dict(self._rows.positions.get(scope, {}))


class _MemoryDeliveries:
    def __init__(self, rows: _Rows) -> None:
        self._rows = rows

    async def add(self, deliveries: Sequence[Delivery], durability: Durability) -> None:
        self._rows.refuse_closed()
        for delivery in deliveries:
            self._rows.add_delivery(delivery)

    async def pending(self, limit: int) -> list[Delivery]:
        self._rows.refuse_closed()
        return heapq.nsmallest(
            limit, self._rows.deliveries.values(), key=lambda one: (one.due_at, one.id)
        )

    async def complete(self, delivery: Delivery) -> None:
        self._rows.refuse_closed()
        self._rows.deliveries.pop(delivery.id, None)

    async def postpone(self, delivery: Delivery) -> None:
        self._rows.refuse_closed()
        stored = self._rows.deliveries.get(delivery.id)
        if stored is not None:
            self._rows.deliveries[delivery.id] = replace(
                stored, due_at=delivery.due_at, attempts=delivery.attempts
            )


class _MemoryDeadLetters:
    def __init__(self, rows: _Rows) -> None:
        self._rows = rows

    async def list(self, function: str | None, limit: int) -> DeadLetters:
        self._rows.refuse_closed()
        fitting = [
            letter
            for letter in self._rows.letters.values()
            if function is None or letter.function == function
        ]
        return heapq.nlargest(limit, fitting, key=_age)

    async def get(self, request_id: str) -> DeadLetter | None:
        self._rows.refuse_closed()
        letters = self._rows.letters.values()
        fitting = {one.request_id for one in letters if one.request_id.startswith(request_id)}
        chosen = choose_request(request_id, sorted(fitting))
        return max((one for one in letters if one.request_id == chosen), key=_age, default=None)

    async def redrive(self, letters: Sequence[DeadLetter], now: float) -> None:
        self._rows.refuse_closed()
        for letter in letters:
            if letter.id not in self._rows.letters:
                raise missing_letter(letter)
        for letter in letters:
            self._rows.letters[letter.id] = replace(self._rows.letters[letter.id], redriven_at=now)
            self._rows.add_event(revive(letter, now))

    async def purge(self, before: float) -> int:
        self._rows.refuse_closed()
        old = [number for number, one in self._rows.letters.items() if one.failed_at < before]
        for number in old:
            del self._rows.letters[number]
        return len(old)


class MemoryStore:
    """A `Store` of one event loop, empty at first. Nothing waits, nothing survives it. Leases
    expire by `clock`."""

    events: AsyncEventStore
    positions: PositionStore
    checkpoints: CheckpointStore
    deliveries: DeliveryStore
    dead_letters: DeadLetterStore

    def __init__(self, clock: Clock | None = None) -> None:
        self._rows = _Rows()
        self.events = _MemoryEvents(self._rows)
        self.positions = _MemoryPositions(self._rows)
        self.checkpoints = MemoryCheckpoints(self._rows, clock or SystemClock())
        self.deliveries = _MemoryDeliveries(self._rows)
        self.dead_letters = _MemoryDeadLetters(self._rows)

    async def changed_outside(self) -> bool:
        self._rows.refuse_closed()
        return False

    async def backlog(self) -> Mapping[str, int]:
        self._rows.refuse_closed()
        return dict(Counter(event.function for event in self._rows.events.values()))

    async def close(self) -> None:
        self._rows.close()


def _age(letter: DeadLetter) -> tuple[float, int]:
    return letter.failed_at, letter.id
