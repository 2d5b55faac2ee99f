"""The source: receives and settles. Batching, retries and filters are the engine's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from eventmesh.connectors import SourceContext
from eventmesh.records import Outcome, Record
from eventmesh_connectors.rabbitmq import events
from eventmesh_connectors.rabbitmq.consumer import QueueConsumer, open_consumer
from eventmesh_connectors.rabbitmq.options import RabbitMqOptions


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record's handle: the consumer it came from, and its tag there."""

    consumer: QueueConsumer
    tag: int


@dataclass(slots=True)
class Settlement:
    """What is to be settled on one consumer."""

    succeeded: set[int] = field(default_factory=set)
    failed: list[int] = field(default_factory=list)
    #: given back without an attempt: at once, and never dead-lettered
    untouched: list[int] = field(default_factory=list)


class RabbitMqSource:
    """Reads a queue through one consumer at a time."""

    def __init__(self, options: RabbitMqOptions, context: SourceContext) -> None:
        self._options = options
        self._context = context
        address = options.address
        self._writer = events.RecordWriter(
            events.build_arn(context.region, context.account_id, address),
            options.queue,
            address.virtual_host,
            counts_retries=options.maximum_retry_attempts >= 0,
        )
        self._opening = asyncio.Lock()
        self._consumer: QueueConsumer | None = None
        self._numbers = count(1)
        self._number = 0
        self._returning: set[asyncio.Task[None]] = set()

    async def receive(self, limit: int) -> Sequence[Record]:
        """Up to `limit` records; waits until there is one. See `QueueSource`."""
        consumer = await self._open()
        messages = await consumer.take(limit)
        now, number, write = self._context.clock.now(), self._number, self._writer.write
        records = []
        for message in messages:
            tag = message.delivery_tag or 0
            records.append(write(message, f"{number}:{tag}", now, Delivery(consumer, tag)))
        return records

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Acknowledge what succeeded; what failed goes back after `requeue_delay`, or to the
        dead-letter exchange with `requeue: false`.

        What came over a connection that is gone is left alone: the broker delivers it again.
        """
        for consumer, settlement in _sort(outcomes).items():
            await self._settle_on(consumer, settlement)

    def envelope(self, records: Sequence[Record]) -> bytes:
        """`{"eventSource": "aws:rmq", ...}` (semantics 7.2)."""
        return self._writer.join(records)

    def fields(self, record: Record) -> Mapping[str, Any]:
        """The record with its data decoded, parsed where that is a JSON object or array."""
        return events.read_fields(record)

    def batch_info(self, records: Sequence[Record]) -> Mapping[str, Any]:
        """`{"RabbitMQBatchInfo": {...}}`; AWS has no such record for brokers."""
        virtual_host = self._options.address.virtual_host
        return events.describe_batch(self._writer.arn, self._options.queue, virtual_host, records)

    async def close(self) -> None:
        """Disconnect, which gives back what is not settled. Waits 5 s at most."""
        for task in self._returning:
            task.cancel()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()

    async def _open(self) -> QueueConsumer:
        if self._consumer is not None and not self._consumer.is_lost:
            return self._consumer
        async with self._opening:
            if self._consumer is not None and self._consumer.is_lost:
                lost, self._consumer = self._consumer, None
                await lost.close()
            if self._consumer is None:
                self._consumer = await self._connect()
        return self._consumer

    async def _connect(self) -> QueueConsumer:
        options, context = self._options, self._context
        consumer = await open_consumer(options, f"eventmesh {context.mapping}")
        self._number = next(self._numbers)
        context.announce(
            f"queue {options.queue} at {options.address.shown}, prefetch {options.prefetch_count}"
        )
        return consumer

    async def _settle_on(self, consumer: QueueConsumer, settlement: Settlement) -> None:
        failed, back = settlement.failed, settlement.untouched
        if not self._options.requeue:
            if failed:
                await consumer.settle((), failed, requeue=False)
        elif self._options.requeue_delay:
            self._return_later(consumer, failed)
        else:
            back = [*failed, *back]
        if settlement.succeeded or back:
            await consumer.settle(settlement.succeeded, back, requeue=True)

    def _return_later(self, consumer: QueueConsumer, tags: Sequence[int]) -> None:
        if tags:
            task = asyncio.ensure_future(self._return(consumer, tags))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def _return(self, consumer: QueueConsumer, tags: Sequence[int]) -> None:
        """Hold failed messages for a while: a handler that fails at once would get them in a
        tight loop. They count against the prefetch meanwhile."""
        await self._context.clock.sleep(self._options.requeue_delay)
        await consumer.settle((), tags, requeue=True)


def _sort(outcomes: Sequence[Outcome]) -> dict[QueueConsumer, Settlement]:
    sorted_: dict[QueueConsumer, Settlement] = {}
    for outcome in outcomes:
        delivery: Delivery = outcome.record.handle
        settlement = sorted_.setdefault(delivery.consumer, Settlement())
        if outcome.succeeded:
            settlement.succeeded.add(delivery.tag)
        elif outcome.attempted:
            settlement.failed.append(delivery.tag)
        else:
            settlement.untouched.append(delivery.tag)
    return sorted_
