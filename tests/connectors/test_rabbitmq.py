"""The RabbitMQ source and destination against a real broker."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aio_pika
import pytest
import pytest_asyncio
from yarl import URL

from eventmesh.clock import SystemClock
from eventmesh.connectors import SourceContext
from eventmesh.errors import DestinationError, SourceUnavailable
from eventmesh.pulling import QueueSource
from eventmesh.records import Outcome, Record
from eventmesh.testing.source_contract import Guarantees, QueueSourceContract
from eventmesh_connectors.rabbitmq import (
    RabbitMqDestination,
    RabbitMqDestinationOptions,
    RabbitMqOptions,
    RabbitMqSource,
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


@dataclass
class Broker:
    """A queue of the test's own, and hands on the broker."""

    url: str
    channel: aio_pika.abc.AbstractChannel
    queue: str
    stack: AsyncExitStack

    def source(self, **settings: Any) -> RabbitMqSource:
        """A source, closed after the test."""
        given = {"queue": self.queue, "url": self.url, "requeue_delay": 0, **settings}
        source = RabbitMqSource(RabbitMqOptions.model_validate(given), context())
        self.stack.push_async_callback(source.close)
        return source

    def destination(self, **settings: Any) -> RabbitMqDestination:
        options = RabbitMqDestinationOptions.model_validate({"url": self.url, **settings})
        destination = RabbitMqDestination(options)
        self.stack.push_async_callback(destination.close)
        return destination

    async def put(self, *bodies: bytes, **properties: Any) -> None:
        for body in bodies:
            message = aio_pika.Message(body, delivery_mode=2, **properties)
            await self.channel.default_exchange.publish(message, self.queue)

    async def waiting(self, queue: str | None = None) -> int:
        """Messages ready for delivery: not those that somebody holds."""
        declared = await self.channel.declare_queue(queue or self.queue, passive=True)
        count = declared.declaration_result.message_count
        assert count is not None
        return count

    async def settled_at(self, ready: int, queue: str | None = None) -> None:
        """Wait until so many messages are ready; what a closed channel held comes back soon."""
        async with asyncio.timeout(PATIENCE):
            while await self.waiting(queue) != ready:  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.05)


