"""Kinesis streams on a real server: load, resharding, iterators, deletion."""

from __future__ import annotations

import asyncio
import time
import uuid
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import boto3
import orjson
import pytest

from eventmesh.clock import SystemClock
from eventmesh.errors import PositionExpired, SourceExhausted, SourceUnavailable
from eventmesh.pulling import ShardReader
from eventmesh.records import Record
from eventmesh.testing.source_contract import Guarantees, StreamSourceContract
from eventmesh_connectors.kinesis import KinesisOptions, KinesisSource
from tests.servers import FaultProxy
from tests.unit.connectors.recording_target import RecordingTarget, make_context

FIRST = "shardId-000000000000"


class Stream:
    """A stream of the server, and what was written to it."""

    def __init__(self, endpoint: str, shards: int = 1) -> None:
        self.endpoint = endpoint
        self.name = f"orders-{uuid.uuid4().hex[:12]}"
        self.client = boto3.client(
            "kinesis",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.written: list[str] = []
        self.create(shards)

    def create(self, shards: int = 1) -> None:
        self.client.create_stream(StreamName=self.name, ShardCount=shards)
        self.settle()

    def delete(self) -> None:
        self.client.delete_stream(StreamName=self.name, EnforceConsumerDeletion=True)
        for _ in range(200):
            if self.name not in self.client.list_streams(Limit=100)["StreamNames"]:
                return
            time.sleep(0.05)
        raise AssertionError("the stream is still there")

    def settle(self) -> None:
        for _ in range(200):
            if self.summary()["StreamStatus"] == "ACTIVE":
                return
            time.sleep(0.05)
        raise AssertionError("the stream does not become active")

    def summary(self) -> dict[str, Any]:
        found = self.client.describe_stream_summary(StreamName=self.name)
        summary: dict[str, Any] = found["StreamDescriptionSummary"]
        return summary

    def put(self, count: int, key: str | None = None) -> list[str]:
        """Write so many numbered payloads; returns their texts."""
        texts = [str(len(self.written) + n) for n in range(count)]
        self.written += texts
        for start in range(0, count, 400):
            answer = self.client.put_records(
                StreamName=self.name,
                Records=[
                    {"Data": text.encode(), "PartitionKey": key or text}
                    for text in texts[start : start + 400]
                ],
            )
            assert answer["FailedRecordCount"] == 0
        return texts

    def split(self, shard: str) -> None:
        """In two halves."""
        listed = {s["ShardId"]: s for s in self.shards()}[shard]["HashKeyRange"]
        middle = (int(listed["StartingHashKey"]) + int(listed["EndingHashKey"])) // 2 + 1
        self.client.split_shard(
            StreamName=self.name, ShardToSplit=shard, NewStartingHashKey=str(middle)
        )
        self.settle()

    def merge(self, one: str, other: str) -> None:
        self.client.merge_shards(StreamName=self.name, ShardToMerge=one, AdjacentShardToMerge=other)
        self.settle()

    def shards(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.list_shards(StreamName=self.name)["Shards"]
        return found

    def source(self, **options: Any) -> KinesisSource:
        settings = KinesisOptions(
            **{
                "stream": self.name,
                "endpoint_url": self.endpoint,
                "region": "us-east-1",
                "poll_interval": 0.05,
                **options,
            }
        )
        return KinesisSource(settings, make_context(RecordingTarget(), SystemClock()))


@pytest.fixture
def stream(kinesalite_endpoint: str) -> Stream:
    return Stream(kinesalite_endpoint)


class Bench:
    """A stream behind a proxy, for the contract's suite."""

    def __init__(self, endpoint: str, proxy: FaultProxy) -> None:
        proxy.forward_to(int(endpoint.rpartition(":")[2]))
        self.stream = Stream(endpoint)
        self._proxy = proxy

    async def open_source(self) -> KinesisSource:
        return self.stream.source(endpoint_url=f"http://{self._proxy.address}")

    async def produce(self, values: Sequence[str], key: str = "") -> None:
        for value in values:
            await asyncio.to_thread(
                self.stream.client.put_record,
                StreamName=self.stream.name,
                Data=value.encode(),
                PartitionKey=key or "k",
            )

    def value(self, record: Record) -> str:
        return b64decode(orjson.loads(record.event)["kinesis"]["data"]).decode()

    async def cut(self, reachable: bool) -> None:
        if reachable:
            await asyncio.to_thread(self._proxy.heal)
        else:
            await asyncio.to_thread(self._proxy.cut)

    async def change(self, what: str, shard: str) -> None:
        assert what == "split"
        await asyncio.to_thread(self.stream.split, shard)


class TestKinesisSource(StreamSourceContract):
    guarantees = Guarantees(splits=True)
    patience_seconds = 30.0

    @pytest.fixture
    def bench(self, kinesalite_endpoint: str) -> Iterator[Bench]:
        with FaultProxy() as proxy:
            yield Bench(kinesalite_endpoint, proxy)


async def read_until(reader: ShardReader, count: int, limit: int = 1000) -> list[Record]:
    """Read until `count` records came."""
    records: list[Record] = []
    async with asyncio.timeout(60):
        while len(records) < count:
            records += await reader.read(min(limit, count - len(records)))
    return records


async def read_to_the_end(reader: ShardReader) -> list[Record]:
    records: list[Record] = []
    async with asyncio.timeout(60):
        while True:
            try:
                records += await reader.read(1000)
            except SourceExhausted:
                return records


def texts(source: KinesisSource, records: Sequence[Record]) -> list[str]:
    return [source.fields(record)["data"] for record in records]


async def test_load_arrives_in_order_page_by_page(stream: Stream) -> None:
    written = stream.put(5000, key="one")
    source = stream.source(records_per_read=700)
    reader = await source.open_shard(FIRST, None)
    records = await read_until(reader, 5000, limit=300)
    assert texts(source, records) == written
    numbers = [int(record.id) for record in records]
    assert numbers == sorted(set(numbers))
    assert {record.key for record in records} == {"one"}
    await source.close()


async def test_the_event_is_awss(stream: Stream) -> None:
    stream.put(1, key="k")
    source = stream.source()
    reader = await source.open_shard(FIRST, None)
    (record,) = await read_until(reader, 1)
    arn = stream.summary()["StreamARN"]
    assert record.event.decode() == (
        '{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"k","sequenceNumber":"'
        f'{record.id}","data":"MA==","approximateArrivalTimestamp":{record.arrived_at}}},'
        f'"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"{FIRST}:{record.id}",'
        '"eventName":"aws:kinesis:record",'
        '"invokeIdentityArn":"arn:aws:iam::123456789012:role/lambda-role",'
        f'"awsRegion":"us-east-1","eventSourceARN":"{arn}"}}'
    )
    info = source.batch_info([record])["KinesisBatchInfo"]
    assert (info["streamArn"], info["startSequenceNumber"]) == (arn, record.id)
    await source.close()


async def test_a_position_goes_on_behind_its_record(stream: Stream) -> None:
    written = stream.put(20, key="one")
    source = stream.source()
    records = await read_until(await source.open_shard(FIRST, None), 20)
    again = await source.open_shard(FIRST, records[11].position)
    assert texts(source, await read_until(again, 8)) == written[12:]
    await source.close()


async def test_latest_sees_only_what_comes(stream: Stream) -> None:
    stream.put(5)
    source = stream.source(starting_position="latest")
    reader = await source.open_shard(FIRST, None)
    assert await reader.read(10) == []
    written = stream.put(3, key="one")
    assert texts(source, await read_until(reader, 3)) == written
    await source.close()


async def test_at_timestamp_starts_there(stream: Stream) -> None:
    stream.put(5, key="one")
    await asyncio.sleep(0.1)
    written = stream.put(3, key="one")
    plain = stream.source()
    records = await read_until(await plain.open_shard(FIRST, None), 8)
    source = stream.source(
        starting_position="at_timestamp", starting_position_timestamp=records[5].arrived_at
    )
    reader = await source.open_shard(FIRST, None)
    assert texts(source, await read_until(reader, 3)) == written
    await plain.close()
    await source.close()


async def test_an_iterator_that_is_no_good_any_more_is_replaced(stream: Stream) -> None:
    written = stream.put(10, key="one")
    source = stream.source(records_per_read=4)
    reader = await source.open_shard(FIRST, None)
    records = await read_until(reader, 2)
    reader._token = "AAAAAAAAAAGxxxxxxxxxxx"
    records += await read_until(reader, 8)
    assert texts(source, records) == written
    await source.close()


class TreeReading:
    """Reads all shards as the engine does: each once its parents are finished."""

    def __init__(self, source: KinesisSource) -> None:
        self.records: list[Record] = []
        self.opened: list[str] = []
        self.finished: list[str] = []
        self._source = source
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._progress = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async for shards in self._source.shards():
                for name, parents in shards.items():
                    if name not in self._tasks:
                        self._tasks[name] = asyncio.create_task(self._read(name, parents))
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not reached():
                self._progress.clear()
                await self._progress.wait()

    async def _read(self, shard: str, parents: Sequence[str]) -> None:
        await self.until(lambda: set(parents) <= set(self.finished))
        self.opened.append(shard)
        reader = await self._source.open_shard(shard, None)
        while True:
            try:
                self.records += await reader.read(100)
            except SourceExhausted:
                self.finished.append(shard)
                return
            finally:
                self._progress.set()


async def test_splits_and_merges_while_running_lose_nothing_and_keep_the_order(
    stream: Stream,
) -> None:
    sent: dict[str, list[str]] = {f"key-{n}": [] for n in range(8)}
    shard = "shardId-00000000000{}".format

    def write() -> None:
        for key, texts in sent.items():
            texts += stream.put(5, key)

    def reshard() -> None:
        """Three generations."""
        write()
        for change in (
            lambda: stream.split(FIRST),
            lambda: stream.split(shard(1)),
            lambda: stream.merge(shard(3), shard(4)),
            lambda: stream.merge(shard(5), shard(2)),
            lambda: stream.split(shard(6)),
        ):
            change()
            write()

    source = stream.source(starting_position="latest")
    await source.open_shard(FIRST, None)  # latest is before the first record
    reading = TreeReading(source)
    running = asyncio.create_task(reading.run())
    await asyncio.to_thread(reshard)
    await reading.until(lambda: len(reading.records) >= len(stream.written))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    got: dict[str, list[str]] = {key: [] for key in sent}
    for record in reading.records:
        got[record.key].append(source.fields(record)["data"])
    assert got == sent
    assert reading.finished[0] == FIRST
    assert sorted(reading.finished) == [shard(n) for n in range(7)]
    assert sorted(reading.opened) == [shard(n) for n in range(9)]
    for listed in stream.shards():
        for name in ("ParentShardId", "AdjacentParentShardId"):
            if parent := listed.get(name):
                assert reading.opened.index(parent) < reading.opened.index(listed["ShardId"])
    await source.close()


async def test_children_under_latest_are_read_from_their_beginning(stream: Stream) -> None:
    source = stream.source(starting_position="latest")
    reader = await source.open_shard(FIRST, None)
    before = stream.put(4)
    stream.split(FIRST)
    after = stream.put(20)
    records = await read_to_the_end(reader)
    assert texts(source, records) == before
    shards = await anext(source.shards())
    assert shards == {
        FIRST: (),
        "shardId-000000000001": (FIRST,),
        "shardId-000000000002": (FIRST,),
    }
    got = []
    for child in ("shardId-000000000001", "shardId-000000000002"):
        child_reader = await source.open_shard(child, None)
        got += texts(source, await child_reader.read(1000))
    assert sorted(got, key=int) == after
    await source.close()


async def test_a_missing_stream_is_told(kinesalite_endpoint: str) -> None:
    options = KinesisOptions(stream="nothing", endpoint_url=kinesalite_endpoint)
    source = KinesisSource(options, make_context(RecordingTarget(), SystemClock()))
    with pytest.raises(SourceUnavailable, match=r"Stream not found: nothing. Check its name"):
        await anext(source.shards())
    await source.close()


async def test_a_stream_deleted_while_it_is_read_is_told(stream: Stream) -> None:
    source = stream.source()
    reader = await source.open_shard(FIRST, None)
    stream.delete()
    with pytest.raises(SourceUnavailable, match=f"Stream not found: {stream.name}"):
        await read_until(reader, 1)
    await source.close()


async def test_a_stream_created_again_is_not_read_with_old_positions(stream: Stream) -> None:
    stream.put(3)
    source = stream.source()
    records = await read_until(await source.open_shard(FIRST, None), 3)
    stream.delete()
    await asyncio.sleep(1.1)  # the server counts creation times in seconds
    stream.create()
    stream.put(2)
    with pytest.raises(SourceUnavailable, match="another stream than before"):
        await anext(source.shards())
    await source.close()
    restarted = stream.source()
    with pytest.raises(SourceUnavailable, match="is older than the shard"):
        await restarted.open_shard(FIRST, records[-1].position)
    await restarted.close()


async def test_a_position_of_somewhere_else_is_refused(stream: Stream) -> None:
    source = stream.source()
    with pytest.raises(PositionExpired):
        await source.open_shard(FIRST, "9" * 56)
    await source.close()


async def test_no_server_is_unavailable() -> None:
    options = KinesisOptions(stream="orders", endpoint_url="http://127.0.0.1:9")
    source = KinesisSource(options, make_context(RecordingTarget(), SystemClock()))
    with pytest.raises(SourceUnavailable, match="kinesis stream orders: no connection"):
        await anext(source.shards())
    await source.close()


async def test_localstack_agrees(localstack_endpoint: str) -> None:
    stream = Stream(localstack_endpoint)
    written = stream.put(50)
    source = stream.source()
    reader = await source.open_shard(FIRST, None)
    stream.split(FIRST)
    records = await read_to_the_end(reader)
    assert texts(source, records) == written
    shards = await anext(source.shards())
    assert list(shards.values()) == [(), (FIRST,), (FIRST,)]
    later = stream.put(20)
    got = []
    for child in list(shards)[1:]:
        child_reader = await source.open_shard(child, None)
        got += texts(source, await child_reader.read(1000))
    assert sorted(got, key=int) == later
    await source.close()
    stream.delete()
