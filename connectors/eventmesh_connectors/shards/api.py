"""A sharded stream as its sources see it: shards are listed, iterators found, pages of records
got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from eventmesh.records import Record
from eventmesh_connectors.lineage import ListedShard

_CLOCK_SKEW_SECONDS = 1.0


class IteratorExpired(Exception):
    """The iterator is too old; a new one goes on where it was."""


class Throttled(Exception):
    """The service answers less often than it was asked."""


class ShardGone(Exception):
    """The stream has no such shard any more."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where in a shard reading starts. `at` (epoch seconds) goes with AT_TIMESTAMP."""

    kind: Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "AFTER_SEQUENCE_NUMBER"]
    sequence_number: str = ""
    at: float = 0.0


def start_since(time: float) -> Start:
    """What came after `time` by the service's clock, and maybe a little before: its clocks
    differ."""
    return Start("AT_TIMESTAMP", at=time - _CLOCK_SKEW_SECONDS)


@dataclass(frozen=True, slots=True)
class Iterator:
    """A place in a shard. `found_at` is when the service found it, by its own clock."""

    token: str
    found_at: float


@dataclass(frozen=True, slots=True)
class Page:
    """What one call got. `next_token` is None at the end of a closed shard; `is_behind` says that
    more is there already."""

    records: Sequence[Record]
    next_token: str | None
    is_behind: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """The stream at `listed_at`, by the service's clock. Two streams of one name differ in
    `created`. Both are epoch seconds."""

    arn: str
    created: float
    listed_at: float
    shards: Sequence[ListedShard]


class ShardApi(Protocol):
    """One stream of one service. Connects when first called. Every method may wait, may be
    cancelled and called concurrently, and raises SourceUnavailable."""

    async def list_shards(self) -> Listing:
        """The stream and its shards. Raises Throttled."""
        ...

    async def find_iterator(self, shard: str, start: Start) -> Iterator:
        """Where reading begins. Raises PositionExpired, ShardGone, Throttled."""
        ...

    async def get_records(self, shard: str, token: str, limit: int) -> Page:
        """The next records. Raises IteratorExpired, PositionExpired, ShardGone, Throttled."""
        ...

    async def close(self) -> None:
        """Give the connections back."""
        ...
