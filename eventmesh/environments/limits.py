"""What an environment may use, and what it uses: rlimits as numbers, /proc read for the tree.

The reading functions do file I/O and belong in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1024 * 1024
#: private memory a process may map beyond its memory size: a runaway allocation is a MemoryError
#: at once, while some 500 thread stacks still fit
DATA_HEADROOM_BYTES = 1024 * MEGABYTE
#: processes of one environment (semantics 9.1)
MAX_PROCESSES = 1024
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def data_limit_bytes(memory_mb: int) -> int:
    """RLIMIT_DATA for a function of this memory size."""
    return memory_mb * MEGABYTE + DATA_HEADROOM_BYTES


@dataclass(frozen=True, slots=True)
class Usage:
    """One look at an environment's process tree and its temporary directory (None: not looked)."""

    memory_kb: int
    processes: int
    storage_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What to look at: the environment's first process, its temporary directory or None."""

    pid: int
    memory_mb: int
    directory: Path | None = None


def overrun(usage: Usage, memory_mb: int, storage_mb: int) -> tuple[str, str] | None:
    """Why an environment with this usage must be killed: a reason word and a sentence. Pure."""
    if usage.memory_kb > memory_mb * 1024:
        used = usage.memory_kb // 1024
        return "memory", f"memory limit of {memory_mb} MB exceeded ({used} MB in use)"
    if usage.storage_bytes is not None and usage.storage_bytes > storage_mb * MEGABYTE:
        used = usage.storage_bytes // MEGABYTE
        return "storage", f"ephemeral storage limit of {storage_mb} MB exceeded ({used} MB in /tmp)"
    if usage.processes > MAX_PROCESSES:
        return "error", f"limit of {MAX_PROCESSES} processes exceeded"
    return None


def measure(subject: Subject) -> Usage:
    """Read what `subject` uses now. Blocks on file I/O; a process gone meanwhile counts nothing."""
    pids = list(_tree(subject.pid))
    memory_kb = sum(map(_resident_kb, pids))
    if memory_kb > subject.memory_mb * 1024 and len(pids) > 1:
        # forked processes share pages: only when the plain sum is too much, ask for the exact one
        memory_kb = min(memory_kb, sum(map(_proportional_kb, pids)))
    storage = None if subject.directory is None else directory_bytes(subject.directory)
    return Usage(memory_kb, len(pids), storage)


def _tree(root: int) -> Iterator[int]:
    waiting, seen = [root], {root}
    while waiting and len(seen) <= 4 * MAX_PROCESSES:
        pid = waiting.pop()
        yield pid
        fresh = [child for child in _children(pid) if child not in seen]
        seen.update(fresh)
        waiting.extend(fresh)


def _children(pid: int) -> Iterator[int]:
    for task in _list(f"/proc/{pid}/task"):
        yield from map(int, _read(f"/proc/{pid}/task/{task}/children").split())


def _resident_kb(pid: int) -> int:
    words = _read(f"/proc/{pid}/statm").split()
    return int(words[1]) * _PAGE_KB if words else 0


def _proportional_kb(pid: int) -> int:
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return _resident_kb(pid)


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _list(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def directory_bytes(root: Path) -> int:
    """Disk space taken by the files below `root`. Blocks on file I/O."""
    total, waiting = 0, [os.fspath(root)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    total += _entry_bytes(entry)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return total


def _entry_bytes(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0


def hides_nothing(paths: Iterable[str | Path], mount_point: str = "/tmp") -> bool:
    """Whether none of `paths` (links followed) lies under `mount_point`. Blocks on file I/O."""
    covered = os.path.realpath(mount_point)
    return not any(
        os.path.commonpath((covered, os.path.realpath(path))) == covered for path in paths
    )


def named_places(values: Iterable[str], mount_point: str = "/tmp") -> list[str]:
    """Of configured texts, the paths under `mount_point` that begin in a directory of the host.

    `/tmp/mine/in` is one where `/tmp/mine` exists; `/tmp` itself and `/tmp/cache` to be made by
    the handler are not. Blocks on file I/O.
    """
    found = []
    for value in values:
        first = value.removeprefix(f"{mount_point}/").partition("/")[0]
        if value.startswith(f"{mount_point}/") and os.path.lexists(f"{mount_point}/{first}"):
            found.append(value)
    return found
