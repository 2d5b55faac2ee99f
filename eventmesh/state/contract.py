"""The store contract. SQLite and memory pass the same suite; PostgreSQL will.

Durability is a class per write, not per database: SYNCED waits until the disk has it (someone
outside will be told so),
NORMAL survives a killed process, and a lost one costs at most a duplicate. Writes are grouped: a
call returns
once the transaction it rode in is committed. Any write may raise StateFull; then none of it was
stored.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Durability(enum.Enum):
    NORMAL = "normal"
    SYNCED = "synced"


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """One asynchronous event. `id` is given by the store (0 before). Times are epoch seconds."""

    request_id: str
    function: str
    payload: bytes
    accepted_at: float
    due_at: float
    #: how the caller qualified the function (`$LATEST`, a version, an alias), "" when it did not
    qualifier: str = ""
    #: the mapping or `api` it came from
    source: str = "api"
    #: invocations that failed so far; throttles do not count (semantics 2.1)
    attempts: int = 0
    #: times put back since the last attempt, for the exponential delay
    postponements: int = 0
    #: engine boots that ended while this event was claimed
    crashes: int = 0
    client_context: str | None = None
    trace_id: str | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A payload on its way to a destination: an outbox row. `destination` names the function's
    setting it goes to
    (`on_success`, `on_failure`, `dead_letter_queue`). `delivery_id` stays the same when sent
    again."""

    delivery_id: str
    function: str
    destination: str
    payload: bytes
    attributes: Mapping[str, str]
    due_at: float
    attempts: int = 0
    id: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that ended in failure, kept for `eventmesh dlq`."""

    request_id: str
    function: str
    payload: bytes
    accepted_at: float
    failed_at: float
    #: `RetriesExhausted`, `EventAgeExceeded`, `ZeroReservedConcurrency`
    condition: str
    attempts: int
    error_type: str
    error_message: str
    source: str = "api"
    qualifier: str = ""
    #: where a record of it was sent, for people: `directory ./failed`; "" when nowhere
    sent_to: str = ""
    #: epoch seconds of the last redrive, None when never
    redriven_at: float | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The event is done: its row goes, its deliveries and dead letter come, in one transaction."""

    event: QueuedEvent
    deliveries: tuple[Delivery, ...] = ()
    dead_letter: DeadLetter | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """The event goes back to the queue with its new `due_at`, `attempts`, `postponements` and
    `crashes` as given; nothing else of it changes."""

    event: QueuedEvent


@dataclass(frozen=True, slots=True)
class PositionChanges:
    """New positions of one source (`scope` is its mapping's name); None forgets a key."""

    scope: str
    positions: Mapping[str, str | None] = field(default_factory=dict)


class AsyncEventStore(Protocol):
    """The asynchronous queue's rows. A claimed event is nobody else's until settled; a restart
    frees all claims
    and counts one crash on each."""

    async def accept(
        self, events: Sequence[QueuedEvent], changes: PositionChanges | None, durability: Durability
    ) -> None:
        """Store events (may be empty) and position changes in one transaction; return once
        committed."""
        ...

    async def claim(self, function: str, limit: int, now: float) -> list[QueuedEvent]:
        """Take up to `limit` unclaimed events of `function` with `due_at <= now`, oldest due
        first. [] when none."""
        ...

    async def settle(
        self, settlements: Sequence[Finished | Postponed], durability: Durability
    ) -> None:
        """Apply outcomes of claimed events in one transaction. Settling an event that is not
        claimed is a bug."""
        ...

    async def next_due(self, function: str) -> float | None:
        """When the earliest unclaimed event of `function` is due; None when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim of one shard, held until `epoch` is raised by another claim or it is released."""

    scope: str
    shard: str
    owner: str
    epoch: int
    #: where to go on: the stored position, "" when the shard was never checkpointed
    position: str = ""
    #: whatever is kept beside the position, "" when nothing (the state of a tumbling window)
    state: str = ""
    #: whether the shard was read to its end
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A shard's row as stored."""

    shard: str
    position: str
    state: str
    finished: bool
    owner: str
    epoch: int
    #: epoch seconds until which the owner holds it; 0 when released
    expires_at: float
    saved_at: float


class CheckpointStore(Protocol):
    """Leases and checkpoints of streams: one row a shard holds owner, epoch and position
    (invariant I5).

    `scope` is the mapping's name. Every write but `acquire` names the lease and is refused once it
    was lost.
    """

    async def load(self, scope: str) -> list[Checkpoint]:
        """All shards of one mapping, finished ones included."""
        ...

    async def acquire(self, scope: str, shard: str, owner: str, ttl_seconds: float) -> Lease | None:
        """Take a shard that is free, expired or already `owner`'s; the epoch is one higher each
        time. None when held."""
        ...

    async def renew(self, lease: Lease, ttl_seconds: float) -> bool:
        """Hold it for `ttl_seconds` from now; 0 releases. False when the lease was lost."""
        ...

    async def save(
        self, lease: Lease, deliveries: Sequence[Delivery], durability: Durability
    ) -> bool:
        """Store the lease's `position`, `state` and `finished` and the failure records in one
        transaction.

        False when the lease was lost: then nothing was stored (I3 Monotone, I5 Fence, I8
        FailureAtomic).
        """
        ...


class PositionStore(Protocol):
    async def load(self, scope: str) -> dict[str, str]:
        """All positions of one source."""
        ...


class DeliveryStore(Protocol):
    """The outbox. One relay reads it, so nothing is claimed."""

    async def add(self, deliveries: Sequence[Delivery], durability: Durability) -> None:
        """Put payloads on their way: queues do so, synced, before they settle what failed for good
        (I6)."""
        ...

    async def pending(self, limit: int) -> list[Delivery]:
        """Up to `limit` deliveries, earliest due first, due or not."""
        ...

    async def complete(self, delivery: Delivery) -> None:
        """The destination has it: forget the row."""
        ...

    async def postpone(self, delivery: Delivery) -> None:
        """Keep the row with the given `due_at` and `attempts`."""
        ...


class DeadLetterStore(Protocol):
    async def list(self, function: str | None, limit: int) -> list[DeadLetter]:
        """Newest first; of one function, or of all when None."""
        ...

    async def get(self, request_id: str) -> DeadLetter | None:
        """The newest dead letter of this request; a unique prefix (4 characters or more) of the id
        will do. None when there is none. Raises StateError when a prefix fits several requests."""
        ...

    async def redrive(self, letters: Sequence[DeadLetter], now: float) -> None:
        """Queue their events again as if accepted `now` (same request id, no attempts), due now,
        and mark the letters; one synced transaction. Raises StateError when one is gone."""
        ...

    async def purge(self, before: float) -> int:
        """Drop letters that failed before this time; how many."""
        ...


class Store(Protocol):
    """The whole state of one engine. Opened by `open_sqlite` or built as `MemoryStore`."""

    events: AsyncEventStore
    positions: PositionStore
    checkpoints: CheckpointStore
    deliveries: DeliveryStore
    dead_letters: DeadLetterStore

    async def changed_outside(self) -> bool:
        """Whether another process (the `dlq` command) wrote since the last call. Cheap enough for
        once a second."""
        ...

    async def backlog(self) -> Mapping[str, int]:
        """Queued events by function, claimed ones included."""
        ...

    async def close(self) -> None:
        """Commit what is under way and close. Idempotent."""
        ...
