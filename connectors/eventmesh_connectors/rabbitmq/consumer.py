"""One consumer on one channel: messages come into a buffer, and are settled by delivery tag.

Delivery tags mean something on their own channel only. When that is gone, so is the consumer: the
broker delivers again what was not acknowledged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from itertools import islice
from typing import Any

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from eventmesh.errors import EventMeshError
from eventmesh_connectors.rabbitmq.acknowledgements import count_covered
from eventmesh_connectors.rabbitmq.addresses import BrokerAddress
from eventmesh_connectors.rabbitmq.links import (
    ANSWER_SECONDS,
    FAULTS,
    Link,
    LinkLost,
    completed,
    open_link,
    unavailable,
)
from eventmesh_connectors.rabbitmq.options import RabbitMqOptions


class QueueConsumer:
    """Consumes from one queue while its channel is open. Made by `open_consumer`."""

    def __init__(self, link: Link, queue: str, address: BrokerAddress, prefetch: int) -> None:
        self._link = link
        self._queue = queue
        self._address = address
        self._prefetch = prefetch
        self._arrived = asyncio.Event()
        self._waiting: deque[DeliveredMessage] = deque()
        #: tags delivered and not settled, rising; those in `_waiting` too
        self._outstanding: dict[int, None] = {}
        self._lost: EventMeshError | None = None
        #: tags are claimed and sent in one order, else one `multiple` could cover another's
        self._order = asyncio.Lock()
        self._sends: set[asyncio.Task[None]] = set()
        self._ended = link.channel.closing
        self._ended.add_done_callback(self._channel_closed)
        link.channel.on_consumer_cancel_callbacks.add(self._cancelled_by_broker)

    @property
    def is_lost(self) -> bool:
        """Nothing more comes from here, and nothing can be settled."""
        return self._lost is not None

    async def start(self) -> None:
        """Have messages delivered, at most `prefetch` unsettled."""
        await completed(self._set_prefetch())
        consuming = self._link.channel.basic_consume(
            self._queue, self._take_in, timeout=ANSWER_SECONDS
        )
        await completed(consuming)

    async def take(self, limit: int) -> list[DeliveredMessage]:
        """The next messages, at most `limit`; waits for the first. They leave the buffer without
        any waiting after, so that a cancellation loses none. Raises SourceUnavailable."""
        waiting = self._waiting
        while not waiting:
            if self._lost is not None:
                raise self._lost
            self._arrived.clear()
            await self._arrived.wait()
            await asyncio.sleep(0)  # lets in what came with it
        return [waiting.popleft() for _ in range(min(limit, len(waiting)))]

    async def settle(
        self, succeeded: Collection[int], failed: Collection[int], *, requeue: bool
    ) -> bool:
        """Acknowledge and give back, by tag; True once the broker has heard, False when the channel
        was lost: then it delivers the messages again.

        May be cancelled: what is settled is settled all the same.
        """
        if self._lost is not None:
            return False
        send = asyncio.ensure_future(self._send(succeeded, failed, requeue))
        self._sends.add(send)
        send.add_done_callback(self._sends.discard)
        try:
            await completed(send)
        except (*FAULTS, LinkLost) as error:
            self._lose(error)
            return False
        return True

    async def close(self) -> None:
        """End; messages not settled go back to the queue. Waits 5 s at most."""
        self._lose(None)
        await self._link.close()

    async def _send(
        self, succeeded: Collection[int], failed: Collection[int], requeue: bool
    ) -> None:
        """The broker handles a channel's frames in order: its answer to the last says that it
        handled them all, which acknowledgements alone do not."""
        async with asyncio.timeout(ANSWER_SECONDS):
            async with self._order:
                await self._acknowledge(succeeded)
                await self._give_back(failed, requeue)
            await self._set_prefetch()

    async def _acknowledge(self, succeeded: Collection[int]) -> None:
        outstanding, channel = self._outstanding, self._link.channel
        first = count_covered(outstanding, succeeded)
        together = list(islice(outstanding, first))
        one_by_one = sorted(tag for tag in succeeded if tag in outstanding)[first:]
        for tag in (*together, *one_by_one):
            del outstanding[tag]
        if together:
            await channel.basic_ack(together[-1], multiple=len(together) > 1, wait=False)
        for tag in one_by_one:
            await channel.basic_ack(tag, wait=False)

    async def _give_back(self, failed: Collection[int], requeue: bool) -> None:
        for tag in failed:
            if tag in self._outstanding:
                del self._outstanding[tag]
                await self._link.channel.basic_nack(tag, requeue=requeue, wait=False)

    async def _set_prefetch(self) -> None:
        await self._link.channel.basic_qos(prefetch_count=self._prefetch, timeout=ANSWER_SECONDS)

    async def _take_in(self, message: DeliveredMessage) -> None:
        tag = message.delivery_tag
        if tag is not None and self._lost is None:
            self._outstanding[tag] = None
            self._waiting.append(message)
            self._arrived.set()

    def _channel_closed(self, ended: asyncio.Future[Any]) -> None:
        self._lose(None if ended.cancelled() else ended.exception())

    def _cancelled_by_broker(self, frame: Basic.Cancel) -> None:
        self._lose(LinkLost("the broker ended the consumer; was the queue deleted?"))

    def _lose(self, error: BaseException | None) -> None:
        if self._lost is not None:
            return
        self._lost = unavailable(f"cannot read queue {self._queue}", self._address, error)
        self._waiting.clear()
        self._outstanding.clear()
        self._arrived.set()
        for send in self._sends:
            send.cancel()


async def open_consumer(options: RabbitMqOptions, name: str) -> QueueConsumer:
    """Connect as `name`, look for (or declare) the queue and consume. Raises SourceUnavailable."""
    address = options.address
    doing = f"cannot connect for queue {options.queue}"
    try:
        link = await open_link(address, name, confirms=False)
        try:
            doing = f"cannot open queue {options.queue}"
            await completed(_find_queue(link, options))
            consumer = QueueConsumer(link, options.queue, address, options.prefetch_count)
            doing = f"cannot read queue {options.queue}"
            await consumer.start()
        except BaseException:
            await link.close()
            raise
    except (*FAULTS, LinkLost) as error:
        raise unavailable(doing, address, error) from error
    return consumer


async def _find_queue(link: Link, options: RabbitMqOptions) -> None:
    if options.declare:
        await link.channel.queue_declare(
            options.queue,
            durable=True,
            arguments=dict(options.queue_arguments),
            timeout=ANSWER_SECONDS,
        )
    else:
        await link.channel.queue_declare(options.queue, passive=True, timeout=ANSWER_SECONDS)
