"""One client's connection: reads requests, has them answered in order, writes the responses."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import cast

from eventmesh.http.connections import Connections
from eventmesh.http.deadlines import Deadline, Phase, Sight
from eventmesh.http.reader import SLICE_BYTES, Exchange, RequestReader
from eventmesh.http.responses import (
    CONTINUE,
    INTERNAL_ERROR,
    Refused,
    describe,
    encode_response,
)
from eventmesh.messages import HttpHandler, HttpRequest, HttpResponse

logger = logging.getLogger("eventmesh.http")

_TOO_MANY = encode_response(
    describe(429, "Too many connections"), connection=b"Connection: close\r\n"
)
#: a body this large read ahead counts as a full queue
_LARGE_BODY_BYTES = 64 * 1024


class Connection(asyncio.Protocol):
    """An asyncio protocol; made by the server for each client.

    A client that goes away does not cancel its handler: the invocation finishes and its result is
    dropped.
    """

    def __init__(self, connections: Connections, loop: asyncio.AbstractEventLoop) -> None:
        self._connections = connections
        self._loop = loop
        self._limits = connections.limits
        self._deadline = Deadline(connections.limits)
        self._pending: deque[Exchange] = deque()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._ip = ""
        #: read, but not parsed because enough requests wait
        self._unread = memoryview(b"")
        self._reading_paused = False
        self._write_paused = False
        #: nothing more is read as a request; what waits is still answered
        self._input_over = False
        self._end_of_file = False
        #: the last response is written
        self._closing = False
        self._discarded_bytes = 0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        if not self._connections.admit(self, peer[0]):
            self._closing = True
            if not self._connections.draining:
                self._connections.refused[429] += 1
                self._transport.write(_TOO_MANY)
            self._transport.close()
            return
        self._ip = peer[0]
        client = (peer[0], peer[1])
        self._reader = RequestReader(client, self._limits, self._connections.gate, self._pending)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._discard(len(data))
        elif not self._input_over:
            if self._unread or len(data) > SLICE_BYTES:
                self._unread = memoryview(bytes(self._unread) + data)
            else:
                self._feed(data)
            self._pump()

    def eof_received(self) -> bool:
        self._end_of_file = self._input_over = True
        # half-closed clients still read: keep the transport open while a response is due
        return not self._closing and (self._task is not None or bool(self._pending))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._closing = self._input_over = True
        self._pending.clear()
        self._unread = memoryview(b"")
        if self in self._connections.open:
            self._connections.leave(self, self._ip)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if not self._closing:
            self._pump()

    # What the server calls.

    def sweep(self, now: float) -> None:
        """End the connection when its time is over. `now` is monotonic seconds."""
        sight = self._look()
        if not self._deadline.is_over(now, sight) or self._transport is None:
            return
        if sight.phase in (Phase.HEAD, Phase.BODY):
            self._refuse(describe(408, "Request Timeout"))
            self._pump()
        elif sight.phase in (Phase.NEW, Phase.IDLE):
            self._close(lingering=False)
        else:
            self._transport.abort()

    def drain(self) -> None:
        """Close as soon as nothing is in progress. The server is draining already."""
        if self._transport is None:
            return
        if self._closing or self._look().phase in (Phase.NEW, Phase.IDLE):
            self._closing = True
            self._transport.close()

    def abort(self) -> None:
        """Close at once and cancel the handler at work."""
        if self._task is not None:
            # a task cancelled before its first step never reaches its own end
            self._task.add_done_callback(lambda _: self._finish())
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    # Reading.

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self._reader.feed(data)
        except Refused as refused:
            self._refuse(refused.response)

    def _refuse(self, response: HttpResponse) -> None:
        """Answer with `response` after what waits already, and read nothing more."""
        self._pending.append(Exchange(None, None, response, keep_alive=False))
        self._input_over = True
        self._unread = memoryview(b"")

    def _discard(self, count: int) -> None:
        self._discarded_bytes += count
        if self._discarded_bytes > self._limits.linger_bytes and self._transport is not None:
            self._transport.abort()

    def _is_backlogged(self) -> bool:
        pending = self._pending
        if not pending:
            return False
        last = pending[-1].request
        return len(pending) >= self._limits.pipelined_requests or (
            last is not None and len(last.body) >= _LARGE_BODY_BYTES
        )

    def _pump(self) -> None:
        """Do whatever can be done now: answer, parse on, pause or resume reading."""
        while True:
            if self._pending and self._task is None:
                self._answer_pending()
            if not self._unread or self._closing or self._is_backlogged():
                break
            self._feed(self._unread[:SLICE_BYTES])
            self._unread = self._unread[SLICE_BYTES:]
        if self._closing or self._transport is None:
            return
        if self._pending or self._reading_paused:
            self._control_reading(self._transport)
        if self._task is None and not self._pending:
            self._rest(self._transport)

    def _rest(self, transport: asyncio.Transport) -> None:
        """Everything complete is answered: end at the input's end, or ask for an awaited body."""
        if self._end_of_file:
            self._close(lingering=False)
        elif self._reader.expects_continue:
            self._reader.expects_continue = False
            if not self._reader.received:
                transport.write(CONTINUE)

    def _control_reading(self, transport: asyncio.Transport) -> None:
        full = bool(self._unread) or self._is_backlogged()
        if full and not self._reading_paused:
            transport.pause_reading()
        elif self._reading_paused and not full and not self._end_of_file:
            transport.resume_reading()
        self._reading_paused = full

    # Answering.

    def _answer_pending(self) -> None:
        """Start the next handler; answer refusals before it."""
        while self._pending and self._task is None and not self._write_paused:
            exchange = self._pending.popleft()
            if exchange.handler is not None and exchange.request is not None:
                self._connections.busy.add(self)
                answering = self._answer(exchange, exchange.handler, exchange.request)
                self._task = self._loop.create_task(answering)
            elif exchange.refusal is not None:
                self._connections.refused[exchange.refusal.status] += 1
                self._write(exchange, exchange.refusal)

    async def _answer(self, exchange: Exchange, handler: HttpHandler, request: HttpRequest) -> None:
        try:
            response = await handler(request)
        except asyncio.CancelledError:
            self._finish()
            self._close(lingering=False)
            raise
        except Exception:
            logger.exception("%s %s: the handler failed", request.method, request.raw_path)
            response = INTERNAL_ERROR
        self._finish()
        if not self._closing:
            self._write(exchange, response)
            self._pump()

    def _finish(self) -> None:
        self._task = None
        self._connections.busy.discard(self)
        if self._connections.draining:
            self._connections.notice_quiet()

    def _write(self, exchange: Exchange, response: HttpResponse) -> None:
        keep_alive = exchange.keep_alive and not self._connections.draining
        try:
            data = self._encode(exchange, response, keep_alive)
        except (ValueError, TypeError) as error:
            logger.error("a response cannot be sent: %s", error)
            data = self._encode(exchange, INTERNAL_ERROR, keep_alive)
        if self._transport is not None:
            self._transport.write(data)
        if not keep_alive:
            self._close(lingering=exchange.request is None)

    def _encode(self, exchange: Exchange, response: HttpResponse, keep_alive: bool) -> bytes:
        if not keep_alive:
            connection = b"Connection: close\r\n"
        else:
            connection = b"Connection: keep-alive\r\n" if exchange.http_1_0 else b""
        return encode_response(
            response,
            date=self._connections.date,
            connection=connection,
            without_body=exchange.without_body,
        )

    # Ending.

    def _close(self, *, lingering: bool) -> None:
        """Close once everything written is sent.

        `lingering` goes on reading for a while: closing with unread input resets the connection,
        and the client may lose the response that tells it why.
        """
        self._closing = self._input_over = True
        self._pending.clear()
        self._unread = memoryview(b"")
        if self._transport is None or self._transport.is_closing():
            return
        if lingering and not self._end_of_file and not self._connections.draining:
            self._transport.write_eof()
            if self._reading_paused:
                self._transport.resume_reading()
        else:
            self._transport.close()

    def _look(self) -> Sight:
        reader, transport = self._reader, self._transport
        unsent = transport.get_write_buffer_size() if transport is not None else 0
        if self._closing:
            return Sight(Phase.CLOSING, unsent)
        if self._write_paused:
            return Sight(Phase.WRITING, unsent)
        if self._reading_paused or self._input_over:
            return Sight(Phase.BUSY, 0)
        if reader.in_body:
            return Sight(Phase.BODY, reader.serial, reader.received)
        if reader.head_bytes:
            return Sight(Phase.HEAD, reader.serial)
        if self._task is not None or self._pending:
            return Sight(Phase.BUSY, 0)
        return Sight(Phase.IDLE if reader.serial else Phase.NEW, reader.serial)
