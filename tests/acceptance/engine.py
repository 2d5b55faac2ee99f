"""Starts the real command as a process and talks to it as a user would."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(look: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """What `look` returns once that is true; the last falsy value fails the test."""
    deadline = time.monotonic() + seconds
    while True:
        value = look()
        if value:
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        time.sleep(0.02)


def command(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one `eventmesh` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "eventmesh", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


class Engine:
    """`eventmesh run FILE` as a process, with `HTTP` and `STATE` pointing into `directory`."""

    def __init__(
        self, file: Path, directory: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.file = file
        self.directory = directory
        self.port = free_port()
        self.state = directory / "state"
        self.environ = {
            **os.environ,
            "HTTP": f"127.0.0.1:{self.port}",
            "STATE": str(self.state),
            **(environ or {}),
        }
        self.output = directory / "engine.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, wait: bool = True) -> Engine:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "eventmesh", "run", *options, str(self.file)],
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if wait:
            eventually(self.ready)
        return self

    def ready(self) -> bool:
        assert self.running.poll() is None, self.output.read_text()
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "not started"
        return self.process

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the engine and wait for its exit code."""
        self.running.send_signal(number)
        return self.running.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """`kill -9`, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        return self.request("GET", path)

    def invoke(self, function: str, event: Any, kind: str = "RequestResponse") -> tuple[int, bytes]:
        status, _, body = self.request(
            "POST",
            f"/2015-03-31/functions/{function}/invocations",
            json.dumps(event).encode(),
            {"X-Amz-Invocation-Type": kind},
        )
        return status, body

    def log(self) -> str:
        return self.output.read_text(errors="replace")
