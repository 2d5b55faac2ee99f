"""The rules of `eventmesh.pulling` as tests, for every queue and stream.

Subclass `QueueSourceContract` or `StreamSourceContract` as `TestMySource`, override the `bench`
fixture, and say in `guarantees` what the system behind it does. Needs pytest and pytest-asyncio in
auto mode. A bench may run on real time: nothing here waits longer than `patience_seconds` for what
must come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, cast

import orjson
import pytest

from eventmesh.errors import PositionExpired, SourceExhausted, SourceUnavailable
from eventmesh.pulling import Extendable, KeepsCheckpoints, QueueSource, ShardReader, StreamSource
from eventmesh.records import Outcome, Record

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Guarantees:
    """What a system behind a source does. Tests of what it does not are skipped."""

    #: queues: records given back come again
    redelivers: bool = True
    #: queues: records neither removed nor given back come again once their source is closed
    returns_on_close: bool = False
    #: queues: order within message groups, one batch of a group at a time
    groups: bool = False
    #: the bench can make the system unreachable
    cuts: bool = True
    #: streams: the bench can split a shard
    splits: bool = False
    #: streams: the bench can make a position unreadable
    expires: bool = False


class QueueBench(Protocol):
    """A queue of the test's own, empty at first."""

    async def open_source(self) -> QueueSource:
        """Another source of this queue."""
        ...

    async def produce(self, values: Sequence[str], group: str = "") -> None:
        """Put messages with these texts."""
        ...

    def value(self, record: Record) -> str:
        """The text a record was produced with, read from its event."""
        ...

    async def cut(self, reachable: bool) -> None:
        """Make the system unreachable, or reachable again."""
        ...


class StreamBench(Protocol):
    """A stream of the test's own with one shard, empty at first."""

    async def open_source(self) -> StreamSource:
        """Another source of this stream; it starts at the oldest record."""
        ...

    async def produce(self, values: Sequence[str], key: str = "") -> None:
        """Append records with these texts, in order."""
        ...

    def value(self, record: Record) -> str:
        """The text a record was produced with, read from its event."""
        ...

    async def cut(self, reachable: bool) -> None:
        """Make the system unreachable, or reachable again."""
        ...

    async def change(self, what: str, shard: str) -> None:
        """`split` the shard, or `expire` the position of its first record; only where
        guaranteed."""
        ...


class _Contract:
    guarantees: ClassVar[Guarantees] = Guarantees()
    patience_seconds: ClassVar[float] = 10.0
    #: how long nothing must come for the suite to believe that nothing comes
    quiet_seconds: ClassVar[float] = 0.2

    async def soon(self, wait: Awaitable[Result]) -> Result:
        async with asyncio.timeout(self.patience_seconds):
            return await wait

    def need(self, guaranteed: bool) -> None:
        if not guaranteed:
            pytest.skip("this system does not promise it")

    def check_records(
        self, source: QueueSource | StreamSource, records: Sequence[Record], values: Sequence[str]
    ) -> None:
        """What holds for the records of every source."""
        ids = [record.id for record in records]
        assert all(ids)
        assert len(set(ids)) == len(ids)
        assert all(record.arrived_at > 1_000_000_000 for record in records)
        for record in records:
            assert isinstance(orjson.loads(record.event), dict)
            assert isinstance(source.fields(record), Mapping)
        for some in (records[:1], records):
            event = source.envelope(some)
            assert isinstance(orjson.loads(event), dict)
            assert all(record.event in event for record in some)
            assert len(event) >= sum(len(record.event) for record in some)
            assert isinstance(orjson.loads(orjson.dumps(dict(source.batch_info(some)))), dict)


