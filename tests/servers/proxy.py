"""A TCP proxy that misbehaves on request, for a client whose broker's network is to fail.

It runs in a thread of its own; its methods may be called from anywhere and return once in effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.servers.recipe import LOOPBACK

CHUNK = 65_536
CALL_SECONDS = 10.0
LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Link:
    """One client's connection and its twin to the server."""

    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    lost_bytes: bool = False

    def reset(self) -> None:
        for writer in self.writers:
            with contextlib.suppress(OSError):
                link: socket.socket = writer.get_extra_info("socket")
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            writer.transport.abort()


class FaultProxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`upstream`, until told to fail.

    Use as a context manager. A server that tells clients where to come (Kafka) is started with
    `private_server(name, advertised=proxy.port)`, then `proxy.forward_to(server.port)`.
    """

    def __init__(self, upstream: int = 0) -> None:
        self.port = 0
        self._upstream = upstream
        self._delay = 0.0
        self._drop_replies = False
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._listener: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._do(self._listen())
        except BaseException:
            self._finish()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._do(self._close())
        finally:
            self._finish()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._links)

    def forward_to(self, port: int) -> None:
        """Send connections made from now on to 127.0.0.1:`port`."""
        self._upstream = port

    def latency(self, seconds: float) -> None:
        """Hold every piece back for `seconds`, in each direction."""
        self._delay = seconds

    def drop_replies(self) -> None:
        """Requests still reach the server; what it answers is lost."""
        self._drop_replies = True

    def blackhole(self) -> None:
        """Nothing passes and nothing is refused, as with a dead router; `heal` delivers it late."""
        self._call(self._flowing.clear)

    def reset(self) -> None:
        """Break the connections there are (RST); new ones are served."""
        self._call(self._reset_links)

    def cut(self) -> None:
        """Break the connections there are and refuse new ones until `heal`."""
        self._do(self._close())

    def heal(self) -> None:
        """All well again. Connections that lost bytes to `drop_replies` are reset."""
        self._delay = 0.0
        self._drop_replies = False
        self._call(self._flowing.set)
        self._call(lambda: self._reset_links(only_damaged=True))
        self._do(self._listen())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    def _call(self, action: Callable[[], object]) -> None:
        async def once() -> None:
            action()

        self._do(once())

    def _finish(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, LOOPBACK, self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        self._reset_links()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _reset_links(self, only_damaged: bool = False) -> None:
        for link in list(self._links):
            if link.lost_bytes or not only_damaged:
                link.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link([writer])
        self._links.add(link)
        try:
            await self._flowing.wait()
            back, forth = await asyncio.open_connection(LOOPBACK, self._upstream)
            link.writers.append(forth)
            requests = self._pump(reader, forth, link, replies=False)
            await asyncio.gather(requests, self._pump(back, writer, link, replies=True))
        except (OSError, asyncio.CancelledError):
            pass  # one side is gone, or we are closing: the other side goes too
        finally:
            self._links.discard(link)
            link.reset()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        link: _Link,
        replies: bool,
    ) -> None:
        while data := await source.read(CHUNK):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._flowing.wait()
            if replies and self._drop_replies:
                link.lost_bytes = True
                continue
            sink.write(data)
            await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()
