"""DynamoDB Streams on emulators: images, starting positions, resuming, tables without streams."""

from __future__ import annotations

import asyncio
import uuid
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import orjson
import pytest

from eventmesh.clock import SystemClock
from eventmesh.errors import SourceUnavailable
from eventmesh.pulling import ShardReader
from eventmesh.records import Record
from eventmesh.testing.source_contract import StreamSourceContract
from eventmesh_connectors.dynamodb import DynamoDbOptions, DynamoDbSource
from tests.servers import FaultProxy
from tests.unit.connectors.recording_target import RecordingTarget, make_context

VIEW = "NEW_AND_OLD_IMAGES"


class Table:
    """A table of the server, with a stream."""

    def __init__(self, endpoint: str, view: str | None = VIEW) -> None:
        self.endpoint = endpoint
        self.name = f"orders-{uuid.uuid4().hex[:12]}"
        self.client = boto3.client(
            "dynamodb",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.create(view)

    def create(self, view: str | None = VIEW) -> None:
        stream = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": view}}
        self.client.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            **(stream if view else {}),
        )

    def arn(self) -> str:
        found = self.client.describe_table(TableName=self.name)
        arn: str = found["Table"]["LatestStreamArn"]
        return arn

    def put(self, *names: str, **values: Any) -> None:
        for name in names:
            self.client.put_item(TableName=self.name, Item={"id": {"S": name}, **values})

    def remove(self, name: str) -> None:
        self.client.delete_item(TableName=self.name, Key={"id": {"S": name}})

    def source(self, **options: Any) -> DynamoDbSource:
        given = {} if "stream_arn" in options else {"table": self.name}
        settings = DynamoDbOptions(
            **{
                **given,
                "endpoint_url": self.endpoint,
                "region": "us-east-1",
                "poll_interval": 0.05,
                **options,
            }
        )
        return DynamoDbSource(settings, make_context(RecordingTarget(), SystemClock()))