class QueueSourceContract(_Contract):
    """Every `QueueSource` passes."""

    @pytest.fixture
    async def bench(self) -> QueueBench:
        raise NotImplementedError

    async def receive(self, source: QueueSource, count: int) -> list[Record]:
        """`count` records, in as many receives as it takes."""
        found: list[Record] = []
        while len(found) < count:
            found += await self.soon(source.receive(count - len(found)))
        return found

    async def nothing_comes(self, source: QueueSource) -> bool:
        try:
            async with asyncio.timeout(self.quiet_seconds):
                return not await source.receive(10)
        except TimeoutError:
            return True

    async def test_it_is_a_queue(self, bench: QueueBench) -> None:
        source = await bench.open_source()
        assert isinstance(source, QueueSource)
        assert not isinstance(source, StreamSource)
        await source.close()

    async def test_what_was_produced_is_received(self, bench: QueueBench) -> None:
        values = ["plain", '{"a":1}', 'quotes " and \\ and \n', "ünïcödé 🎉", " "]
        source = await bench.open_source()
        await bench.produce(values)
        records = await self.receive(source, len(values))
        assert sorted(map(bench.value, records)) == sorted(values)
        self.check_records(source, records, values)
        await source.settle([Outcome(record, True) for record in records])
        await source.close()

    async def test_a_receive_gives_no_more_than_asked_for(self, bench: QueueBench) -> None:
        source = await bench.open_source()
        await bench.produce(list("abcde"))
        for _ in range(5):
            (record,) = await self.receive(source, 1)
            await source.settle([Outcome(record, True)])
        await source.close()

    async def test_what_succeeded_never_comes_again(self, bench: QueueBench) -> None:
        source = await bench.open_source()
        await bench.produce(list("abc"))
        records = await self.receive(source, 3)
        await source.settle([Outcome(record, True) for record in records])
        assert await self.nothing_comes(source)
        await source.close()
        again = await bench.open_source()
        assert await self.nothing_comes(again)
        await again.close()

    async def test_what_failed_comes_again(self, bench: QueueBench) -> None:
        self.need(self.guarantees.redelivers)
        source = await bench.open_source()
        await bench.produce(list("abc"))
        records = await self.receive(source, 3)
        await source.settle([Outcome(r, bench.value(r) != "b") for r in records])
        (again,) = await self.receive(source, 1)
        assert bench.value(again) == "b"
        await source.settle([Outcome(again, True)])
        await source.close()

    async def test_receives_at_a_time_share_the_records(self, bench: QueueBench) -> None:
        source = await bench.open_source()
        values = [str(number) for number in range(12)]
        await bench.produce(values)
        found: list[Record] = []

        async def take() -> None:
            while len(found) < len(values):
                records = await source.receive(3)
                found.extend(records)
                await source.settle([Outcome(record, True) for record in records])

        takers = [asyncio.ensure_future(take()) for _ in range(3)]
        await self.soon(asyncio.wait(takers, return_when=asyncio.FIRST_COMPLETED))
        for taker in takers:
            taker.cancel()
        await asyncio.gather(*takers, return_exceptions=True)
        assert sorted(map(bench.value, found)) == sorted(values)
        await source.close()

    async def test_a_cancelled_receive_loses_nothing(self, bench: QueueBench) -> None:
        source = await bench.open_source()
        waiting = asyncio.ensure_future(source.receive(1))
        await asyncio.sleep(self.quiet_seconds / 4)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await bench.produce(["late"])
        (record,) = await self.receive(source, 1)
        assert bench.value(record) == "late"
        await source.settle([Outcome(record, True)])
        await source.close()

    async def test_what_was_not_settled_comes_again(self, bench: QueueBench) -> None:
        self.need(self.guarantees.returns_on_close)
        source = await bench.open_source()
        await bench.produce(["kept"])
        await self.receive(source, 1)
        await source.close()
        again = await bench.open_source()
        (record,) = await self.receive(again, 1)
        assert bench.value(record) == "kept"
        await again.settle([Outcome(record, True)])
        await again.close()

    async def test_groups_keep_their_order(self, bench: QueueBench) -> None:
        self.need(self.guarantees.groups)
        source = await bench.open_source()
        await bench.produce(["a1", "a2", "a3"], group="a")
        first, *rest = await self.receive(source, 2)
        assert [bench.value(first), *map(bench.value, rest)] == ["a1", "a2"]
        assert first.key
        assert {record.key for record in rest} == {first.key}
        assert await self.nothing_comes(source)
        await source.settle([Outcome(record, False) for record in (first, *rest)])
        again = await self.receive(source, 3)
        assert list(map(bench.value, again)) == ["a1", "a2", "a3"]
        await source.settle([Outcome(record, True) for record in again])
        await source.close()

    async def test_records_can_be_kept_hidden(self, bench: QueueBench) -> None:
        source = await bench.open_source()
        self.need(isinstance(source, Extendable))
        await bench.produce(["a"])
        records = await self.receive(source, 1)
        hidden = cast(Extendable, source)
        assert hidden.visibility_seconds > 0
        await hidden.extend(records, hidden.visibility_seconds)
        assert await self.nothing_comes(source)
        await source.settle([Outcome(record, True) for record in records])
        await source.close()

    async def test_an_outage_is_told_and_survived(self, bench: QueueBench) -> None:
        self.need(self.guarantees.cuts)
        source = await bench.open_source()
        await bench.produce(["a"])
        await bench.cut(False)
        with pytest.raises(SourceUnavailable):
            await self.soon(source.receive(1))
        await bench.cut(True)
        (record,) = await self.soon(self._after_outage(source))
        assert bench.value(record) == "a"
        await source.settle([Outcome(record, True)])
        await source.close()

    async def _after_outage(self, source: QueueSource) -> Sequence[Record]:
        while True:
            try:
                records = await source.receive(1)
            except SourceUnavailable:
                await asyncio.sleep(self.quiet_seconds / 4)
                continue
            if records:
                return records


