"""The source: receives and settles. Batching, retries and filters are the engine's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventmesh.connectors import SourceContext
from eventmesh.records import Outcome, Record
from eventmesh_connectors.activemq import events
from eventmesh_connectors.activemq.consumer import Message, QueueConsumer, open_consumer
from eventmesh_connectors.activemq.options import ActiveMqOptions


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record's handle: the consumer it came from, and its message there."""

    consumer: QueueConsumer
    message: Message


@dataclass(slots=True)
class Settlement:
    """What becomes of messages of one consumer."""

    done: list[Message] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)
    again: list[Message] = field(default_factory=list)
    untouched: list[Message] = field(default_factory=list)


class ActiveMqSource:
    """Reads a queue through one consumer at a time."""

    def __init__(self, options: ActiveMqOptions, context: SourceContext) -> None:
        self._options = options
        self._context = context
        address = options.address
        self._writer = events.RecordWriter(
            events.build_arn(context.region, context.account_id, address.host, address.port)
        )
        self._opening = asyncio.Lock()
        self._consumer: QueueConsumer | None = None
        self._delays: set[asyncio.Task[None]] = set()

    async def receive(self, limit: int) -> Sequence[Record]:
        """Up to `limit` records; waits until there is one. See `QueueSource`."""
        consumer = await self._open()
        messages = await consumer.take(limit)
        now, write = self._context.clock.now(), self._writer.write
        return [
            write(
                message.headers,
                message.body,
                now,
                Delivery(consumer, message),
                again=message.failures > 0,
            )
            for message in messages
        ]

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Acknowledge what succeeded. What failed is handed out again after `redelivery_delay`, and
        becomes a dead letter after `maximum_redeliveries`.

        What came over a connection that is gone is left alone: the broker delivers it again.
        """
        for consumer, settlement in sort_outcomes(
            outcomes, self._options.maximum_redeliveries
        ).items():
            consumer.put_back(settlement.untouched)
            if settlement.again:
                self._put_back_later(consumer, settlement.again)
            await consumer.settle(settlement.done, settlement.dead)

    def envelope(self, records: Sequence[Record]) -> bytes:
        """`{"eventSource": "aws:mq", ...}` (semantics 7.1)."""
        return self._writer.join(records)

    def fields(self, record: Record) -> Mapping[str, Any]:
        """The record with its data decoded, parsed where that is a JSON object or array."""
        return events.read_fields(record)

    def batch_info(self, records: Sequence[Record]) -> Mapping[str, Any]:
        """`{"ActiveMQBatchInfo": {...}}`; AWS has no such record for brokers."""
        return events.describe_batch(self._writer.arn, self._options.queue, records)

    async def close(self) -> None:
        """Disconnect, which gives back what is not settled. Waits 5 s at most."""
        for task in self._delays:
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
                options = self._options
                self._consumer = await open_consumer(options)
                where, prefetch = options.address.shown, options.prefetch_count
                self._context.announce(f"queue {options.queue} at {where}, prefetch {prefetch}")
        return self._consumer

    def _put_back_later(self, consumer: QueueConsumer, messages: Sequence[Message]) -> None:
        task = asyncio.ensure_future(self._put_back(consumer, messages))
        self._delays.add(task)
        task.add_done_callback(self._delays.discard)

    async def _put_back(self, consumer: QueueConsumer, messages: Sequence[Message]) -> None:
        await self._context.clock.sleep(self._options.redelivery_delay)
        consumer.put_back(messages)


def sort_outcomes(
    outcomes: Sequence[Outcome], maximum_redeliveries: int
) -> dict[QueueConsumer, Settlement]:
    """What becomes of each message, by consumer. Counts the failures of those that were attempted;
    the others are handed out again as they are."""
    found: dict[QueueConsumer, Settlement] = {}
    for outcome in outcomes:
        delivery: Delivery = outcome.record.handle
        message = delivery.message
        settlement = found.setdefault(delivery.consumer, Settlement())
        if outcome.succeeded:
            settlement.done.append(message)
            continue
        message.failures += outcome.attempted
        if not outcome.attempted:
            settlement.untouched.append(message)
        elif message.failures > maximum_redeliveries >= 0:
            settlement.dead.append(message)
        else:
            settlement.again.append(message)
    return found
