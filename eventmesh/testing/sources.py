"""A queue and a stream in memory, as real as their brokers where it matters: visibility timeouts,
message groups, receive counts; shards that split and merge, positions that expire, checkpoints kept
by a broker. For tests of the engine, of handlers, and as examples of a connector."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from eventmesh.clock import Clock
from eventmesh.errors import PositionExpired, SourceExhausted, SourceUnavailable
from eventmesh.pulling import StartingPosition
from eventmesh.records import Outcome, Record

ARN = "arn:aws:memory:us-east-1:000000000000:"


def records_envelope(records: Sequence[Record]) -> bytes:
    """`{"Records":[...]}`, joined from the records' bytes."""
    return b'{"Records":[' + b",".join([record.event for record in records]) + b"]}"


class _Failing:
    """What can be switched off: `unavailable` is raised by every call while it is set."""

    def __init__(self) -> None:
        self.unavailable: SourceUnavailable | None = None
        self.closed = False

    def envelope(self, records: Sequence[Record]) -> bytes:
        return records_envelope(records)

    async def close(self) -> None:
        self.closed = True

    def refuse(self) -> None:
        if self.unavailable is not None:
            raise self.unavailable


@dataclass(eq=False, slots=True)
class QueueMessage:
    """One message of a `MemoryQueue`. `handle` is new with every receive."""

    id: str
    body: str
    group: str
    sent_at: float
    visible_at: float = 0.0
    receives: int = 0
    handle: int = 0


class MemoryQueue(_Failing):
    """A `QueueSource`. Messages with a group are delivered in order, one batch of a group at a
    time; a message received `most_receives` times goes to `dead_letters`."""

    def __init__(
        self,
        clock: Clock,
        *,
        visibility_seconds: float = 30.0,
        release_seconds: float | None = 0.0,
        most_receives: int | None = None,
    ) -> None:
        super().__init__()
        self.visibility_seconds = visibility_seconds
        #: messages not yet removed, in order
        self.messages: list[QueueMessage] = []
        self.dead_letters: list[QueueMessage] = []
        #: every call of `settle`: (id, succeeded)
        self.settled: list[tuple[str, bool]] = []
        self.extended: list[list[str]] = []
        self._clock = clock
        #: how long a message that is given back stays hidden; None: as long as it would anyway
        self._release_seconds = release_seconds
        self._most_receives = most_receives
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()
        self._finished = False

    def put(self, *bodies: str, group: str = "", sent_at: float | None = None) -> list[str]:
        """Append messages; returns their ids."""
        now = self._clock.now() if sent_at is None else sent_at
        new = [QueueMessage(f"m-{next(self._numbers)}", body, group, now) for body in bodies]
        self.messages += new
        self._changed.set()
        return [message.id for message in new]

    def finish(self) -> None:
        """Nothing more will come: the queue is exhausted once it is empty."""
        self._finished = True
        self._changed.set()

    async def receive(self, limit: int) -> Sequence[Record]:
        while True:
            self.refuse()
            self._changed.clear()
            found = self._visible(limit)
            if found:
                return [self._hand_out(message) for message in found]
            if self._finished and not self.messages:
                raise SourceExhausted
            now = self._clock.monotonic()
            hidden = [m.visible_at for m in self.messages if m.visible_at > now]
            wait = min(hidden) - now if hidden else None
            await self._clock.wait(self._changed, wait)

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        self.refuse()
        by_id = {message.id: message for message in self.messages}
        for outcome in outcomes:
            record = outcome.record
            self.settled.append((record.id, outcome.succeeded))
            message = by_id.get(record.id)
            if message is None or message.handle != record.handle:
                continue  # a stale handle: someone else has it now
            if outcome.succeeded:
                self.messages.remove(message)
            elif not outcome.attempted:
                message.visible_at = self._clock.monotonic()
            elif self._release_seconds is not None:
                message.visible_at = self._clock.monotonic() + self._release_seconds
        self._changed.set()

    async def extend(self, records: Sequence[Record], seconds: float) -> None:
        self.refuse()
        self.extended.append([record.id for record in records])
        handles = {record.id: record.handle for record in records}
        for message in self.messages:
            if handles.get(message.id) == message.handle:
                message.visible_at = self._clock.monotonic() + seconds

    def fields(self, record: Record) -> Mapping[str, Any]:
        fields: dict[str, Any] = orjson.loads(record.event)
        try:
            fields["body"] = orjson.loads(fields["body"])
        except orjson.JSONDecodeError:
            pass
        return fields

    def batch_info(self, records: Sequence[Record]) -> Mapping[str, Any]:
        ids = [record.id for record in records]
        return {"MemoryBatchInfo": {"batchSize": len(records), "messageIds": ids}}

    def _visible(self, limit: int) -> list[QueueMessage]:
        now = self._clock.monotonic() + 0.0005
        self._bury(now)
        busy = {m.group for m in self.messages if m.group and m.visible_at > now}
        free = (m for m in self.messages if m.visible_at <= now and m.group not in busy)
        return list(itertools.islice(free, limit))

    def _bury(self, now: float) -> None:
        most = self._most_receives
        if most is None:
            return
        dead = [m for m in self.messages if m.receives >= most and m.visible_at <= now]
        self.messages = [m for m in self.messages if m not in dead]
        self.dead_letters += dead

    def _hand_out(self, message: QueueMessage) -> Record:
        message.receives += 1
        message.handle = next(self._numbers)
        message.visible_at = self._clock.monotonic() + self.visibility_seconds
        event = {
            "messageId": message.id,
            "body": message.body,
            "attributes": {
                "ApproximateReceiveCount": str(message.receives),
                "MessageGroupId": message.group,
            },
            "eventSource": "memory:queue",
            "eventSourceARN": f"{ARN}queue",
        }
        return Record(
            message.id,
            orjson.dumps(event),
            message.sent_at,
            key=message.group,
            handle=message.handle,
        )