class StreamSourceContract(_Contract):
    """Every `StreamSource` passes."""

    @pytest.fixture
    async def bench(self) -> StreamBench:
        raise NotImplementedError

    async def shards(self, source: StreamSource) -> Mapping[str, Sequence[str]]:
        """The first set."""
        sets = cast(Any, source.shards())
        async with aclosing(sets):
            return dict(await self.soon(anext(sets)))

    async def read(self, reader: ShardReader, count: int, limit: int = 100) -> list[Record]:
        """`count` records, in as many reads as it takes."""
        found: list[Record] = []
        while len(found) < count:
            records = await self.soon(reader.read(min(limit, count - len(found))))
            assert len(records) <= limit
            found += records
        return found

    async def test_it_is_a_stream(self, bench: StreamBench) -> None:
        source = await bench.open_source()
        assert isinstance(source, StreamSource)
        assert not isinstance(source, QueueSource)
        (shard,) = await self.shards(source)
        assert shard
        await source.close()

    async def test_records_come_in_order(self, bench: StreamBench) -> None:
        values = ["plain", '{"a":1}', 'quotes " and \\ and \n', "ünïcödé 🎉", " "]
        source = await bench.open_source()
        await bench.produce(values, key="k")
        (shard,) = await self.shards(source)
        reader = await source.open_shard(shard, None)
        records = await self.read(reader, len(values), limit=2)
        assert list(map(bench.value, records)) == values
        assert {record.shard for record in records} == {shard}
        assert all(record.position for record in records)
        assert len({record.position for record in records}) == len(records)
        assert len({record.key for record in records}) == 1
        self.check_records(source, records, values)
        await reader.close()
        await source.close()

    async def test_reading_goes_on_after_a_position(self, bench: StreamBench) -> None:
        source = await bench.open_source()
        await bench.produce(list("abcd"))
        (shard,) = await self.shards(source)
        reader = await source.open_shard(shard, None)
        first = await self.read(reader, 2)
        await reader.close()
        reader = await source.open_shard(shard, first[-1].position)
        assert list(map(bench.value, await self.read(reader, 2))) == ["c", "d"]
        await reader.close()
        await source.close()

    async def test_a_reader_waits_for_records(self, bench: StreamBench) -> None:
        source = await bench.open_source()
        (shard,) = await self.shards(source)
        reader = await source.open_shard(shard, None)
        reading = asyncio.ensure_future(self.read(reader, 1))
        await asyncio.sleep(self.quiet_seconds / 4)
        await bench.produce(["late"])
        assert list(map(bench.value, await reading)) == ["late"]
        await reader.close()
        await source.close()

    async def test_a_cancelled_read_loses_nothing(self, bench: StreamBench) -> None:
        source = await bench.open_source()
        await bench.produce(["a"])
        (shard,) = await self.shards(source)
        reader = await source.open_shard(shard, None)
        (first,) = await self.read(reader, 1)
        waiting = asyncio.ensure_future(reader.read(1))
        await asyncio.sleep(self.quiet_seconds / 4)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await reader.close()
        await bench.produce(["b"])
        reader = await source.open_shard(shard, first.position)
        assert list(map(bench.value, await self.read(reader, 1))) == ["b"]
        await reader.close()
        await source.close()

    async def test_committed_positions_are_kept(self, bench: StreamBench) -> None:
        source = await bench.open_source()
        self.need(isinstance(source, KeepsCheckpoints))
        await bench.produce(list("abc"))
        sets = cast(Any, source.shards())
        async with aclosing(sets):
            (shard,) = await self.soon(anext(sets))
            reader = await source.open_shard(shard, None)
            records = await self.read(reader, 2)
            keeper = cast(KeepsCheckpoints, source)
            await keeper.commit({shard: records[0].position, "not-ours": "0"})
            await reader.close()
        await source.close()
        again = await bench.open_source()
        sets = cast(Any, again.shards())
        async with aclosing(sets):
            (shard,) = await self.soon(anext(sets))
            reader = await again.open_shard(shard, None)
            assert list(map(bench.value, await self.read(reader, 2))) == ["b", "c"]
            await reader.close()
        await again.close()

    async def test_a_split_is_told_with_its_parents(self, bench: StreamBench) -> None:
        self.need(self.guarantees.splits)
        source = await bench.open_source()
        await bench.produce(["a"])
        sets = cast(Any, source.shards())
        async with aclosing(sets):
            (shard,) = await self.soon(anext(sets))
            reader = await source.open_shard(shard, None)
            await self.read(reader, 1)
            await bench.change("split", shard)
            children = dict(await self.soon(self._next_with(sets, shard)))
            assert children
            with pytest.raises(SourceExhausted):
                await self.read(reader, 1)
            await reader.close()
        await source.close()

    async def _next_with(self, sets: Any, parent: str) -> Mapping[str, Sequence[str]]:
        """The children of `parent` in the first set that has some."""
        async for shards in sets:
            children = {name: parents for name, parents in shards.items() if parent in parents}
            if children:
                return children
        raise AssertionError("the set ended")

    async def test_an_unreadable_position_is_told(self, bench: StreamBench) -> None:
        self.need(self.guarantees.expires)
        source = await bench.open_source()
        await bench.produce(list("abc"))
        (shard,) = await self.shards(source)
        reader = await source.open_shard(shard, None)
        (first, *_) = await self.read(reader, 1)
        await reader.close()
        await bench.change("expire", shard)
        with pytest.raises(PositionExpired):
            await self.read(await source.open_shard(shard, first.position), 1)
        await source.close()

    async def test_an_outage_is_told_and_survived(self, bench: StreamBench) -> None:
        self.need(self.guarantees.cuts)
        source = await bench.open_source()
        await bench.produce(["a", "b"])
        (shard,) = await self.shards(source)
        reader = await source.open_shard(shard, None)
        (first,) = await self.read(reader, 1)
        await bench.cut(False)
        with pytest.raises(SourceUnavailable):
            await self.soon(self._read_until_told(reader))
        await reader.close()
        await bench.cut(True)
        (record,) = await self.soon(self._after_outage(source, shard, first.position))
        assert bench.value(record) == "b"
        await source.close()

    async def _read_until_told(self, reader: ShardReader) -> None:
        while True:
            await reader.read(1)

    async def _after_outage(self, source: StreamSource, shard: str, position: str) -> list[Record]:
        while True:
            try:
                reader = await source.open_shard(shard, position)
                records = await self.read(reader, 1)
            except SourceUnavailable:
                await asyncio.sleep(self.quiet_seconds / 4)
                continue
            await reader.close()
            return records