Connect = Callable[[str], Awaitable[Broker]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def make(url: str) -> Broker:
            connection = await stack.enter_async_context(await aio_pika.connect(url))
            channel = await connection.channel()
            queue = await channel.declare_queue(f"test-{uuid.uuid4().hex[:8]}", durable=True)
            return Broker(url, channel, queue.name, stack)

        yield make


@pytest.fixture
async def broker(rabbitmq_url: str, connect: Connect) -> AsyncIterator[Broker]:
    made = await connect(rabbitmq_url)
    yield made
    await made.channel.queue_delete(made.queue)


def data(record: Record) -> bytes:
    return base64.b64decode(json.loads(record.event)["data"])


async def receive(source: RabbitMqSource, count: int) -> list[Record]:
    """Exactly `count` records, in however many calls."""
    records: list[Record] = []
    async with asyncio.timeout(PATIENCE):
        while len(records) < count:
            records += await source.receive(count - len(records))
    return records


async def settle(source: RabbitMqSource, records: Sequence[Record], *failed: int) -> None:
    async with asyncio.timeout(PATIENCE):
        await source.settle(
            [Outcome(record, index not in failed) for index, record in enumerate(records)]
        )


async def assert_nothing_comes(source: RabbitMqSource) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await source.receive(10)


async def test_messages_come_in_order_with_their_properties(broker: Broker) -> None:
    source = broker.source()
    await broker.put(
        *(b"%d" % i for i in range(250)),
        content_type="application/unknown",
        headers={"text": "é", "raw": bytearray(b"\xff\x00"), "n": 7, "deep": {"a": [1, "b"]}},
        priority=3,
        message_id="m-1",
        user_id="guest",
    )
    first = await receive(source, 200)
    await settle(source, first)
    records = first + await receive(source, 50)
    assert [data(record) for record in records] == [b"%d" % i for i in range(250)]
    event = json.loads(source.envelope(records[:1]))
    [message] = event["rmqMessagesByQueue"][f"{broker.queue}::/"]
    properties = message["basicProperties"]
    assert properties["headers"] == {
        "text": {"bytes": [195, 169]},
        "raw": {"bytes": [255, 0]},
        "n": 7,
        "deep": {"a": [1, {"bytes": [98]}]},
    }
    assert properties["contentType"] == "application/unknown"
    assert (properties["deliveryMode"], properties["priority"]) == (2, 3)
    assert properties["userId"] == "guest"
    assert records[0].id == "m-1"
    assert message["redelivered"] is False


async def test_what_succeeded_is_gone_and_what_failed_comes_again(broker: Broker) -> None:
    source = broker.source()
    await broker.put(b"a", b"b", b"c", b"d", b"e")
    records = await receive(source, 5)
    await settle(source, records, 1, 3)
    again = await receive(source, 2)
    assert [data(record) for record in again] == [b"b", b"d"]
    assert [json.loads(record.event)["redelivered"] for record in again] == [True, True]
    await settle(source, again)
    await source.close()
    await broker.settled_at(0)


async def test_settling_in_any_order_acknowledges_the_right_messages(broker: Broker) -> None:
    """A later batch that settles first must not take an earlier one with it."""
    source = broker.source(prefetch=100)
    await broker.put(*(b"%d" % i for i in range(30)))
    one, two, three = [await receive(source, 10) for _ in range(3)]
    await settle(source, two)
    await settle(source, three, 0)
    await source.close()  # `one` was never settled
    await broker.settled_at(10 + 1)
    rest = await receive(broker.source(), 11)
    assert {data(record) for record in rest} == {data(r) for r in one} | {data(three[0])}


async def test_batches_settled_at_once_do_not_cover_each_other(broker: Broker) -> None:
    source = broker.source(prefetch=400)
    await broker.put(*(b"%d" % i for i in range(200)))
    batches = [await receive(source, 20) for _ in range(10)]
    await asyncio.gather(*(settle(source, batch, 5) for batch in reversed(batches)))
    again = await receive(source, 10)
    assert {data(record) for record in again} == {data(batch[5]) for batch in batches}
    await settle(source, again)
    await source.close()
    await broker.settled_at(0)


async def test_failed_messages_are_held_for_a_while(broker: Broker) -> None:
    source = broker.source(requeue_delay=0.5)
    await broker.put(b"a")
    records = await receive(source, 1)
    await settle(source, records, 0)
    await assert_nothing_comes(source)
    assert data((await receive(source, 1))[0]) == b"a"


async def test_failed_messages_go_to_the_dead_letter_exchange(broker: Broker) -> None:
    name = f"{broker.queue}-declared"
    dead = await broker.channel.declare_queue(f"{name}-dead")
    source = broker.source(
        queue=name,
        requeue=False,
        declare=True,
        dead_letter_exchange="",
        dead_letter_routing_key=dead.name,
    )
    waiting = asyncio.ensure_future(receive(source, 3))
    destination = broker.destination(queue=name)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await destination.send(b"0", {})
                break
            except DestinationError:  # the source has not declared it yet
                await asyncio.sleep(0.05)
    await destination.send(b"1", {})
    await destination.send(b"2", {})
    records = await waiting
    await source.settle([Outcome(records[2], False, attempted=False)])
    await settle(source, records[:2], 1)
    letter = await dead.get(timeout=PATIENCE, fail=False)
    assert letter is not None
    assert letter.body == b"1"
    assert letter.headers["x-first-death-reason"] == "rejected"
    # the third was not attempted: it is given back, not dead-lettered
    assert [data(record) for record in await receive(source, 1)] == [b"2"]
    assert await dead.get(no_ack=True, fail=False) is None
    for queue in (name, dead.name):
        await broker.channel.queue_delete(queue)


async def test_the_broker_hands_out_no_more_than_the_prefetch(broker: Broker) -> None:
    await broker.put(*(b"%d" % i for i in range(50)))
    source = broker.source(batch_size=5)
    records = await receive(source, 1)
    await broker.settled_at(40)
    records += await receive(source, 9)
    await assert_nothing_comes(source)
    await settle(source, records[:3])
    assert [data(record) for record in await receive(source, 3)] == [b"10", b"11", b"12"]
    await broker.settled_at(37)


async def test_a_cancelled_receive_loses_nothing(broker: Broker) -> None:
    source = broker.source()
    await assert_nothing_comes(source)
    receives = [asyncio.ensure_future(source.receive(3)) for _ in range(4)]
    taken: list[Record] = []
    for i in range(200):
        await broker.put(b"%d" % i)
        if i % 3 == 0:
            receives[i % 4].cancel()
            [result] = await asyncio.gather(receives[i % 4], return_exceptions=True)
            if isinstance(result, list):
                taken += result
            receives[i % 4] = asyncio.ensure_future(source.receive(3))
        await settle(source, taken)
        for one in [one for one in receives if one.done()]:
            receives[receives.index(one)] = asyncio.ensure_future(source.receive(3))
            taken += one.result()
    for one in receives:
        one.cancel()
    for result in await asyncio.gather(*receives, return_exceptions=True):
        taken += result if isinstance(result, list) else []
    found = {data(record) for record in taken}
    if len(found) < 200:
        found |= {data(record) for record in await receive(source, 200 - len(found))}
    assert found == {b"%d" % i for i in range(200)}


async def test_close_gives_back_what_is_not_settled(broker: Broker) -> None:
    await broker.put(*(b"%d" % i for i in range(20)))
    source = broker.source(requeue_delay=60)
    records = await receive(source, 10)
    await settle(source, records[:5], 4)  # one is held back for a minute
    await source.close()
    await broker.settled_at(16)
    again = await receive(broker.source(), 16)
    assert {data(record) for record in again} == {b"%d" % i for i in range(4, 20)}


async def test_a_big_message(broker: Broker) -> None:
    body = bytes(range(256)) * 4096 * 20  # 20 MB, in many frames
    await broker.put(body)
    [record] = await receive(broker.source(), 1)
    assert data(record) == body


async def test_many_receives_share_the_queue(broker: Broker) -> None:
    source = broker.source()
    await broker.put(*(b"%d" % i for i in range(40)))
    async with asyncio.timeout(PATIENCE):
        parts = await asyncio.gather(*(source.receive(10) for _ in range(4)))
    assert all(1 <= len(part) <= 10 for part in parts)
    taken = [data(record) for part in parts for record in part]
    assert sorted(taken, key=int) == [b"%d" % i for i in range(len(taken))]


async def test_a_queue_that_does_not_exist_is_named(broker: Broker) -> None:
    source = broker.source(queue="nowhere")
    with pytest.raises(SourceUnavailable) as caught:
        await receive(source, 1)
    assert "cannot open queue nowhere at 127.0.0.1:" in str(caught.value)
    assert "it does not exist; create it, or set declare: true" in str(caught.value)


async def test_a_queue_declared_otherwise_is_explained(broker: Broker) -> None:
    source = broker.source(declare=True, queue_type="quorum")
    with pytest.raises(SourceUnavailable, match="inequivalent arg 'x-queue-type'"):
        await receive(source, 1)


async def test_a_wrong_password_is_explained_and_not_shown(broker: Broker) -> None:
    url = broker.url.replace("guest:guest", "guest:hunter2")
    with pytest.raises(SourceUnavailable, match="refuses user and password") as caught:
        await receive(broker.source(url=url), 1)
    assert "hunter2" not in str(caught.value)


async def test_a_virtual_host_that_does_not_exist_is_named(broker: Broker) -> None:
    with pytest.raises(SourceUnavailable, match="virtual host 'nope' does not exist"):
        await receive(broker.source(virtual_host="nope"), 1)


async def test_a_closed_port_is_unavailable(broker: Broker) -> None:
    with pytest.raises(SourceUnavailable, match="is RabbitMQ running there"):
        await receive(broker.source(url="amqp://127.0.0.1:1/"), 1)


async def test_a_deleted_queue_makes_the_source_unavailable(broker: Broker) -> None:
    source = broker.source()
    await broker.put(b"a")
    records = await receive(source, 1)
    waiting = asyncio.ensure_future(source.receive(1))
    await asyncio.sleep(0)
    await broker.channel.queue_delete(broker.queue)
    with pytest.raises(SourceUnavailable, match="was the queue deleted"):
        async with asyncio.timeout(PATIENCE):
            await waiting
    await settle(source, records)


async def test_sending_to_a_queue_and_to_an_exchange(broker: Broker) -> None:
    exchange = await broker.channel.declare_exchange(f"{broker.queue}-x", auto_delete=True)
    queue = await broker.channel.declare_queue(broker.queue, passive=True)
    await queue.bind(exchange, "k")
    direct = broker.destination(queue=broker.queue)
    routed = broker.destination(exchange=exchange.name, routing_key="k")
    attributes = {"RequestID": "r-1", "DeliveryId": "d-1"}
    await asyncio.gather(*(direct.send(b'{"n":1}', attributes) for _ in range(5)))
    await routed.send(b'{"n":2}', {})
    received = [await queue.get(timeout=PATIENCE) for _ in range(6)]
    assert sorted(one.body for one in received) == [b'{"n":1}'] * 5 + [b'{"n":2}']
    first = next(one for one in received if one.body == b'{"n":1}')
    assert first.headers == attributes
    assert (first.message_id, first.content_type) == ("d-1", "application/json")
    assert first.delivery_mode == 2


async def test_what_reaches_no_queue_is_refused_and_the_next_is_sent(broker: Broker) -> None:
    with pytest.raises(DestinationError, match="queue 'nowhere' does not exist"):
        await broker.destination(queue="nowhere").send(b"{}", {})
    with pytest.raises(DestinationError, match="exchange 'nowhere' does not exist"):
        await broker.destination(exchange="nowhere").send(b"{}", {})
    exchange = await broker.channel.declare_exchange(f"{broker.queue}-y", auto_delete=False)
    unbound = broker.destination(exchange=exchange.name, routing_key="k")
    with pytest.raises(DestinationError, match="routes 'k' to no queue"):
        await unbound.send(b"{}", {})
    queue = await broker.channel.declare_queue(broker.queue, passive=True)
    await queue.bind(exchange, "k")
    await unbound.send(b"{}", {})
    assert await broker.waiting() == 1
    await broker.channel.exchange_delete(exchange.name)
    with pytest.raises(DestinationError, match="does not exist"):
        await unbound.send(b"{}", {})


async def test_a_broker_restart_in_the_middle_loses_nothing(
    private_server: Any, connect: Connect
) -> None:
    server = await asyncio.to_thread(private_server, "rabbitmq")
    broker = await connect(server.address)
    source, destination = broker.source(), broker.destination(queue=broker.queue)
    await broker.put(*(b"%d" % i for i in range(50)))
    first = await receive(source, 20)
    await settle(source, first[:10])
    waiting = asyncio.ensure_future(receive(source, 100))
    await asyncio.to_thread(server.stop)
    with pytest.raises(SourceUnavailable):
        await waiting
    with pytest.raises(SourceUnavailable):
        await receive(source, 1)
    with pytest.raises(DestinationError):
        await destination.send(b"late", {})
    await settle(source, first[10:15])  # their tags mean nothing any more
    await asyncio.to_thread(server.start)
    await destination.send(b"50", {})
    again = await receive(source, 41)
    await settle(source, first[15:])
    await settle(source, again)
    assert {data(record) for record in again} == {b"%d" % i for i in range(10, 51)}
    await source.close()
    fresh = await connect(server.address)
    assert await fresh.waiting(broker.queue) == 0


async def test_a_lost_connection_delivers_again_under_new_tags(
    proxied_server: Any, connect: Connect
) -> None:
    server, proxy = await asyncio.to_thread(proxied_server, "rabbitmq")
    broker = await connect(f"amqp://guest:guest@127.0.0.1:{server.port}/")
    source = broker.source(url=f"amqp://guest:guest@{proxy.address}/")
    await broker.put(*(b"%d" % i for i in range(10)))
    old = await receive(source, 5)
    await asyncio.to_thread(proxy.cut)
    with pytest.raises(SourceUnavailable):
        await receive(source, 10)
    await asyncio.to_thread(proxy.heal)
    new = await receive(source, 10)
    await settle(source, old)  # same numbers, another channel: touches nothing
    await settle(source, new, *range(10))
    await source.close()
    await broker.settled_at(10)


async def test_a_broker_that_falls_silent_is_given_up(
    proxied_server: Any, connect: Connect
) -> None:
    server, proxy = await asyncio.to_thread(proxied_server, "rabbitmq")
    broker = await connect(f"amqp://guest:guest@127.0.0.1:{server.port}/")
    source = broker.source(url=f"amqp://guest:guest@{proxy.address}/?heartbeat=1")
    await broker.put(b"a", b"b")
    records = await receive(source, 2)
    await asyncio.to_thread(proxy.blackhole)
    with pytest.raises(SourceUnavailable):
        await receive(source, 1)
    await asyncio.to_thread(proxy.heal)
    again = await receive(source, 2)
    await settle(source, records)
    assert {data(record) for record in again} == {b"a", b"b"}


class RabbitMqBench:
    """The broker's queue, whose sources reach it through a proxy."""

    def __init__(self, broker: Broker, proxy: FaultProxy) -> None:
        self.broker, self.proxy = broker, proxy

    async def open_source(self) -> QueueSource:
        return self.broker.source(url=f"amqp://guest:guest@{self.proxy.address}/")

    async def produce(self, values: Sequence[str], group: str = "") -> None:
        await self.broker.put(*(value.encode() for value in values))

    def value(self, record: Record) -> str:
        return data(record).decode()

    async def cut(self, reachable: bool) -> None:
        await asyncio.to_thread(self.proxy.heal if reachable else self.proxy.cut)


class TestContract(QueueSourceContract):
    guarantees = Guarantees(returns_on_close=True)

    @pytest_asyncio.fixture
    async def bench(self, broker: Broker) -> AsyncIterator[RabbitMqBench]:
        port = URL(broker.url).port
        assert port is not None
        with FaultProxy(port) as proxy:
            yield RabbitMqBench(broker, proxy)
