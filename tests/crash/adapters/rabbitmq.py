"""A durable queue of a real RabbitMQ, through the proxy; publisher confirms acknowledge."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection

from tests.crash.adapters.contract import Site
from tests.crash.ledger import Answer
from tests.crash.oracle import Rules

BATCH, CONCURRENCY, PREFETCH = 10, 4, 60
ANSWER_SECONDS = 5.0


class RabbitMqAdapter:
    rules = Rules(ordered=False, repeated_per_kill=PREFETCH, exact_failures=False)
    server: str | None = "rabbitmq"
    durable = True
    units = 4
    backlog = 3000

    def __init__(self, site: Site) -> None:
        self._site = site
        self._queue = f"crash-{uuid.uuid4().hex[:8]}"
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def reset(self) -> Mapping[str, Any]:
        channel = await self._open()
        await channel.declare_queue(self._queue, durable=True)
        settings = {
            "queue": self._queue,
            "url": f"amqp://guest:guest@127.0.0.1:{self._site.proxy_port}/",
            "batch_size": BATCH,
            "batch_window": "0s",
            "prefetch": PREFETCH,
            "maximum_concurrency": CONCURRENCY,
            "requeue_delay": "100ms",
            "bisect_on_error": True,
            "max_retries": 1,
        }
        return {"rabbitmq": settings}

    async def _open(self) -> AbstractChannel:
        if self._channel is None or self._channel.is_closed:
            await self.close()
            url = f"amqp://guest:guest@127.0.0.1:{self._site.server_port}/"
            self._connection = await aio_pika.connect(url, timeout=ANSWER_SECONDS)
            self._channel = await self._connection.channel(publisher_confirms=True)
        return self._channel

    async def produce(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        try:
            channel = await self._open()
        except (OSError, TimeoutError, aio_pika.exceptions.AMQPError):
            await asyncio.sleep(0.05)
            return dict.fromkeys(ids, "fail")
        answers = await asyncio.gather(*(self._publish(channel, one) for one in ids))
        return dict(zip(ids, answers, strict=True))

    async def _publish(self, channel: AbstractChannel, identifier: str) -> Answer:
        message = aio_pika.Message(
            identifier.encode(),
            message_id=identifier,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        try:
            exchange = channel.default_exchange
            await exchange.publish(message, self._queue, timeout=ANSWER_SECONDS)
        except Exception:  # whatever it is: nobody knows what became of it
            return "unknown"
        return "ok"

    def failed(self, record: Mapping[str, Any]) -> Sequence[str]:
        return list(record["RabbitMQBatchInfo"]["messageIds"])

    async def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(connection.close(), ANSWER_SECONDS)
