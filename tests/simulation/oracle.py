"""What must hold, by name. The oracle sees the truth: what the store applied, and when, and which
handlers ran; engines never ask it anything.

- I1 NoSkip: a checkpoint is never above a record that is neither handled nor failure-recorded.
- I2 Order: the handler first sees records in order; a run begins right above the stored checkpoint
  and goes forward without gaps.
- I3 Monotone: a checkpoint never moves back.
- I4 SingleFlight: one invocation in flight a shard (a key, with several lanes). A stopped engine's
  handler may outlast its lease: nobody can stop it. A running engine's may not.
- I5 Fence: a write is accepted only from the holder and with its epoch; epochs rise by one.
- I14 Deadline: an invocation starts only while the store's row says the shard is that engine's.
- I16 Parent: no record of a child before its parents' last record is finished.
- L1: after the faults stop, everything is finished in bounded time.
- L2: a lease is renewed only for a processor that lives, and released at a graceful stop.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from eventmesh.records import Record
from eventmesh.state.contract import Delivery, Lease
from tests.simulation.virtual_time import Timeline

NO_SKIP = "I1 NoSkip"
ORDER = "I2 Order"
MONOTONE = "I3 Monotone"
SINGLE_FLIGHT = "I4 SingleFlight"
FENCE = "I5 Fence"
DEADLINE = "I14 Deadline"
PARENT = "I16 Parent"
FINISHED = "L1 Finished"
LIVE_LEASE = "L2 LiveLease"
NO_BUG = "NoBug"


class Process:
    """One life of one engine, as the oracle knows it."""

    def __init__(self, name: str, life: int) -> None:
        self.name = name
        self.life = life
        self.is_alive = True
        self.is_stopped = False
        #: it ended by itself
        self.has_ended = False
        #: shards with a processor -> how often it was opened
        self.processing: Counter[str] = Counter()
        #: the leases it was told of and does not think lost
        self.leases: dict[str, Lease] = {}

    def __str__(self) -> str:
        return f"{self.name}.{self.life}"


@dataclass(eq=False, slots=True)
class Flight:
    """An invocation that runs."""

    process: Process
    shard: str
    epoch: int
    records: Sequence[Record]
    started_at: float


@dataclass(slots=True)
class _Shard:
    """The truth about one shard."""

    name: str
    parents: tuple[str, ...]
    keys: list[str]
    lanes: int
    holder: Process | None = None
    epoch: int = 0
    expires_at: float = 0.0
    position: int = -1
    finished: bool = False
    handled: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    #: below this all are handled or failure-recorded
    settled: int = 0
    flights: list[Flight] = field(default_factory=list)
    #: by key, how many of its records were delivered
    delivered: Counter[str] = field(default_factory=Counter)
    #: where the holder's run began, and what it has finished
    base: int = -1
    run: set[int] = field(default_factory=set)


class Oracle:
    """Told of everything, it notes the first violation of each invariant."""

    def __init__(self, lanes: int, timeline: Timeline) -> None:
        self.violations: dict[str, str] = {}
        self._timeline = timeline
        self.duplicates = 0
        self.refused = 0
        self.shards: dict[str, _Shard] = {}
        self._lanes = lanes

    @property
    def now(self) -> float:
        return self._timeline.now

    def add_shard(self, name: str, parents: tuple[str, ...], keys: list[str]) -> None:
        self.shards[name] = _Shard(name, parents, keys, self._lanes)

    def check(self, name: str, holds: bool, detail: str) -> None:
        """Note a violation."""
        if not holds:
            self.violations.setdefault(name, f"at {self.now:.3f}: {detail}")

    @property
    def all_done(self) -> bool:
        """Every record is settled, and checkpointed."""
        return all(s.position + 1 == len(s.keys) for s in self.shards.values())

    def pending(self) -> dict[str, str]:
        return {
            s.name: f"checkpoint {s.position} of {len(s.keys) - 1}, held by {s.holder}"
            for s in self.shards.values()
            if s.position + 1 < len(s.keys)
        }

    # the store applied something

    def acquired(self, process: Process, lease: Lease, ttl: float) -> None:
        shard = self.shards[lease.shard]
        self.check(
            FENCE,
            lease.epoch == shard.epoch + 1,
            f"{process} took {shard.name} with epoch {lease.epoch} after {shard.epoch}",
        )
        shard.holder, shard.epoch, shard.expires_at = process, lease.epoch, self.now + ttl
        shard.base, shard.run = shard.position, set()

    def renewed(self, process: Process, lease: Lease, ttl: float, asked_live: bool) -> None:
        shard = self._written(process, lease, "renewal")
        shard.expires_at = self.now + ttl if ttl > 0 else 0.0
        self.check(
            LIVE_LEASE,
            ttl <= 0 or asked_live,
            f"{process} renewed {shard.name} without a processor",
        )

    def saved(self, process: Process, lease: Lease, deliveries: Sequence[Delivery]) -> None:
        shard = self._written(process, lease, "checkpoint")
        for delivery in deliveries:
            info = json.loads(delivery.payload)["SimulatedBatchInfo"]
            shard.failed.update(range(int(info["first"]), int(info["last"]) + 1))
        position = int(lease.position or -1)
        self.check(
            MONOTONE,
            position >= shard.position,
            f"{process} epoch {lease.epoch}: {shard.name} back from {shard.position} to {position}",
        )
        while shard.settled in shard.handled or shard.settled in shard.failed:
            shard.settled += 1
        self.check(
            NO_SKIP,
            position < shard.settled,
            f"{process}: checkpoint {position} of {shard.name}, but {shard.settled} is unfinished",
        )
        shard.position = position
        if lease.finished:
            shard.finished = True
            self.check(NO_SKIP, position + 1 == len(shard.keys), f"{shard.name} ended early")

    def _written(self, process: Process, lease: Lease, what: str) -> _Shard:
        shard = self.shards[lease.shard]
        self.check(
            FENCE,
            shard.holder is process and lease.epoch == shard.epoch,
            f"{what} of {shard.name} by {process} epoch {lease.epoch} accepted, but it is "
            f"{shard.holder}'s, epoch {shard.epoch}",
        )
        return shard

    # an engine did something

    def started(self, process: Process, name: str, numbers: Sequence[int], flight: Flight) -> None:
        """An invocation begins."""
        shard = self.shards[name]
        self.check(
            DEADLINE,
            shard.holder is process and shard.epoch == flight.epoch and self.now < shard.expires_at,
            f"{process} epoch {flight.epoch} invokes with {name} {numbers[0]}-{numbers[-1]}; it is "
            f"{shard.holder}'s, epoch {shard.epoch}, until {shard.expires_at:.3f}",
        )
        self._check_flights(process, shard, numbers)
        self._check_order(process, shard, numbers)
        for parent in shard.parents:
            done = self.shards[parent].finished
            self.check(PARENT, done, f"{name} is read before {parent} is finished")
        shard.flights.append(flight)

    def ended(self, flight: Flight, handled: Sequence[int]) -> None:
        """An invocation ended; these records are done by it."""
        shard = self.shards[flight.shard]
        shard.flights.remove(flight)
        shard.handled.update(handled)
        if shard.epoch == flight.epoch:
            shard.run.update(handled)

    def _check_flights(self, process: Process, shard: _Shard, numbers: Sequence[int]) -> None:
        mine = [f for f in shard.flights if f.process is process]
        self.check(
            SINGLE_FLIGHT,
            len(mine) < shard.lanes,
            f"{process} has {len(mine) + 1} invocations in flight for {shard.name}",
        )
        keys = {shard.keys[n] for n in numbers}
        busy = {record.key for flight in mine for record in flight.records}
        self.check(SINGLE_FLIGHT, not keys & busy, f"{process} {shard.name}: {keys & busy} twice")
        for other in shard.flights:
            at_large = other.process is process or other.process.is_stopped
            self.check(
                SINGLE_FLIGHT,
                at_large or not other.process.is_alive,
                f"{process} invokes for {shard.name} while {other.process} still does, since "
                f"{other.started_at:.3f}",
            )

    def _check_order(self, process: Process, shard: _Shard, numbers: Sequence[int]) -> None:
        by_key: dict[str, list[int]] = {}
        for number in numbers:
            by_key.setdefault(shard.keys[number], []).append(number)
        for key, given in by_key.items():
            self._check_run(process, shard, key, given)

    def _check_run(self, process: Process, shard: _Shard, key: str, given: list[int]) -> None:
        keyed = [number for number, one in enumerate(shard.keys) if one == key]
        first = keyed.index(given[0])
        where = f"{process} {shard.name} key {key!r} {given[0]}-{given[-1]}"
        end = first + len(given)
        self.check(ORDER, keyed[first:end] == given, f"{where}: with gaps")
        self.check(
            ORDER, first <= shard.delivered[key], f"{where}: {shard.delivered[key]} were delivered"
        )
        done = shard.run | shard.failed
        skipped = [n for n in keyed[:first] if n > shard.base and n not in done]
        self.check(ORDER, given[0] > shard.base, f"{where}: the run began above {shard.base}")
        self.check(ORDER, not skipped, f"{where}: {skipped} are unfinished")
        self.duplicates += max(0, min(shard.delivered[key], end) - first)
        shard.delivered[key] = max(shard.delivered[key], end)
