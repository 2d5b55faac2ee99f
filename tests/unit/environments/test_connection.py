"""The frame socket: pieces, large bodies, slow readers, the other side's end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from eventmesh.environments.connection import Connection
from eventmesh.environments.frames import INVOKE, RESULT, Frame, ProtocolViolation, encode_head


class Pair:
    """A connection, the raw socket at its other end, and what the connection told."""

    def __init__(self) -> None:
        ours, self.other = socket.socketpair()
        self.other.setblocking(False)
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.ends: asyncio.Queue[ProtocolViolation | None] = asyncio.Queue()
        self.connection = Connection(ours, self.frames.put_nowait, self.ends.put_nowait)

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.other, data)

    async def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += await asyncio.get_running_loop().sock_recv(self.other, size - len(data))
        return data


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    pair.connection.close()
    pair.other.close()


def result(header: bytes, body: bytes) -> bytes:
    return encode_head(RESULT, 7, header, len(body)) + body


async def test_a_frame_in_one_piece(pair: Pair) -> None:
    await pair.write(result(b"{}", b"body"))
    assert await pair.frames.get() == Frame(RESULT, 7, b"{}", b"body")


async def test_a_frame_byte_by_byte(pair: Pair) -> None:
    for byte in result(b"{}", b"body"):
        await pair.write(bytes([byte]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await pair.frames.get() == Frame(RESULT, 7, b"{}", b"body")


async def test_the_largest_frame_and_one_after_it(pair: Pair) -> None:
    body = b"x" * 6_291_556
    writing = asyncio.ensure_future(pair.write(result(b"{}", body)))
    assert (await pair.frames.get()).body == body
    await writing
    await pair.write(result(b"{}", b"small"))
    assert (await pair.frames.get()).body == b"small"


async def test_a_slow_reader_gets_everything(pair: Pair) -> None:
    body = bytes(range(256)) * 20_000
    expected = encode_head(INVOKE, 1, b"{}", len(body)) + body
    assert pair.connection.send(INVOKE, 1, b"{}", body) is True
    assert await pair.read(len(expected)) == expected
    assert pair.connection.send(INVOKE, 2, b"{}", b"next") is True
    assert await pair.read(19) == encode_head(INVOKE, 2, b"{}", 4) + b"next"


async def test_bytes_after_a_frame_are_a_violation(pair: Pair) -> None:
    await pair.write(result(b"{}", b"body") + b"!")
    assert str(await pair.ends.get()) == "bytes after a frame"


async def test_junk_is_a_violation(pair: Pair) -> None:
    await pair.write(b"junk" * 10)
    assert str(await pair.ends.get()) == "unknown frame kind 0x6a"
    assert pair.frames.empty()


@pytest.mark.parametrize("begun", [b"", b"\xe5\x00", result(b"{}", b"x" * 100)[:50]])
async def test_the_other_side_ends(pair: Pair, begun: bytes) -> None:
    await pair.write(begun)
    pair.other.close()
    assert await pair.ends.get() is None
    assert pair.connection.send(INVOKE, 1, b"{}") is False


async def test_closing_tells_nobody(pair: Pair) -> None:
    pair.connection.close()
    pair.connection.close()
    await asyncio.sleep(0)
    assert pair.ends.empty()
    assert pair.connection.send(INVOKE, 1, b"{}") is False
