"""`eventmesh run` as a process that may be replaced by a mutant, and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 40.0
#: no process of a killed engine may be left after so long, on a busy machine
ORPHAN_SECONDS = 2.0


class Engine:
    """One engine after the other on the same state directory. `boot` counts them; a replica counts
    from another number on."""

    def __init__(
        self, directory: Path, environ: Mapping[str, str], mutant: str | None, boot: int = 0
    ) -> None:
        self.directory = directory
        self.boot = boot
        self.process: subprocess.Popen[bytes] | None = None
        #: direct children of engines that ended, with the time each was started
        self._children: set[tuple[int, str]] = set()
        self._environ = {**os.environ, **environ}
        module = ["-m", "eventmesh"] if mutant is None else ["-m", "tests.crash.mutant", mutant]
        dashes = [] if mutant is None else ["--"]
        file = str(directory / "mappings.yaml")
        self._command = [sys.executable, *module, *dashes, "run", "--quiet", file]

    def start(self, failpoint: str = "") -> None:
        self.boot += 1
        environ = self._environ | {
            "BOOT": str(self.boot),
            "EVENTMESH_FAILPOINT": failpoint,
            "PYTHONPATH": str(ROOT),
        }
        with (self.directory / "engine.log").open("ab") as output:
            output.write(f"--- boot {self.boot} {failpoint}\n".encode())
            self.process = subprocess.Popen(
                self._command, env=environ, cwd=self.directory, stdout=output, stderr=output
            )

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: int) -> None:
        if self.process is not None and self.running:
            self.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> int:
        """Signal it and wait; its exit code, or that of an earlier end."""
        assert self.process is not None
        if self.running:
            self._children |= children_of(self.process.pid)
        self.send(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return -signal.SIGKILL

    def orphans(self) -> list[str]:
        """What is left of ended engines once it had the time to notice (I13 NoZombie)."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while left := self._left():
            if time.monotonic() > deadline:
                return [f"orphan {pid} {_command_of(pid)}" for pid in sorted(left)]
            time.sleep(0.05)
        return []

    def _left(self) -> set[int]:
        children = {pid for pid, started in self._children if started and _started(pid) == started}
        return children | _working_in(str(self.directory))

    def kill(self) -> None:
        """End what runs."""
        if self.running:
            self.end()


def children_of(pid: int) -> set[tuple[int, str]]:
    """Children of a process: pid and when it was started, so that a pid used again is told."""
    pids: list[str] = []
    with contextlib.suppress(OSError):  # it ends meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            pids += (task / "children").read_text().split()
    return {(int(child), _started(int(child))) for child in pids}


def _started(pid: int) -> str:
    """When it was started, in ticks; "" for what is gone or only waits for its parent."""
    try:
        _, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return ""
    fields = rest.split()
    return "" if fields[0] == "Z" else fields[19]


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "gone by now"


def _working_in(directory: str) -> set[int]:
    """Processes whose working directory lies there: workers of any engine of this run."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                here = os.readlink(entry / "cwd")
            except OSError:
                continue
            if here.startswith(directory):
                found.add(int(entry.name))
    return found


def state_problems(directory: Path) -> list[str]:
    """What a finished engine must not leave in its state."""
    connection = sqlite3.connect(directory / "state" / "state.sqlite3")
    try:
        findings = [text for (text,) in connection.execute("PRAGMA integrity_check")]
        problems = [] if findings == ["ok"] else [f"state: {findings[:3]}"]
        for table in ("events", "deliveries"):
            ((count,),) = connection.execute(f"SELECT count(*) FROM {table}")
            if count:
                problems.append(f"state: {count} rows left in {table}")
    finally:
        connection.close()
    return problems


class Effects:
    """What handlers wrote, read as it grows."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._rest = b""
        self.lines: list[dict[str, Any]] = []
        self.seen: set[str] = set()
        #: deliveries and failures of the newest boots
        self.boots: dict[int, int] = {}

    def look(self) -> int:
        """Read what is new; how many lines there are."""
        if not self._file.exists():
            return 0
        with self._file.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        for text in whole:
            line = json.loads(text)
            self.lines.append(line)
            self.seen.add(line.get("id") or line["raised"])
            self.boots[line["boot"]] = self.boots.get(line["boot"], 0) + 1
        return len(self.lines)


def failure_records(directory: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(file.read_bytes()) for file in sorted(directory.glob("*.json"))]
