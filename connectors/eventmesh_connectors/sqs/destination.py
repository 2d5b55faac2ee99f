"""The destination: each payload is a message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from eventmesh.clock import Clock, SystemClock
from eventmesh.errors import DestinationError
from eventmesh_connectors.aws import open_client, translated
from eventmesh_connectors.aws.messages import message_attributes, message_text
from eventmesh_connectors.queue_address import queue_access
from eventmesh_connectors.sqs.options import SqsDestinationOptions
from eventmesh_connectors.sqs.queue import SqsQueue

_LOG = logging.getLogger(__name__)


class SqsDestination:
    """Sends payloads to a queue."""

    def __init__(self, options: SqsDestinationOptions, clock: Clock | None = None) -> None:
        self._options = options
        self._clock = clock or SystemClock()
        self._opening = asyncio.Lock()
        self._queue: SqsQueue | None = None

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        """Send `payload` as a message; returns once SQS has it. See `Destination`.

        `RequestID`, `ErrorCode` and `ErrorMessage` become message attributes, as of a dead-letter
        queue (semantics 2.2); `AWSTraceHeader` the system attribute (semantics 2.3).
        """
        queue = await self._open()
        await queue.send(
            message_text(payload), message_attributes(attributes), attributes.get("AWSTraceHeader")
        )

    async def close(self) -> None:
        """Disconnect."""
        queue, self._queue = self._queue, None
        if queue is not None:
            await queue.close()

    async def _open(self) -> SqsQueue:
        async with self._opening:
            if self._queue is None:
                self._queue = await self._connect()
        return self._queue

    async def _connect(self) -> SqsQueue:
        address = self._options.address
        with translated(f"cannot open queue {address.name}", DestinationError):
            client = await open_client("sqs", queue_access(self._options.access, address))
        queue = SqsQueue(address, client, self._clock, _LOG)
        try:
            await queue.find(DestinationError)
        except BaseException:
            await queue.close()
            raise
        return queue
