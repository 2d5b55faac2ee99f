"""The source: receives and settles. Batching, retries and filters are the engine's."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from eventmesh.connectors import SourceContext
from eventmesh.errors import SourceUnavailable
from eventmesh.records import Outcome, Record
from eventmesh_connectors.queue_address import queue_access
from eventmesh_connectors.sqs import events
from eventmesh_connectors.sqs.options import SqsOptions
from eventmesh_connectors.sqs.queue import SqsQueue, Ticket, open_queue

#: semantics 5.3: what AWS adds to the window for messages that wait in it
_WINDOW_MARGIN_SECONDS = 30
_RELEASE_SECONDS = 5.0


class SqsSource:
    """Reads a queue. `visibility_seconds` is known once the queue was opened."""

    def __init__(self, options: SqsOptions, context: SourceContext) -> None:
        self._options = options
        self._context = context
        self._opening = asyncio.Lock()
        self._queue: SqsQueue | None = None
        self._writer: events.RecordWriter | None = None
        #: receives that were cancelled, and what gives their messages back
        self._cancelled: set[asyncio.Task[Any]] = set()
        self._returning: set[asyncio.Task[None]] = set()
        self._asked_visibility: int | None = None
        self.visibility_seconds: float = options.visibility_timeout or 30.0

    async def receive(self, limit: int) -> Sequence[Record]:
        """Up to 10 records; waits for a long poll (20 s; 1 s at an emulator),
        then returns []. See `QueueSource`.

        When cancelled, messages that SQS hands out all the same are shown again at once.
        """
        poll = asyncio.ensure_future(self._poll(limit))
        try:
            return await asyncio.shield(poll)
        except asyncio.CancelledError:
            self._give_back_later(poll)
            raise

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Delete what succeeded. What failed comes again after its visibility timeout (semantics
        5.3), or at once with `release_failed`; what was not attempted, at once."""
        queue = await self._open()
        tickets = [_ticket(outcome.record) for outcome in outcomes if outcome.succeeded]
        work: list[Coroutine[Any, Any, None]] = [queue.delete(tickets)] if tickets else []
        at_once = self._options.release_failed
        released = [
            _ticket(outcome.record)
            for outcome in outcomes
            if not outcome.succeeded and (at_once or not outcome.attempted)
        ]
        if released:
            work.append(queue.hide(released, 0))
        if len(work) == 1:
            await work[0]
        if len(work) < 2:
            return
        for result in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def extend(self, records: Sequence[Record], seconds: float) -> None:
        """Keep records hidden for `seconds` from now, at most 12 h. Raises nothing."""
        try:
            queue = await self._open()
            await queue.hide([_ticket(record) for record in records], seconds)
        except SourceUnavailable as error:
            self._context.log.warning("%s", error)

    def envelope(self, records: Sequence[Record]) -> bytes:
        """`{"Records": [...]}` (semantics 5.1)."""
        return events.join_records(records)

    def fields(self, record: Record) -> Mapping[str, Any]:
        """The record with its body parsed where that is a JSON object or array."""
        return events.read_fields(record)

    def batch_info(self, records: Sequence[Record]) -> Mapping[str, Any]:
        """`{"SQSBatchInfo": {...}}`; AWS has no such record for queues."""
        arn = self._queue.arn if self._queue is not None else self._options.queue
        return events.describe_batch(arn, records)

    async def close(self) -> None:
        """Give back what cancelled receives still get, and disconnect. Waits 7 s at most."""
        if self._returning and self._queue is not None:
            await asyncio.wait(self._returning, timeout=self._queue.farewell_seconds)
        for poll in self._cancelled:
            poll.cancel()
        if self._returning:
            await asyncio.wait(self._returning, timeout=_RELEASE_SECONDS)
        queue, self._queue = self._queue, None
        if queue is not None:
            await queue.close()

    async def _poll(self, limit: int) -> list[Record]:
        queue = await self._open()
        messages = await queue.receive(limit, self._asked_visibility)
        writer, now = self._writer, self._context.clock.now()
        assert writer is not None
        return [writer.write(message, now) for message in messages]

    async def _open(self) -> SqsQueue:
        if self._queue is not None:
            return self._queue
        async with self._opening:
            if self._queue is None:
                self._queue = await self._connect()
        return self._queue

    async def _connect(self) -> SqsQueue:
        options, context = self._options, self._context
        address = options.address
        access = queue_access(options.access, address)
        queue = await open_queue(address, access, context.region, context.clock, context.log)
        window = options.maximum_batching_window
        self._writer = events.RecordWriter(queue.arn, queue.region, windowed=window > 0)
        self._asked_visibility = asked_visibility(options, queue.visibility_seconds)
        self.visibility_seconds = float(self._asked_visibility or queue.visibility_seconds)
        context.announce(f"{queue.url}, visible again after {self.visibility_seconds:g}s")
        return queue

    def _give_back_later(self, poll: asyncio.Task[list[Record]]) -> None:
        self._cancelled.add(poll)
        poll.add_done_callback(self._cancelled.discard)
        task = asyncio.ensure_future(self._give_back(poll))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _give_back(self, poll: asyncio.Task[list[Record]]) -> None:
        try:
            records = await poll
            if records:
                queue = await self._open()
                await queue.hide([_ticket(record) for record in records], 0)
        except SourceUnavailable as error:
            self._context.log.debug("nothing given back: %s", error)


def asked_visibility(options: SqsOptions, own_seconds: int) -> int | None:
    """The visibility timeout that receives ask for; None leaves it to the queue.

    Messages that wait for a batching window need longer than it (semantics 5.3).
    """
    if options.visibility_timeout is not None:
        return math.ceil(options.visibility_timeout)
    if not options.maximum_batching_window:
        return None
    needed = math.ceil(options.maximum_batching_window) + _WINDOW_MARGIN_SECONDS
    return needed if needed > own_seconds else None


def _ticket(record: Record) -> Ticket:
    return Ticket(record.id, record.handle)
