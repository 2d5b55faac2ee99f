"""The ActiveMQ source and destination against a real broker."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from eventmesh.clock import SystemClock
from eventmesh.connectors import SourceContext
from eventmesh.errors import DestinationError, SourceUnavailable
from eventmesh.pulling import QueueSource
from eventmesh.records import Outcome, Record
from eventmesh.testing.source_contract import Guarantees, QueueSourceContract
from eventmesh_connectors.activemq import (
    ActiveMqDestination,
    ActiveMqDestinationOptions,
    ActiveMqOptions,
    ActiveMqSource,
)
from tests.servers import FaultProxy

PATIENCE = 20.0


class NoPositions:
    async def load(self) -> dict[str, str]:
        return {}


def context() -> SourceContext:
    return SourceContext(
        mapping="orders",
        clock=SystemClock(),
        log=logging.getLogger("test"),
        positions=NoPositions(),
        routes=None,  # type: ignore[arg-type]
        announce=lambda detail: None,
    )


class Broker:
    """A queue of the test's own, and what uses it."""

    def __init__(self, address: str, stack: AsyncExitStack) -> None:
        self.url = f"stomp://{address}"
        self.queue = f"test-{uuid.uuid4().hex[:8]}"
        self._stack = stack
        self._sender = self.destination()

    def source(self, **settings: Any) -> ActiveMqSource:
        given = {"queue": self.queue, "url": self.url, "redelivery_delay": 0, **settings}
        source = ActiveMqSource(ActiveMqOptions.model_validate(given), context())
        self._stack.push_async_callback(source.close)
        return source

    def destination(self, **settings: Any) -> ActiveMqDestination:
        given = {"queue": self.queue, "url": self.url, **settings}
        destination = ActiveMqDestination(ActiveMqDestinationOptions.model_validate(given))
        self._stack.push_async_callback(destination.close)
        return destination

    async def put(self, *bodies: bytes, **properties: str) -> None:
        for body in bodies:
            await self._sender.send(body, properties)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture
def broker(activemq_address: str, stack: AsyncExitStack) -> Broker:
    return Broker(activemq_address, stack)


def numbers(start: int, end: int) -> list[bytes]:
    return [b"%d" % i for i in range(start, end)]


def data(record: Record) -> bytes:
    return base64.b64decode(json.loads(record.event)["data"])


async def receive(source: ActiveMqSource, count: int) -> list[Record]:
    """Exactly `count` records, in however many calls."""
    records: list[Record] = []
    async with asyncio.timeout(PATIENCE):
        while len(records) < count:
            records += await source.receive(count - len(records))
    return records


async def settle(source: ActiveMqSource, records: Sequence[Record], *failed: int) -> None:
    async with asyncio.timeout(PATIENCE):
        await source.settle(
            [Outcome(record, index not in failed) for index, record in enumerate(records)]
        )


async def assert_nothing_comes(source: ActiveMqSource) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await source.receive(10)


async def test_messages_come_in_order_with_their_properties(broker: Broker) -> None:
    await broker.put(*numbers(0, 60), RequestID="r:1\n2", destination="/queue/elsewhere")
    source = broker.source()
    records = await receive(source, 60)
    assert [data(record) for record in records] == numbers(0, 60)
    event = json.loads(records[0].event)
    assert event["properties"] == {"RequestID": "r:1\n2"}
    assert event["destination"] == {"physicalName": broker.queue}
    assert (event["deliveryMode"], event["redelivered"]) == (2, False)
    assert records[0].id == event["messageID"] != records[1].id
    await settle(source, records)
    await source.close()
    await assert_nothing_comes(broker.source())


async def test_what_failed_comes_again_and_then_is_a_dead_letter(broker: Broker) -> None:
    source = broker.source(maximum_redeliveries=1)
    await broker.put(b"a", b"b", b"c")
    await settle(source, await receive(source, 3), 1)
    [again] = await receive(source, 1)
    assert (data(again), json.loads(again.event)["redelivered"]) == (b"b", True)
    await settle(source, [again], 0)
    await assert_nothing_comes(source)
    dead = broker.source(queue="ActiveMQ.DLQ")
    letters = await receive(dead, 1)
    while data(letters[-1]) != b"b" or letters[-1].id != again.id:
        letters += await receive(dead, 1)
    await settle(dead, letters)


