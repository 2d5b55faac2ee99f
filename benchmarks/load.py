"""Load over HTTP: `wrk` where it is installed, else a small client of ours in a process of its own
(`python -m benchmarks.load`)."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_WRK = shutil.which("wrk")
GENERATOR = "wrk (one thread)" if _WRK else "the benchmarks' own client (asyncio raw sockets)"
_SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True, slots=True)
class Request:
    """A POST to 127.0.0.1, the same bytes each time."""

    port: int
    path: str
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def wire(self) -> bytes:
        fields = {"Host": f"127.0.0.1:{self.port}", **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f"POST {self.path} HTTP/1.1\r\n{lines}Content-Length: {len(self.body)}\r\n\r\n"
        return head.encode() + self.body


@dataclass(frozen=True, slots=True)
class Load:
    """What a stretch of load came to. `failures`: answers that are not 2xx, and broken sockets."""

    requests: int
    seconds: float
    failures: int
    p50_ms: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds if self.seconds else 0.0


def measure(request: Request, connections: int, seconds: float) -> Load:
    """Keep `connections` busy with `request` for so long, one request at a time on each."""
    command = _wrk_command if _WRK else _own_command
    done = subprocess.run(
        command(request, connections, seconds), capture_output=True, timeout=seconds + 60
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(b'{"requests"')]
    if not lines:  # nobody listens
        return Load(0, seconds, 1, math.nan)
    return Load(**json.loads(lines[-1]))


def _wrk_command(request: Request, connections: int, seconds: float) -> list[str]:
    url = f"http://127.0.0.1:{request.port}{request.path}"
    duration = f"-d{max(1, round(seconds))}s"  # wrk knows whole seconds only
    options = ["-t1", f"-c{connections}", duration, "--timeout", "10s", "-s", str(_SCRIPT)]
    headers = [f"{name}: {value}" for name, value in request.headers.items()]
    return [str(_WRK), *options, url, "--", request.body.decode(), *headers]


def _own_command(request: Request, connections: int, seconds: float) -> list[str]:
    wanted = {"port": request.port, "wire": request.wire.decode("latin-1")}
    options = json.dumps({**wanted, "connections": connections, "seconds": seconds})
    return [sys.executable, "-m", "benchmarks.load", options]


def post(request: Request, timeout: float = 30.0) -> tuple[int, bytes]:
    """One request on a new connection: status line's number, and the whole answer as bytes."""
    with socket.create_connection(("127.0.0.1", request.port), timeout) as connection:
        connection.sendall(request.wire)
        data = b""
        while not _is_complete(data):
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError(f"closed after {len(data)} bytes")
            data += piece
    return int(data[9:12]), data


def _is_complete(data: bytes) -> bool:
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return False
    _, _, rest = head.lower().partition(b"content-length:")
    return len(body) >= int(rest.split(b"\r\n", 1)[0] or 0)


class _Client(asyncio.Protocol):
    """One connection of our own client."""

    def __init__(self, wire: bytes, times: list[float]) -> None:
        self._wire = wire
        self._times = times
        self._data = b""
        self.failures = 0
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._wire)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if _is_complete(self._data):
            self._times.append(time.perf_counter() - self._began)
            self.failures += self._data[9:10] != b"2"
            self._data = b""
            if not self.stopped:
                self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self.failures += not self.stopped


async def _generate(options: dict[str, Any]) -> Load:
    times: list[float] = []
    wire, loop = options["wire"].encode("latin-1"), asyncio.get_running_loop()
    clients = [_Client(wire, times) for _ in range(options["connections"])]
    began = time.perf_counter()
    for client in clients:
        await loop.create_connection(lambda c=client: c, "127.0.0.1", options["port"])  # type: ignore[misc]
    await asyncio.sleep(options["seconds"])
    seconds, answered = time.perf_counter() - began, len(times)
    for client in clients:
        client.stopped = True
    p50 = statistics.median(times) * 1000 if times else math.nan
    return Load(answered, seconds, sum(client.failures for client in clients), p50)


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_generate(json.loads(sys.argv[1]))))))
