"""One end of the frame socket, on the event loop: non-blocking, one write call per frame.

Built on the loop's readiness callbacks instead of a transport: an invocation is one `send`, one
`recv` and no buffer in between. Everything an environment sends is checked before it is stored.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from eventmesh.environments.frames import (
    PREFIX,
    Frame,
    ProtocolViolation,
    decode,
    encode_head,
    measure,
)

_CHUNK = 65536
#: more than a socket buffer holds
_DRAIN_READS = 100


class Connection:
    """Sends frames and hands on each frame received. Calls `on_end` once: with None when the other
    side is gone, with the violation when it sent nonsense."""

    __slots__ = (
        "_filled",
        "_large",
        "_loop",
        "_on_end",
        "_on_frame",
        "_small",
        "_socket",
        "_unsent",
    )

    def __init__(
        self,
        connection: socket.socket,
        on_frame: Callable[[Frame], None],
        on_end: Callable[[ProtocolViolation | None], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = connection
        self._on_frame = on_frame
        self._on_end = on_end
        self._small = b""
        self._large: bytearray | None = None
        self._filled = 0
        self._unsent = memoryview(b"")
        connection.setblocking(False)
        self._loop.add_reader(connection.fileno(), self._readable)

    def send(self, kind: int, sequence: int, header: bytes, body: bytes = b"") -> bool:
        """Send a frame; False when the other side is gone already. Never waits."""
        if self._socket is None:
            return False
        frame = encode_head(kind, sequence, header, len(body)) + body
        try:
            sent = self._socket.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        if sent < len(frame):
            self._unsent = memoryview(frame)[sent:]
            self._loop.add_writer(self._socket.fileno(), self._writable)
        return True

    def close(self) -> None:
        """Close without calling `on_end`. Idempotent."""
        connection, self._socket = self._socket, None
        if connection is not None:
            self._loop.remove_reader(connection.fileno())
            self._loop.remove_writer(connection.fileno())
            connection.close()
        self._large = None

    def drain(self) -> None:
        """Take in what the other side sent before it ended, without waiting."""
        for _ in range(_DRAIN_READS):
            if self._socket is None or not self._readable():
                return

    def _end(self, violation: ProtocolViolation | None) -> None:
        if self._socket is not None:
            self.close()
            self._on_end(violation)

    def _writable(self) -> None:
        if self._socket is None:
            return
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self._loop.remove_writer(self._socket.fileno())
            return  # the reading side will see the end
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> bool:
        """Read once; False when there was nothing to read."""
        if self._socket is None:
            return False
        try:
            if self._large is not None:
                self._receive_large(self._socket, self._large)
            else:
                self._receive(self._socket.recv(_CHUNK))
        except BlockingIOError:
            return False
        except OSError:
            self._end(None)
        except ProtocolViolation as violation:
            self._end(violation)
        return True

    def _receive(self, data: bytes) -> None:
        if not data:
            self._end(None)
            return
        if self._small:
            data, self._small = self._small + data, b""
        if len(data) < PREFIX.size:
            self._small = data
            return
        size = measure(data)
        if size == len(data):
            self._on_frame(decode(data))
        elif size < len(data):
            raise ProtocolViolation("bytes after a frame")
        else:
            self._large = bytearray(size)
            self._large[: len(data)] = data
            self._filled = len(data)

    def _receive_large(self, connection: socket.socket, buffer: bytearray) -> None:
        count = connection.recv_into(memoryview(buffer)[self._filled :])
        if not count:
            self._end(None)
            return
        self._filled += count
        if self._filled == len(buffer):
            self._large = None
            self._on_frame(decode(bytes(buffer)))
