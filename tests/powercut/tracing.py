"""A child under strace, and its system calls as events on one directory's disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.powercut.disk import Disk, File, Write

_CALLS = "openat,open,creat,pwrite64,write,writev,pwritev,fsync,fdatasync,sync_file_range"
_NAMES = "ftruncate,truncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,link,linkat,mmap"

_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(.*)")
_UNFINISHED = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)(.*)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})*)>")
#: SQLite's shared memory and the lock file hold nothing that outlives the process
_FORGOTTEN = ("-shm", ".lock")


def refusal() -> str | None:
    """Why nothing can be traced here; None when it can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed (Debian: apt-get install strace)"
    tried = subprocess.run([strace, "-qq", "true"], capture_output=True, text=True, timeout=30)
    if tried.returncode:
        return f"ptrace is not allowed here: {tried.stderr.strip()[:200]}"
    return None


def trace(directory: Path, acks: Path, level: str, output: Path) -> None:
    """Run the workload on `directory`, its calls written to `output`. Raises on failure."""
    subprocess.run(
        [
            *("strace", "-f", "-y", "-xx", "-s", "100000000", "-e", "signal=none"),
            *("-e", f"trace={_CALLS},{_NAMES}", "-o", str(output)),
            *(sys.executable, "-m", "tests.powercut.workload", str(directory), str(acks), level),
        ],
        check=True,
        timeout=100,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=Path(__file__).parents[2],
    )


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the child was told by then."""

    line: str


class Replay:
    """Applies a trace to a `Disk`, call by call."""

    def __init__(self, directory: Path, acks: Path, output: Path) -> None:
        self.disk = Disk()
        self._directory = str(directory)
        self._acks = str(acks)
        self._output = output
        self._begun: dict[str, tuple[str, File | None, int]] = {}

    def run(self) -> Iterator[Acknowledged | None]:
        """One item after each call that matters: an acknowledgement, or None."""
        with self._output.open() as lines:
            for line in lines:
                if matched := _LINE.match(line):
                    _, call, arguments, result, rest = matched.groups()
                    yield from self._call(call, arguments, int(result), rest)
                elif matched := _UNFINISHED.match(line):
                    self._begin(*matched.groups())
                elif matched := _RESUMED.match(line):
                    pid, call, more, result, rest = matched.groups()
                    yield from self._resume(pid, call, more, int(result), rest)

    def _begin(self, pid: str, call: str, arguments: str) -> None:
        """What a sync covers was written before it began."""
        file = None
        if call in ("fsync", "fdatasync") and (name := self._name_of(arguments)):
            file = self.disk.names.get(name)
        self._begun[pid] = (arguments, file, len(file.pending) if file else 0)

    def _resume(
        self, pid: str, call: str, more: str, result: int, rest: str
    ) -> Iterator[Acknowledged | None]:
        arguments, file, count = self._begun.pop(pid)
        if file is not None:
            if result == 0:
                file.sync(count)
            yield None
            return
        yield from self._call(call, arguments + more, result, rest)

    def _call(
        self, call: str, arguments: str, result: int, rest: str
    ) -> Iterator[Acknowledged | None]:
        if result < 0:
            return
        if call == "write" and _path_of(arguments) == self._acks:
            yield Acknowledged(_strings_of(arguments)[0].decode().strip())
        elif self._change(call, arguments, result, rest):
            yield None

    def _change(self, call: str, arguments: str, result: int, rest: str) -> bool:
        """Whether the call was about the directory."""
        if call in ("fsync", "fdatasync") and _path_of(arguments) == self._directory:
            self.disk.sync_names()
            return True
        if call in ("rename", "unlink"):
            return self._change_name(call, arguments)
        name = self._name_of(rest.strip() and f"{result}{rest}" if call == "openat" else arguments)
        if name is None:
            return False
        file = self.disk.open(name)
        numbers = arguments.rsplit(", ", 2)
        match call:
            case "openat":
                assert "O_TRUNC" not in arguments, arguments
            case "pwrite64":
                data = _strings_of(arguments)[0][:result]
                file.pending.append(Write(int(numbers[-1]), data))
            case "ftruncate":
                file.pending.append(Write(int(numbers[-1]), None))
            case "fsync" | "fdatasync":
                file.sync(len(file.pending))
            case "mmap":
                assert "PROT_WRITE" not in arguments or "MAP_PRIVATE" in arguments, arguments
            case _:
                raise AssertionError(f"the simulator does not know {call} of {name}")
        return True

    def _change_name(self, call: str, arguments: str) -> bool:
        names = [self._inside(path.decode()) for path in _strings_of(arguments)]
        if names[0] is None:
            return False
        if call == "unlink":
            self.disk.unlink(names[0])
        else:
            assert names[1] is not None, arguments
            self.disk.rename(names[0], names[1])
        return True

    def _name_of(self, arguments: str) -> str | None:
        """The file of the directory that the descriptor in front is of."""
        path = _path_of(arguments)
        if path is None and "<" in arguments:  # mmap: the descriptor is the fifth
            parts = arguments.split(", ")
            path = _path_of(parts[4]) if len(parts) > 4 else None
        return None if path is None else self._inside(path)

    def _inside(self, path: str) -> str | None:
        directory, _, name = path.rpartition("/")
        if directory != self._directory or name.endswith(_FORGOTTEN):
            return None
        return name


def _path_of(arguments: str) -> str | None:
    found = _DESCRIPTOR.match(arguments)
    return None if found is None else _bytes_of(found[1]).decode()


def _strings_of(arguments: str) -> list[bytes]:
    return [_bytes_of(text) for text in _STRING.findall(arguments)]


def _bytes_of(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))
