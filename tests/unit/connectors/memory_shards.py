"""A sharded stream in memory behind the `ShardApi`, with faults on demand."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from eventmesh.clock import Clock
from eventmesh.errors import SourceUnavailable
from eventmesh.records import Record
from eventmesh_connectors.lineage import ListedShard
from eventmesh_connectors.shards import Iterator, Listing, Page, ShardGone, Start

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"


@dataclass
class MemoryShard:
    records: list[Record] = field(default_factory=list)
    parents: tuple[str, ...] = ()
    closed: bool = False
    first: str = "0"


class MemoryShards:
    """Every call may be made to fail once, by what is in `faults` of its name."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.shards: dict[str, MemoryShard] = {}
        self.created = 100.0
        self.deleted = False
        self.says_behind = False
        self.faults: dict[str, deque[Exception]] = {
            name: deque() for name in ("list", "find", "get")
        }
        #: what was asked: (shard, start) of every iterator; (shard, limit) of every read
        self.found: list[tuple[str, Start]] = []
        self.got: list[tuple[str, int]] = []
        self.closed = False
        self._number = 0

    def add(self, shard: str, *parents: str) -> None:
        self.shards[shard] = MemoryShard(parents=parents)

    def put(self, shard: str, count: int = 1) -> list[str]:
        """Write records; returns their sequence numbers."""
        return [self._put(shard) for _ in range(count)]

    def _put(self, shard: str) -> str:
        self._number += 1
        number = str(self._number)
        event = b'{"n":%s}' % number.encode()
        now = self.clock.now()
        self.shards[shard].records.append(Record(number, event, now, shard, number, "k"))
        return number

    async def list_shards(self) -> Listing:
        self._fail("list")
        if self.deleted:
            raise SourceUnavailable(f"Stream not found: {ARN}")
        shards = [ListedShard(n, s.parents, s.first, s.closed) for n, s in self.shards.items()]
        return Listing(ARN, self.created, self.clock.now(), shards)

    async def find_iterator(self, shard: str, start: Start) -> Iterator:
        self.found.append((shard, start))
        self._fail("find")
        records = self._shard(shard).records
        match start.kind:
            case "TRIM_HORIZON":
                index = 0
            case "LATEST":
                index = len(records)
            case "AT_TIMESTAMP":  # by whole seconds, as services do
                index = sum(r.arrived_at < int(start.at) for r in records)
            case "AFTER_SEQUENCE_NUMBER":
                index = sum(int(r.position) <= int(start.sequence_number) for r in records)
        return Iterator(str(index), self.clock.now())

    async def get_records(self, shard: str, token: str, limit: int) -> Page:
        self.got.append((shard, limit))
        self._fail("get")
        found = self._shard(shard)
        start = int(token)
        records = found.records[start : start + limit]
        end = start + len(records)
        is_behind = self.says_behind or end < len(found.records)
        ended = found.closed and end == len(found.records)
        return Page(records, None if ended else str(end), is_behind)

    async def close(self) -> None:
        self.closed = True

    def _fail(self, name: str) -> None:
        if self.faults[name]:
            raise self.faults[name].popleft()

    def _shard(self, shard: str) -> MemoryShard:
        if self.deleted or shard not in self.shards:
            raise ShardGone(shard)
        return self.shards[shard]
