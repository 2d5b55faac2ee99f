"""The Kafka connector against a real broker: groups, rebalances, positions, shapes, outages."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition

from eventmesh.clock import SystemClock
from eventmesh.connectors import SourceContext
from eventmesh.errors import DestinationError, PositionExpired, SourceUnavailable
from eventmesh.records import Record
from eventmesh.testing.source_contract import Guarantees, StreamBench, StreamSourceContract
from eventmesh_connectors.kafka import (
    KafkaDestination,
    KafkaDestinationOptions,
    KafkaOptions,
    KafkaSource,
)
from eventmesh_connectors.kafka.reader import PartitionReader
from tests.servers import FaultProxy, Server

MakeTopic = Callable[..., Awaitable[str]]


@pytest.fixture
def apache(kafka_server: Server) -> Server:
    """What the stand-in for Kafka does not do."""
    if kafka_server.name == "tansu":
        pytest.skip("Tansu neither deletes, limits nor keeps records, nor finds offsets by time")
    return kafka_server


@asynccontextmanager
async def administering(brokers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def admin(kafka_brokers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    async with administering(kafka_brokers) as client:
        yield client


async def create(admin: AIOKafkaAdminClient, partitions: int) -> str:
    name = f"orders-{uuid.uuid4().hex[:8]}"
    await admin.create_topics([NewTopic(name, partitions, 1)])
    while name not in await admin.list_topics():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return name


@pytest.fixture
def make_topic(admin: AIOKafkaAdminClient) -> MakeTopic:
    return lambda partitions=1: create(admin, partitions)


@pytest.fixture
async def producer(kafka_brokers: str) -> AsyncIterator[AIOKafkaProducer]:
    client = AIOKafkaProducer(bootstrap_servers=kafka_brokers, max_request_size=4 * 1024**2)
    await client.start()
    yield client
    await client.stop()


async def fill(producer: AIOKafkaProducer, topic: str, count: int, partition: int = 0) -> None:
    sent = [
        await producer.send(topic, b'{"n":%d}' % n, key=b"k%d" % n, partition=partition)
        for n in range(count)
    ]
    await asyncio.gather(*sent)


def build(brokers: str, topics: str | Sequence[str], **settings: Any) -> KafkaSource:
    context: Any = SourceContext(
        mapping="orders/kafka",
        clock=SystemClock(),
        log=logging.getLogger("eventmesh.connectors.kafka"),
        positions=None,  # type: ignore[arg-type]
        routes=None,  # type: ignore[arg-type]
        announce=lambda detail: None,
    )
    options = {"group": f"g-{uuid.uuid4().hex[:8]}", "session_timeout": 6, **settings}
    return KafkaSource(KafkaOptions(brokers=brokers, topics=topics, **options), context)


@asynccontextmanager
async def joined(source: KafkaSource) -> AsyncIterator[Mapping[str, Sequence[str]]]:
    """The first set of shards that is not empty, the rest of them never asked for."""
    async with aclosing(source.shards()) as sets:  # type: ignore[type-var]
        try:
            shards: Mapping[str, Sequence[str]] = {}
            while not shards:
                shards = await anext(sets)
            yield shards
        finally:
            await source.close()


async def read(reader: PartitionReader, count: int, limit: int = 500) -> list[Record]:
    records: list[Record] = []
    async with asyncio.timeout(20):
        while len(records) < count:
            records += await reader.read(min(limit, count - len(records)))
    return records


def offsets(records: Sequence[Record]) -> list[int]:
    return [int(record.position) for record in records]


class Engine:
    """Just enough of the engine: batches of ten, a slow handler, commits, drained shards."""

    def __init__(self, source: KafkaSource, handle_seconds: float) -> None:
        self.source = source
        self.handled: defaultdict[str, list[int]] = defaultdict(list)
        self.sets: list[set[str]] = []
        self._handle_seconds = handle_seconds
        self._shards: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        async for shards in self.source.shards():
            self.sets.append(set(shards))
            await self._drain([name for name in self._shards if name not in shards])
            for name in shards:
                if name not in self._shards:
                    stopping = asyncio.Event()
                    task = asyncio.create_task(self._follow(name, stopping))
                    self._shards[name] = (stopping, task)

    async def stop(self, watching: asyncio.Task[None]) -> None:
        await self._drain(list(self._shards))
        watching.cancel()
        await asyncio.wait([watching])
        await self.source.close()

    async def _drain(self, names: Sequence[str]) -> None:
        for name in names:
            self._shards[name][0].set()
        for name in names:
            await self._shards.pop(name)[1]

    async def _follow(self, shard: str, stopping: asyncio.Event) -> None:
        """As the engine: reading is cancelled, handling is not, what is away is tried again."""
        stopped = asyncio.create_task(stopping.wait())
        position: str | None = None
        while not stopping.is_set():
            opening = asyncio.ensure_future(self._open_and_handle(shard, position, stopped))
            try:
                await opening
            except SourceUnavailable:
                if self.handled[shard]:
                    position = str(self.handled[shard][-1])
                await asyncio.wait([stopped], timeout=0.2)
        await stopped

    async def _open_and_handle(
        self, shard: str, position: str | None, stopped: asyncio.Task[Any]
    ) -> None:
        opening = asyncio.ensure_future(self.source.open_shard(shard, position))
        reader = await self._or_stopped(opening, stopped)
        while reader is not None and not stopped.done():
            reading = asyncio.ensure_future(reader.read(10))
            if records := await self._or_stopped(reading, stopped):
                await asyncio.sleep(self._handle_seconds)
                self.handled[shard] += offsets(records)
                await self.source.commit({shard: records[-1].position})

    async def _or_stopped(self, waiting: asyncio.Future[Any], stopped: asyncio.Task[Any]) -> Any:
        await asyncio.wait([waiting, stopped], return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            waiting.cancel()
            await asyncio.wait([waiting])
            return None
        return waiting.result()


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


# the rules of every stream


class KafkaBench:
    """A topic of one partition, read by one group."""

    def __init__(self, brokers: str, topic: str, proxy: FaultProxy | None) -> None:
        self._brokers = brokers
        self._topic = topic
        self._proxy = proxy

    async def open_source(self) -> KafkaSource:
        return build(self._brokers, self._topic, group=f"g-{self._topic}", session_timeout=30)

    async def produce(self, values: Sequence[str], key: str = "") -> None:
        async with AIOKafkaProducer(bootstrap_servers=self._brokers) as producer:
            for value in values:
                coded = key.encode() if key else None
                await producer.send_and_wait(self._topic, value.encode(), key=coded)

    def value(self, record: Record) -> str:
        return base64.b64decode(json.loads(record.event)["value"]).decode()

    async def cut(self, reachable: bool) -> None:
        assert self._proxy is not None
        await asyncio.to_thread(self._proxy.heal if reachable else self._proxy.cut)

    async def change(self, what: str, shard: str) -> None:
        assert (what, shard) == ("expire", f"{self._topic}-0")
        async with administering(self._brokers) as admin:
            await admin.delete_records({TopicPartition(self._topic, 0): RecordsToDelete(3)})


@pytest.mark.usefixtures("apache")
class TestKafkaSource(StreamSourceContract):
    guarantees = Guarantees(expires=True)
    patience_seconds = 40.0

    @pytest.fixture
    async def bench(
        self,
        request: pytest.FixtureRequest,
        kafka_brokers: str,
        proxied_server: Callable[[str], tuple[Any, FaultProxy]],
    ) -> StreamBench:
        proxy = None
        if "outage" in request.node.name:
            _, proxy = await asyncio.to_thread(proxied_server, "kafka")
            kafka_brokers = proxy.address
        async with administering(kafka_brokers) as admin:
            return KafkaBench(kafka_brokers, await create(admin, 1), proxy)


# positions


async def test_a_group_resumes_behind_what_it_committed(
    kafka_brokers: str, make_topic: MakeTopic, producer: AIOKafkaProducer
) -> None:
    topic = await make_topic()
    await fill(producer, topic, 100)
    async with joined(build(kafka_brokers, topic, group=f"g-{topic}")) as shards:
        assert shards == {f"{topic}-0": ()}
    source = build(kafka_brokers, topic, group=f"g-{topic}")
    async with joined(source):
        reader = await source.open_shard(f"{topic}-0", None)
        assert offsets(await read(reader, 60, limit=25)) == list(range(60))
        await source.commit({f"{topic}-0": "49"})
        await source.commit({"elsewhere-0": "7"})
    source = build(kafka_brokers, topic, group=f"g-{topic}", starting_position="latest")
    async with joined(source):
        reader = await source.open_shard(f"{topic}-0", None)
        assert offsets(await read(reader, 50)) == list(range(50, 100))


async def test_reading_goes_on_behind_a_position(
    kafka_brokers: str, make_topic: MakeTopic, producer: AIOKafkaProducer
) -> None:
    topic = await make_topic()
    await fill(producer, topic, 30)
    source = build(kafka_brokers, topic)
    async with joined(source):
        reader = await source.open_shard(f"{topic}-0", "19")
        assert offsets(await read(reader, 10)) == list(range(20, 30))
        assert await reader.read(10) == ()
        again = await source.open_shard(f"{topic}-0", "4")
        assert offsets(await read(again, 3)) == [5, 6, 7]


@pytest.mark.usefixtures("apache")
async def test_latest_begins_where_the_group_first_looked_also_after_a_restart(
    kafka_brokers: str, make_topic: MakeTopic, producer: AIOKafkaProducer
) -> None:
    topic = await make_topic()
    await fill(producer, topic, 5)
    settings = {"group": f"g-{topic}", "starting_position": "latest"}
    source = build(kafka_brokers, topic, **settings)
    async with joined(source):
        await source.open_shard(f"{topic}-0", None)
    await fill(producer, topic, 3)
    source = build(kafka_brokers, topic, **settings)
    async with joined(source):
        reader = await source.open_shard(f"{topic}-0", None)
        assert offsets(await read(reader, 3)) == [5, 6, 7]


@pytest.mark.usefixtures("apache")
@pytest.mark.parametrize(("seconds", "first"), [(1_700_000_003.0, 3), (1_800_000_000.0, 10)])
async def test_at_timestamp_begins_at_the_first_record_of_that_time(
    kafka_brokers: str,
    make_topic: MakeTopic,
    producer: AIOKafkaProducer,
    seconds: float,
    first: int,
) -> None:
    topic = await make_topic()
    for n in range(10):
        stamp = (1_700_000_000 + n) * 1000
        await producer.send_and_wait(topic, b"%d" % n, partition=0, timestamp_ms=stamp)
    source = build(
        kafka_brokers,
        topic,
        starting_position="at_timestamp",
        starting_position_timestamp=seconds,
    )
    async with joined(source):
        reader = await source.open_shard(f"{topic}-0", None)
        await producer.send_and_wait(topic, b"10", partition=0)
        assert offsets(await read(reader, 11 - first)) == list(range(first, 11))


@pytest.mark.usefixtures("apache")
async def test_a_position_that_is_not_kept_any_more_expires(
    kafka_brokers: str,
    make_topic: MakeTopic,
    producer: AIOKafkaProducer,
    admin: AIOKafkaAdminClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = await make_topic()
    await fill(producer, topic, 20)
    source = build(kafka_brokers, topic)
    async with joined(source):
        reader = await source.open_shard(f"{topic}-0", None)
        await read(reader, 5)
        await source.commit({f"{topic}-0": "4"})
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(12)})
        for position in ("7", None):
            reader = await source.open_shard(f"{topic}-0", position)
            with pytest.raises(PositionExpired, match="do not keep it any more"):
                await read(reader, 1)
        reader = await source.open_shard(f"{topic}-0", None)
        assert offsets(await read(reader, 8)) == list(range(12, 20))
    assert "do not keep the group's offset 5 any more; records were LOST" in caplog.text


# shapes


async def test_events_have_the_shape_of_self_managed_kafka(
    kafka_brokers: str, make_topic: MakeTopic, producer: AIOKafkaProducer
) -> None:
    topic = await make_topic(2)
    headers = [("trace", b"\xff\x00a"), ("trace", b""), ("ünï", b"1")]
    await producer.send_and_wait(
        topic, b'{"a":1}', key=b"k", partition=1, timestamp_ms=1_545_084_650_987, headers=headers
    )
    await producer.send_and_wait(topic, None, key=b"gone", partition=1, timestamp_ms=1)
    await producer.send_and_wait(topic, b"", key=None, partition=1, timestamp_ms=2)
    source = build(kafka_brokers, topic)
    async with joined(source):
        reader = await source.open_shard(f"{topic}-1", None)
        first, tombstone, empty = await read(reader, 3)
    event = json.loads(source.envelope([first]))
    assert event == {
        "eventSource": "SelfManagedKafka",
        "bootstrapServers": kafka_brokers,
        "records": {
            f"{topic}-1": [
                {
                    "topic": topic,
                    "partition": 1,
                    "offset": 0,
                    "timestamp": 1_545_084_650_987,
                    "timestampType": "CREATE_TIME",
                    "key": "aw==",
                    "value": "eyJhIjoxfQ==",
                    "headers": [{"trace": [255, 0, 97]}, {"trace": []}, {"ünï": [49]}],
                }
            ]
        },
    }
    assert (first.key, first.arrived_at) == ("aw==", 1_545_084_650.987)
    assert (json.loads(tombstone.event)["value"], tombstone.key) == (None, "Z29uZQ==")
    assert (json.loads(empty.event)["value"], json.loads(empty.event)["key"]) == ("", None)
    assert (empty.key, empty.arrived_at) == ("", 0.002)


async def test_a_record_of_a_megabyte_is_read_whatever_the_fetch_size(
    kafka_brokers: str, make_topic: MakeTopic, producer: AIOKafkaProducer
) -> None:
    topic = await make_topic()
    value = bytes(range(256)) * 4000
    for _ in range(3):
        await producer.send_and_wait(topic, value, partition=0)
    source = build(kafka_brokers, topic, max_partition_fetch_bytes="64KB")
    async with joined(source):
        reader = await source.open_shard(f"{topic}-0", None)
        records = await read(reader, 3)
    assert [base64.b64decode(json.loads(one.event)["value"]) == value for one in records] == [
        True,
        True,
        True,
    ]


# several shards and members


async def test_a_shard_nobody_reads_does_not_hold_up_the_others(
    kafka_brokers: str, make_topic: MakeTopic, producer: AIOKafkaProducer
) -> None:
    topic, other = await make_topic(2), await make_topic(1)
    for partition in (0, 1):
        await fill(producer, topic, 3000, partition)
    await fill(producer, other, 10)
    source = build(kafka_brokers, [topic, other])
    async with joined(source) as shards:
        assert set(shards) == {f"{topic}-0", f"{topic}-1", f"{other}-0"}
        idle = await source.open_shard(f"{topic}-0", None)
        await read(idle, 1)
        busy = await source.open_shard(f"{topic}-1", None)
        third = await source.open_shard(f"{other}-0", None)
        both = await asyncio.gather(read(busy, 3000), read(third, 10))
        assert [offsets(records) for records in both] == [list(range(3000)), list(range(10))]
        await asyncio.gather(
            *(source.commit({f"{topic}-{n % 2}": str(n)}) for n in range(100)),
            source.commit({f"{other}-0": "9"}),
        )


async def test_members_come_and_go_without_loss_and_in_order(
    kafka_brokers: str, make_topic: MakeTopic, producer: AIOKafkaProducer
) -> None:
    topic = await make_topic(4)
    for partition in range(4):
        await fill(producer, topic, 1000, partition)
    group = f"g-{topic}"
    engines = [Engine(build(kafka_brokers, topic, group=group), 0.1) for _ in range(3)]
    handled = [engine.handled for engine in engines]

    def total() -> int:
        return sum(len(some) for one in handled for some in one.values())

    first, second, third = engines
    runs = [asyncio.create_task(first.run())]
    await until(lambda: total() > 100)
    runs.append(asyncio.create_task(second.run()))
    await until(lambda: bool(second.handled))
    runs.append(asyncio.create_task(third.run()))
    await until(lambda: bool(third.handled))
    await second.stop(runs[1])
    await until(lambda: total() >= 4000)
    for engine, run in ((first, runs[0]), (third, runs[2])):
        await engine.stop(run)

    for partition in range(4):
        shard = f"{topic}-{partition}"
        parts = [one[shard] for one in handled if one[shard]]
        assert [part for part in parts if part != sorted(set(part))] == []
        # graceful rebalances: nothing twice, nothing missing
        assert sorted(n for part in parts for n in part) == list(range(1000))
    assert set() in first.sets
    assert len(first.sets) >= 5


async def test_a_handler_may_take_longer_than_the_session(
    kafka_brokers: str, make_topic: MakeTopic, producer: AIOKafkaProducer
) -> None:
    topic = await make_topic()
    await fill(producer, topic, 20)
    engine = Engine(build(kafka_brokers, topic, group=f"g-{topic}"), 7.0)
    run = asyncio.create_task(engine.run())
    await until(lambda: len(engine.handled[f"{topic}-0"]) >= 20)
    await engine.stop(run)
    assert engine.handled == {f"{topic}-0": list(range(20))}
    assert engine.sets == [{f"{topic}-0"}]


async def test_a_rebalance_does_not_wait_for_ever_and_late_commits_do_no_harm(
    kafka_brokers: str,
    make_topic: MakeTopic,
    producer: AIOKafkaProducer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "eventmesh.connectors.kafka")
    topic = await make_topic(2)
    for partition in (0, 1):
        await fill(producer, topic, 50, partition)
    group = f"g-{topic}"
    stuck = build(kafka_brokers, topic, group=group, rebalance_timeout=1)
    other = build(kafka_brokers, topic, group=group)
    async with joined(stuck) as shards:
        assert len(shards) == 2
        readers = {name: await stuck.open_shard(name, None) for name in shards}
        for name, reader in readers.items():
            await read(reader, 20)
            await stuck.commit({name: "4"})
        async with joined(other) as gained:
            [shard] = gained
            reader = await other.open_shard(shard, None)
            assert offsets(await read(reader, 45)) == list(range(5, 50))
            await other.commit({shard: "49"})
            with pytest.raises(SourceUnavailable, match="taken away"):
                await readers[shard].read(10)
            await stuck.commit(dict.fromkeys(shards, "19"))
            with pytest.raises(SourceUnavailable, match="another member|handed over"):
                await stuck.open_shard(shard, None)
            again = await other.open_shard(shard, None)
            assert await again.read(10) == ()
    assert "did not wait longer than rebalance_timeout, 1 s" in caplog.text
    assert "not ours any more" in caplog.text


@pytest.mark.usefixtures("apache")
async def test_a_member_that_was_thrown_out_commits_nothing_and_comes_back(
    proxied_server: Callable[[str], Any],
) -> None:
    server, proxy = await asyncio.to_thread(proxied_server, "kafka")
    brokers = f"127.0.0.1:{proxy.port}"
    producer = AIOKafkaProducer(bootstrap_servers=brokers)
    await producer.start()
    await fill(producer, "orders", 30)
    await producer.stop()
    engine = Engine(build(brokers, "orders", group="g"), 0.0)
    run = asyncio.create_task(engine.run())
    await until(lambda: len(engine.handled["orders-0"]) == 30)
    await asyncio.to_thread(proxy.cut)
    await asyncio.sleep(8)
    await asyncio.to_thread(proxy.heal)
    producer = AIOKafkaProducer(bootstrap_servers=brokers)
    await producer.start()
    await fill(producer, "orders", 10)
    await producer.stop()
    await until(lambda: engine.handled["orders-0"][-1] == 39 and len(engine.sets) >= 3)
    await engine.stop(run)
    # read once more at most what was read before it knew that it had been thrown out
    assert engine.handled["orders-0"][:30] == list(range(30))
    assert sorted(set(engine.handled["orders-0"][30:])) == list(range(30, 40))
    assert len(engine.handled["orders-0"]) <= 50
    assert set() in engine.sets


# outages


@pytest.mark.usefixtures("apache")
async def test_a_broker_that_restarts_loses_nothing(
    private_server: Callable[[str], Any],
) -> None:
    server = await asyncio.to_thread(private_server, "kafka")
    producer = AIOKafkaProducer(bootstrap_servers=server.address, acks="all")
    await producer.start()
    await fill(producer, "orders", 50)
    engine = Engine(build(server.address, "orders", group="g", session_timeout=30), 0.02)
    run = asyncio.create_task(engine.run())
    await until(lambda: len(engine.handled["orders-0"]) >= 20)
    await asyncio.to_thread(server.restart)
    await fill(producer, "orders", 50)
    await producer.stop()
    await until(lambda: len(set(engine.handled["orders-0"])) == 100)
    await engine.stop(run)
    assert sorted(set(engine.handled["orders-0"])) == list(range(100))
    assert len(engine.handled["orders-0"]) <= 110


async def test_nobody_answers_at_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        source = build(address, "orders")
        with pytest.raises(SourceUnavailable, match=f"no broker answers at {address}"):
            await anext(source.shards())
        await source.close()


async def test_a_topic_that_is_missing_is_named_with_its_neighbours(
    kafka_brokers: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    source = build(kafka_brokers, [topic, topic[:-1]])
    with pytest.raises(SourceUnavailable, match=rf"'{topic[:-1]}' does not exist .*{topic}"):
        await anext(source.shards())
    await source.close()


# the destination


async def test_payloads_become_records(kafka_brokers: str, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    destination = KafkaDestination(KafkaDestinationOptions(brokers=kafka_brokers, topic=topic))
    await asyncio.gather(
        destination.send(b'{"n":1}', {"RequestID": "r-1", "ErrorMessage": "größer"}),
        destination.send(b'{"n":2}', {}),
    )
    await destination.close()
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=kafka_brokers, auto_offset_reset="earliest"
    ) as consumer:
        records = [await consumer.getone(), await consumer.getone()]
    assert sorted((one.value, dict(one.headers)) for one in records) == [
        (b'{"n":1}', {"RequestID": b"r-1", "ErrorMessage": "größer".encode()}),
        (b'{"n":2}', {}),
    ]


@pytest.mark.usefixtures("apache")
async def test_what_the_broker_refuses_is_an_error_and_the_next_one_goes_through(
    kafka_brokers: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    destination = KafkaDestination(KafkaDestinationOptions(brokers=kafka_brokers, topic=topic))
    with pytest.raises(DestinationError, match=f"topic {topic} at .*MessageSizeTooLarge"):
        await destination.send(b"x" * 3_000_000, {})
    await destination.send(b"{}", {})
    await destination.close()


async def test_a_destination_nobody_answers_for() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        destination = KafkaDestination(KafkaDestinationOptions(brokers=address, topic="t"))
        with pytest.raises(DestinationError, match="no broker answers"):
            await destination.send(b"{}", {})
        await destination.close()