async def test_the_broker_hands_out_no_more_than_the_prefetch(broker: Broker) -> None:
    await broker.put(*numbers(0, 20))
    source = broker.source(batch_size=5)
    records = await receive(source, 10)
    await assert_nothing_comes(source)
    await settle(source, records[:3])
    assert [data(record) for record in await receive(source, 3)] == numbers(10, 13)


async def test_a_cancelled_receive_loses_nothing(broker: Broker) -> None:
    source = broker.source()
    await assert_nothing_comes(source)
    waiting = asyncio.ensure_future(source.receive(5))
    await asyncio.sleep(0)
    waiting.cancel()
    await broker.put(*numbers(0, 5))
    await asyncio.gather(waiting, return_exceptions=True)
    assert [data(record) for record in await receive(source, 5)] == numbers(0, 5)


async def test_close_gives_back_what_is_not_settled(broker: Broker) -> None:
    await broker.put(*numbers(0, 10))
    source = broker.source(redelivery_delay=60)
    await settle(source, (await receive(source, 6))[:4], 0)
    await source.close()
    again = await receive(broker.source(), 7)
    assert sorted(data(record) for record in again) == [b"0", *numbers(4, 10)]


async def test_what_was_not_attempted_is_not_counted(broker: Broker) -> None:
    source = broker.source(maximum_redeliveries=0)
    await broker.put(b"a")
    [record] = await receive(source, 1)
    await source.settle([Outcome(record, False, attempted=False)])
    assert [data(record) for record in await receive(source, 1)] == [b"a"]


async def test_a_big_binary_message(broker: Broker) -> None:
    body = bytes(range(256)) * 4096 * 5
    await broker.put(body)
    [record] = await receive(broker.source(), 1)
    assert data(record) == body
    assert json.loads(record.event)["messageType"] == "jms/bytes-message"


async def test_a_closed_port_is_unavailable(broker: Broker) -> None:
    with pytest.raises(SourceUnavailable, match=r"cannot open queue .* at 127.0.0.1:1: no conn"):
        await receive(broker.source(url="stomp://127.0.0.1:1"), 1)
    with pytest.raises(DestinationError, match="cannot send to queue"):
        await broker.destination(url="stomp://127.0.0.1:1").send(b"{}", {})


async def test_a_broker_restart_in_the_middle_loses_nothing(
    private_server: Any, stack: AsyncExitStack
) -> None:
    server = await asyncio.to_thread(private_server, "activemq")
    broker = Broker(server.address, stack)
    source = broker.source()
    await broker.put(*numbers(0, 30))
    first = await receive(source, 20)
    await settle(source, first[:10])
    waiting = asyncio.ensure_future(receive(source, 100))
    await asyncio.to_thread(server.kill)
    with pytest.raises(SourceUnavailable):
        await waiting
    with pytest.raises(SourceUnavailable):
        await receive(source, 1)
    await settle(source, first[10:15])
    await asyncio.to_thread(server.start)
    await broker.put(b"30")
    again = await receive(source, 21)
    await settle(source, first[15:])
    await settle(source, again)
    assert {data(record) for record in again} == set(numbers(10, 31))
    await source.close()
    await assert_nothing_comes(broker.source())


class ActiveMqBench:
    """The broker's queue, whose sources reach it through a proxy."""

    def __init__(self, broker: Broker, proxy: FaultProxy) -> None:
        self.broker, self.proxy = broker, proxy

    async def open_source(self) -> QueueSource:
        return self.broker.source(url=f"stomp://{self.proxy.address}")

    async def produce(self, values: Sequence[str], group: str = "") -> None:
        await self.broker.put(*(value.encode() for value in values))

    def value(self, record: Record) -> str:
        return data(record).decode()

    async def cut(self, reachable: bool) -> None:
        await asyncio.to_thread(self.proxy.heal if reachable else self.proxy.cut)


class TestContract(QueueSourceContract):
    guarantees = Guarantees(returns_on_close=True)

    @pytest_asyncio.fixture
    async def bench(self, broker: Broker, activemq_address: str) -> AsyncIterator[ActiveMqBench]:
        with FaultProxy(int(activemq_address.rpartition(":")[2])) as proxy:
            yield ActiveMqBench(broker, proxy)