@dataclass(eq=False, slots=True)
class StreamShard:
    """One shard of a `MemoryStream`: all records it ever had; the first `trimmed` are gone."""

    name: str
    parents: tuple[str, ...]
    #: created while the stream was read: it is read from its beginning
    is_late: bool
    records: list[Record] = field(default_factory=list)
    trimmed: int = 0
    closed: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryStream(_Failing):
    """A `StreamSource`. Positions are the numbers of records within their shard."""

    def __init__(
        self,
        clock: Clock,
        *shards: str,
        starting_position: StartingPosition = "trim_horizon",
        starting_timestamp: float = 0.0,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._start = starting_position
        self._start_timestamp = starting_timestamp
        self._watched = False
        self._finished = False
        self._changed = asyncio.Event()
        self._numbers = itertools.count(1)
        self.all_shards: dict[str, StreamShard] = {}
        #: the set that `shards` gives
        self.current: dict[str, tuple[str, ...]] = {}
        #: (shard, position) of every reader opened
        self.opened: list[tuple[str, str | None]] = []
        self._tips: dict[str, int] = {}
        for name in shards:
            self.add_shard(name)

    # what happens to the stream

    def put(
        self, shard: str, *values: Any, key: str = "", arrived_at: float | None = None
    ) -> list[str]:
        """Append records with JSON-able `values`; returns their ids (sequence numbers)."""
        target = self.all_shards[shard]
        moment = self._clock.now() if arrived_at is None else arrived_at
        new = [self._record(shard, value, key, moment, target) for value in values]
        target.changed.set()
        return [record.id for record in new]

    def add_shard(self, name: str, *parents: str) -> None:
        """A shard appears."""
        self.all_shards[name] = StreamShard(name, parents, self._watched)
        self.current[name] = parents
        self._changed.set()

    def close_shard(self, name: str) -> None:
        """No more records will come: it is exhausted once it is read."""
        self.all_shards[name].closed = True
        self.all_shards[name].changed.set()

    def split(self, name: str, *children: str) -> None:
        """Close a shard; its children go on."""
        self.close_shard(name)
        for child in children:
            self.add_shard(child, name)

    def merge(self, child: str, *parents: str) -> None:
        """Close shards; one child goes on."""
        for name in parents:
            self.close_shard(name)
        self.add_shard(child, *parents)

    def revoke(self, *names: str) -> None:
        """Shards leave the set: another reader gets them."""
        for name in names:
            del self.current[name]
        self._changed.set()

    def assign(self, *names: str) -> None:
        """Shards come back to the set."""
        self.current |= {name: self.all_shards[name].parents for name in names}
        self._changed.set()

    def trim(self, name: str, count: int) -> None:
        """The first `count` records of a shard are gone."""
        self.all_shards[name].trimmed = count

    def finish(self) -> None:
        """Nothing more will come: every shard is closed, the set changes no more."""
        self._finished = True
        for name in self.all_shards:
            self.close_shard(name)
        self._changed.set()

    def hang_up(self) -> None:
        """Make waiting readers look again, to notice `unavailable`."""
        for shard in self.all_shards.values():
            shard.changed.set()
        self._changed.set()

    # the source

    async def shards(self) -> AsyncIterator[Mapping[str, Sequence[str]]]:
        if not self._watched:
            self._tips = {name: len(shard.records) for name, shard in self.all_shards.items()}
            self._watched = True
        while True:
            self.refuse()
            self._changed.clear()
            yield dict(self.current)
            if self._finished:
                return
            await self._changed.wait()

    async def open_shard(self, shard: str, position: str | None) -> MemoryShardReader:
        self.refuse()
        self.opened.append((shard, position))
        target = self.all_shards[shard]
        index = self._starting_index(target) if position is None else int(position) + 1
        if position is not None and index < target.trimmed:
            raise PositionExpired(f"records before {target.trimmed} are gone")
        reader = MemoryShardReader(self, target, max(index, target.trimmed))
        if position is None and self._start != "trim_horizon":
            reader.start_position = str(index - 1)
        return reader

    def fields(self, record: Record) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = orjson.loads(record.event)
        return fields

    def batch_info(self, records: Sequence[Record]) -> Mapping[str, Any]:
        first, last = records[0], records[-1]
        info = {
            "shardId": first.shard,
            "startSequenceNumber": first.id,
            "endSequenceNumber": last.id,
            "batchSize": len(records),
            "streamArn": f"{ARN}stream",
        }
        return {"MemoryBatchInfo": info}

    def _starting_index(self, shard: StreamShard) -> int:
        if shard.is_late or self._start == "trim_horizon":
            return shard.trimmed
        if self._start == "latest":
            return self._tips.get(shard.name, 0)
        moments = [record.arrived_at for record in shard.records]
        return sum(moment < self._start_timestamp for moment in moments)

    def _record(
        self, shard: str, value: Any, key: str, arrived_at: float, target: StreamShard
    ) -> Record:
        sequence = str(10**20 + next(self._numbers))
        event = {
            "eventID": f"{shard}:{sequence}",
            "sequenceNumber": sequence,
            "partitionKey": key,
            "data": value,
            "eventSource": "memory:stream",
            "eventSourceARN": f"{ARN}stream",
        }
        position = str(len(target.records))
        record = Record(sequence, orjson.dumps(event), arrived_at, shard, position, key)
        target.records.append(record)
        return record


class MemoryShardReader:
    """Reads one shard of a `MemoryStream`; waits until there is something."""

    def __init__(self, stream: MemoryStream, shard: StreamShard, index: int) -> None:
        self._stream = stream
        self._shard = shard
        self._index = index
        self.start_position = ""

    async def read(self, limit: int) -> Sequence[Record]:
        shard = self._shard
        while True:
            self._stream.refuse()
            if self._index < shard.trimmed:
                raise PositionExpired(f"records before {shard.trimmed} are gone")
            shard.changed.clear()
            records = shard.records[self._index : self._index + limit]
            if records:
                self._index += len(records)
                return records
            if shard.closed:
                raise SourceExhausted
            await shard.changed.wait()

    async def close(self) -> None:
        return None


class MemoryBrokerStream(MemoryStream):
    """A `MemoryStream` that keeps the positions itself, as Kafka's consumer groups do."""

    def __init__(self, clock: Clock, *shards: str) -> None:
        super().__init__(clock, *shards)
        self.committed: dict[str, str] = {}
        #: every commit, in order
        self.commits: list[tuple[str, str]] = []

    async def commit(self, positions: Mapping[str, str]) -> None:
        self.refuse()
        mine = {shard: p for shard, p in positions.items() if shard in self.all_shards}
        self.commits += mine.items()
        self.committed |= mine

    async def open_shard(self, shard: str, position: str | None) -> MemoryShardReader:
        return await super().open_shard(shard, position or self.committed.get(shard))