@pytest.fixture(params=["moto_endpoint", "ministack_endpoint"])
def endpoint(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def table(endpoint: str) -> Table:
    return Table(endpoint)


class Bench:
    """A table's stream behind a proxy, for the contract's suite."""

    def __init__(self, endpoint: str, proxy: FaultProxy) -> None:
        proxy.forward_to(int(endpoint.rpartition(":")[2]))
        self.table = Table(endpoint)
        self._proxy = proxy
        self._written = 0

    async def open_source(self) -> DynamoDbSource:
        return self.table.source(endpoint_url=f"http://{self._proxy.address}")

    async def produce(self, values: Sequence[str], key: str = "") -> None:
        for value in values:
            self._written += 1
            await asyncio.to_thread(self.table.put, key or str(self._written), value={"S": value})

    def value(self, record: Record) -> str:
        text: str = orjson.loads(record.event)["dynamodb"]["NewImage"]["value"]["S"]
        return text

    async def cut(self, reachable: bool) -> None:
        if reachable:
            await asyncio.to_thread(self._proxy.heal)
        else:
            await asyncio.to_thread(self._proxy.cut)

    async def change(self, what: str, shard: str) -> None:
        raise AssertionError("emulators have one shard")


class TestDynamoDbSource(StreamSourceContract):
    patience_seconds = 30.0

    @pytest.fixture
    def bench(self, endpoint: str) -> Iterator[Bench]:
        with FaultProxy() as proxy:
            yield Bench(endpoint, proxy)


async def open_first(source: DynamoDbSource, position: str | None = None) -> ShardReader:
    shards = await anext(source.shards())
    return await source.open_shard(next(iter(shards)), position)


async def read_until(reader: ShardReader, count: int) -> list[Record]:
    records: list[Record] = []
    async with asyncio.timeout(30):
        while len(records) < count:
            records += await reader.read(count - len(records))
    return records


def keys(records: Sequence[Record]) -> list[str]:
    return [orjson.loads(record.key)["id"]["S"] for record in records]


async def test_changes_arrive_in_order_with_their_images(table: Table) -> None:
    old = {"n": {"N": "1.5"}, "b": {"B": b"\x00\x01\x02"}, "bs": {"BS": [b"\xff"]}}
    table.put("a", **old)
    table.put("a", n={"N": "2"})
    table.remove("a")
    source = table.source()
    records = await read_until(await open_first(source), 3)
    events = [orjson.loads(record.event) for record in records]
    assert [event["eventName"] for event in events] == ["INSERT", "MODIFY", "REMOVE"]
    wire = {
        "id": {"S": "a"},
        "n": {"N": "1.5"},
        "b": {"B": b64encode(b"\x00\x01\x02").decode()},
        "bs": {"BS": ["/w=="]},
    }
    assert events[0]["dynamodb"]["NewImage"] == wire
    assert "OldImage" not in events[0]["dynamodb"]
    assert events[1]["dynamodb"]["OldImage"] == wire
    assert events[1]["dynamodb"]["NewImage"] == {"id": {"S": "a"}, "n": {"N": "2"}}
    assert "NewImage" not in events[2]["dynamodb"]
    for record, event in zip(records, events, strict=True):
        assert event["eventSource"] == "aws:dynamodb"
        assert event["awsRegion"] == "us-east-1"
        assert event["eventSourceARN"] == table.arn()
        change = event["dynamodb"]
        assert change["Keys"] == {"id": {"S": "a"}}
        assert change["StreamViewType"] == VIEW
        assert change["SequenceNumber"] == record.id == record.position
        assert change["ApproximateCreationDateTime"] == record.arrived_at
        assert isinstance(change["ApproximateCreationDateTime"], float)
    assert keys(records) == ["a", "a", "a"]
    await source.close()


async def test_a_load_comes_once_each_through_small_reads(table: Table) -> None:
    names = [f"item-{n:03}" for n in range(120)]
    table.put(*names)
    source = table.source(records_per_read=7)
    reader = await open_first(source)
    assert keys(await read_until(reader, 60)) + keys(await read_until(reader, 60)) == names
    assert await reader.read(10) == []
    await source.close()


async def test_a_position_goes_on_behind_its_record(table: Table) -> None:
    table.put("a", "b", "c", "d")
    source = table.source()
    records = await read_until(await open_first(source), 4)
    await source.close()
    restarted = table.source()
    table.put("e")
    reader = await open_first(restarted, records[1].position)
    assert keys(await read_until(reader, 3)) == ["c", "d", "e"]
    await restarted.close()


async def test_latest_sees_only_what_comes(table: Table) -> None:
    table.put("a", "b")
    source = table.source(starting_position="latest")
    reader = await open_first(source)
    assert await reader.read(10) == []
    table.put("c")
    assert keys(await read_until(reader, 1)) == ["c"]
    await source.close()


async def test_a_replaced_iterator_goes_on_where_reading_was(table: Table) -> None:
    table.put("a", "b", "c", "d")
    source = table.source(records_per_read=2)
    reader: Any = await open_first(source)
    records = await read_until(reader, 2)
    await reader._renew(Exception("expired"))
    assert keys(records + await read_until(reader, 2)) == ["a", "b", "c", "d"]
    await source.close()


async def test_the_stream_may_be_given_by_its_arn(table: Table) -> None:
    table.put("a")
    source = table.source(stream_arn=table.arn())
    assert keys(await read_until(await open_first(source), 1)) == ["a"]
    assert source.arn == table.arn()
    await source.close()


async def test_a_table_without_a_stream_is_told(endpoint: str) -> None:
    source = Table(endpoint, view=None).source()
    with pytest.raises(SourceUnavailable, match="has no stream; switch it on: aws dynamodb"):
        await anext(source.shards())
    await source.close()


async def test_a_missing_table_is_told(endpoint: str) -> None:
    options = DynamoDbOptions(table="nothing", endpoint_url=endpoint, region="us-east-1")
    source = DynamoDbSource(options, make_context(RecordingTarget(), SystemClock()))
    with pytest.raises(SourceUnavailable, match=r"table nothing not found. Check its name, region"):
        await anext(source.shards())
    await source.close()


async def test_a_table_created_again_has_another_stream(table: Table) -> None:
    table.put("a")
    source = table.source()
    reader = await open_first(source)
    assert keys(await read_until(reader, 1)) == ["a"]
    table.client.delete_table(TableName=table.name)
    await asyncio.sleep(1.1)  # labels and creation times count in seconds on some
    table.create()
    with pytest.raises(SourceUnavailable, match="another stream than before"):
        await anext(source.shards())
    with pytest.raises(SourceUnavailable, match="Start again to read the new stream"):
        await reader.read(10)
    await source.close()
