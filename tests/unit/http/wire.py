"""A connection without a network: a transport that remembers, and a handler that answers on cue."""

from __future__ import annotations

import asyncio

from eventmesh.http.connection import Connection
from eventmesh.http.connections import Connections
from eventmesh.http.limits import Limits
from eventmesh.messages import HttpHandler, HttpRequest, HttpResponse

HOST = b"Host: localhost\r\n"


class FakeTransport(asyncio.Transport):
    """What a connection does to its transport, in memory. `stall` keeps written bytes unsent."""

    def __init__(self, ip: str = "127.0.0.1") -> None:
        super().__init__({"peername": (ip, 40000)})
        self.written = bytearray()
        self.unsent = 0
        self.closed = self.aborted = self.eof_written = False
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.eof_written = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        assert self.reading, "paused twice"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "resumed twice"
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def take(self) -> bytes:
        """What was written since the last `take`."""
        data, self.written = bytes(self.written), bytearray()
        return data


async def echo(request: HttpRequest) -> HttpResponse:
    body = b"%s %s?%s " % (
        request.method.encode(),
        request.raw_path.encode(),
        request.raw_query.encode(),
    )
    return HttpResponse(200, body + request.body)


class Wire:
    """One connection whose requests all go to `handler`, with bodies of up to `largest` bytes."""

    def __init__(
        self, handler: HttpHandler = echo, limits: Limits | None = None, largest: int = 1000
    ) -> None:
        self.requests: list[HttpRequest] = []
        self.refusal: HttpResponse | None = None
        self.largest = largest
        self.handler = handler
        self.connections = Connections(limits or Limits(), self.gate, 0.0)
        self.transport = FakeTransport()
        self.connection = self.connect(self.transport)

    def connect(self, transport: FakeTransport) -> Connection:
        connection = Connection(self.connections, asyncio.get_running_loop())
        connection.connection_made(transport)
        return connection

    def gate(
        self, request: HttpRequest, host: str | None
    ) -> tuple[HttpHandler, int] | HttpResponse:
        return self.refusal or (self._handle, self.largest)

    async def _handle(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        return await self.handler(request)

    async def send(self, data: bytes) -> bytes:
        """What is written after `data` came and everything that can run ran."""
        self.connection.data_received(data)
        await self.settle()
        return self.transport.take()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])
