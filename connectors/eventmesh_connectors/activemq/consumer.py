"""One subscription on one connection: messages come into a buffer, and are settled one by one.

A failed message is tried again here, as ActiveMQ's own client does: its NACK does not give a
message back, it makes a dead letter of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from eventmesh.errors import SourceUnavailable
from eventmesh_connectors.activemq.links import LinkLost, StompLink, open_link, queue_path
from eventmesh_connectors.activemq.options import ActiveMqOptions

_SUBSCRIPTION = "eventmesh"


@dataclass(eq=False, slots=True)
class Message:
    """A message that is ours until it is settled."""

    headers: Mapping[str, str]
    body: bytes
    failures: int = 0


class QueueConsumer:
    """Consumes from one queue while its connection is up. Made by `open_consumer`."""

    def __init__(self, options: ActiveMqOptions) -> None:
        self._options = options
        self._link: StompLink | None = None
        self._waiting: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._lost: str | None = None

    @property
    def is_lost(self) -> bool:
        """Nothing more comes from here, and nothing can be settled."""
        return self._lost is not None

    async def open(self) -> None:
        """Connect and subscribe. Raises LinkLost."""
        link = await open_link(self._options, self._take_in, self._lose)
        self._link = link
        headers = {"activemq.prefetchSize": str(self._options.prefetch_count)}
        path = queue_path(self._options.queue)
        await link.write(
            partial(link.frames.subscribe, path, _SUBSCRIPTION, "client-individual", headers)
        )

    async def take(self, limit: int) -> list[Message]:
        """The next messages, at most `limit`; waits for the first. They leave the buffer without
        any waiting after, so that a cancellation loses none. Raises SourceUnavailable."""
        waiting = self._waiting
        while not waiting:
            if self._lost is not None:
                raise unavailable(self._options, "cannot read", self._lost)
            self._arrived.clear()
            await self._arrived.wait()
        return [waiting.popleft() for _ in range(min(limit, len(waiting)))]

    async def settle(self, done: Sequence[Message], dead: Sequence[Message]) -> None:
        """Acknowledge what is done and dead-letter what is given up; returns once the broker has
        answered. When the connection is lost, the broker delivers them again."""
        link = self._link
        if link is None or self._lost is not None or not (done or dead):
            return
        frames = link.frames
        acks = [partial(frames.ack, message.headers["ack"]) for message in done]
        nacks = [partial(frames.nack, message.headers["ack"]) for message in dead]
        try:
            await link.write(*acks, *nacks)
        except LinkLost:
            return

    def put_back(self, messages: Sequence[Message]) -> None:
        """Hand these out again, before others."""
        if self._lost is None:
            self._waiting.extendleft(reversed(messages))
            self._arrived.set()

    async def close(self) -> None:
        """End; messages not settled go back to the queue. Waits 5 s at most."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _take_in(self, headers: Mapping[str, str], body: bytes) -> None:
        self._waiting.append(Message(headers, body))
        self._arrived.set()

    def _lose(self) -> None:
        self._lost = (self._link.lost if self._link is not None else None) or "the link was closed"
        self._waiting.clear()
        self._arrived.set()


def unavailable(options: ActiveMqOptions, doing: str, why: object) -> SourceUnavailable:
    """What could not be done where and why."""
    return SourceUnavailable(f"{doing} queue {options.queue} at {options.address.shown}: {why}")


async def open_consumer(options: ActiveMqOptions) -> QueueConsumer:
    """Connect and subscribe. Raises SourceUnavailable."""
    consumer = QueueConsumer(options)
    try:
        await consumer.open()
    except LinkLost as error:
        await consumer.close()
        raise unavailable(options, "cannot open", error) from error
    except BaseException:
        await consumer.close()
        raise
    return consumer
