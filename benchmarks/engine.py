"""`eventmesh run` as a process: on a free port, with a directory of its own for everything."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.load import Request

ROOT = Path(__file__).resolve().parents[1]
#: on the repository's own disk: under /tmp handlers could not have a /tmp of their own
_ROOM = ROOT / "benchmarks" / ".eventmesh"
_PATIENCE_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A fresh directory that is removed at the end."""
    _ROOM.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=_ROOM))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def wait_until(
    look: Callable[[], bool],
    what: str,
    seconds: float = _PATIENCE_SECONDS,
    pause_seconds: float = 0.001,
) -> None:
    """Look again and again until it is so. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(pause_seconds)


def accepts(port: int) -> bool:
    """Whether something listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """Signal a process and wait for it; kill it when it does not listen."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Engine:
    """A context manager: entered it is ready, left it is gone. `mappings` is mappings.yaml's
    content; `server` and `state` are added."""

    def __init__(self, directory: Path, mappings: Mapping[str, Any]) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.port = free_port()
        self._log = directory / "engine.log"
        self._file = directory / "mappings.yaml"
        server = {"http": f"127.0.0.1:{self.port}"}
        settings = {"drain_timeout": "1s", **mappings, "server": server, "state": str(self.state)}
        self._file.write_text(json.dumps(settings, indent=1))  # JSON is YAML

    def __enter__(self) -> Engine:
        self.launch()
        wait_until(self._is_ready, "the engine's start")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def launch(self) -> None:
        """Start it and do not wait. `--quiet`: no log line per invocation."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "eventmesh", "run", "--quiet", str(self._file)],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self, number: int = signal.SIGTERM) -> None:
        end(self.process, number)

    @property
    def lines_logged(self) -> int:
        with self._log.open("rb") as log:
            return sum(1 for _ in log)

    def invocation(
        self, function: str, event: bytes = b"{}", headers: Mapping[str, str] | None = None
    ) -> Request:
        """The invoke request of one function."""
        path = f"/2015-03-31/functions/{function}/invocations"
        return Request(self.port, path, event, dict(headers or {}))

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """The sum of a metric over all its labels."""
        lines = self.get("/metrics")[1].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def environments(self) -> list[int]:
        """Process ids of the execution environments: grandchildren, below the fork server."""
        return [pid for zygote in children(self.process.pid) for pid in children(zygote)]

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the engine ended:\n{self._log.read_text()[-2000:]}")
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/task/{task}/children").read_text()
            found.extend(map(int, text.split()))
    return found
