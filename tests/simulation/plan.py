"""What one seed means: how much work, which settings, which faults and when."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from eventmesh.mappings.policy import MappingPolicy

ENGINES = 3
#: an engine's wall clock is wrong by up to this
MOST_SKEW_SECONDS = 3.0

FaultKind = Literal["pause", "kill", "stop", "partition", "outage", "stream_outage"]
_KINDS: tuple[FaultKind, ...] = (
    *("pause",) * 6,
    *("kill",) * 4,
    *("stop",) * 2,
    *("partition",) * 6,
    "outage",
    "stream_outage",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """At `at`, something happens to an engine (or to all) for `seconds`."""

    at: float
    kind: FaultKind
    engine: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """A shard's records: when each comes, its key, whether its handler always fails."""

    name: str
    parents: tuple[str, ...]
    arrivals: list[float]
    keys: list[str]
    poison: frozenset[int]
    #: it ends after its last record, rather than staying open
    closes: bool


@dataclass(frozen=True, slots=True)
class Plan:
    shards: list[PlannedShard]
    policy: MappingPolicy
    skews: list[float]
    faults: list[Fault]
    #: after it nothing fails any more
    calm_at: float
    failure_rate: float
    lost_reply_rate: float
    slow_handler_rate: float

    @property
    def has_destination(self) -> bool:
        return self.policy.maximum_retries >= 0


def make_plan(random: Random) -> Plan:
    """All that is decided before the run begins."""
    calm_at = random.uniform(60.0, 120.0)
    policy = _policy(random)
    names = ("a", "b", "c")
    parents = random.choice(((), (), ("a",), ("a", "b")))
    shards = [
        _shard(random, name, parents if name == "c" else (), name in parents, calm_at, policy)
        for name in names
    ]
    return Plan(
        shards=shards,
        policy=policy,
        skews=[random.uniform(-MOST_SKEW_SECONDS, MOST_SKEW_SECONDS) for _ in range(ENGINES)],
        faults=_faults(random, calm_at),
        calm_at=calm_at,
        failure_rate=random.choice((0.0, 0.1, 0.3)),
        lost_reply_rate=random.choice((0.0, 0.03, 0.1)),
        slow_handler_rate=random.choice((0.0, 0.05, 0.2)),
    )


def _policy(random: Random) -> MappingPolicy:
    return MappingPolicy(
        batch_size=random.randint(1, 8),
        window_seconds=random.choice((0.0, 0.0, 1.0, 5.0)),
        report_failures=random.random() < 0.4,
        bisect=random.random() < 0.4,
        maximum_retries=random.choice((-1, 1, 3)),
        parallelization_factor=random.choice((1, 1, 2, 3)),
    )


def _shard(
    random: Random,
    name: str,
    parents: tuple[str, ...],
    has_children: bool,
    calm_at: float,
    policy: MappingPolicy,
) -> PlannedShard:
    count = random.randint(10, 30)
    limited = policy.maximum_retries >= 0
    keyed = policy.parallelization_factor > 1
    return PlannedShard(
        name,
        parents,
        sorted(random.uniform(0.0, calm_at) for _ in range(count)),
        [random.choice("xyz") if keyed else "" for _ in range(count)],
        frozenset(n for n in range(count) if limited and random.random() < 0.05),
        has_children or random.random() < 0.4,
    )


def _faults(random: Random, calm_at: float) -> list[Fault]:
    faults, at = [], 0.0
    mean = random.choice((4.0, 8.0, 16.0))
    while (at := at + random.expovariate(1 / mean)) < calm_at:
        kind = random.choice(_KINDS)
        faults.append(Fault(at, kind, random.randrange(ENGINES), _duration(random, kind)))
    return faults


def _duration(random: Random, kind: FaultKind) -> float:
    if kind in ("kill", "stop"):
        return random.choice((0.1, random.uniform(0.1, 3.0), random.uniform(1.0, 40.0)))
    long = random.random() < 0.6
    return random.uniform(25.0, 50.0) if long else random.uniform(0.5, 15.0)
