"""One engine per state directory: a lock the kernel drops with its holder, and a note of who holds
it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from eventmesh.errors import StateError, StateInUse

LOCK_FILE = "engine.lock"
_NOTE_LIMIT = 16 * 1024
#: `describe_holder` holds a shared lock for an instant; an engine looks again this often
_ROUNDS = 100


class EngineLock:
    """A held lock. Closed on exec, so no child process keeps it."""

    def __init__(self, descriptor: int, note: Mapping[str, Any]) -> None:
        self._descriptor = descriptor
        self._note = dict(note)
        self._write()

    def describe(self, **facts: Any) -> None:
        """Add facts to the note, such as `http="127.0.0.1:8080"` once it is known. Waits for the
        disk, raises StateError when it is full."""
        self._note.update(facts)
        self._write()

    def release(self) -> None:
        """Empty the note and give the lock back. Idempotent."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)

    def _write(self) -> None:
        text = orjson.dumps(self._note) + b"\n"
        try:
            # written over, then cut: a reader never finds it empty while the lock is held
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))
        except OSError as error:
            raise StateError(f"cannot write {LOCK_FILE}: {error.strerror}") from error


def acquire_lock(directory: Path, started_at: float, facts: Mapping[str, str]) -> EngineLock:
    """Take the directory's lock at once; `facts` (`command`, `http`) go into its note beside `pid`
    and `started_at` (epoch seconds).

    Raises StateInUse naming the holder, StateError when the file cannot be used.
    """
    path = directory / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateError(f"cannot open {path}: {error.strerror}") from error
    try:
        if not _take(descriptor):
            raise StateInUse(_in_use_text(directory, _read_note(descriptor)))
        return EngineLock(
            descriptor, {"pid": os.getpid(), "started_at": started_at, "command": "", **facts}
        )
    except BaseException:
        os.close(descriptor)
        raise


def describe_holder(directory: Path) -> dict[str, Any] | None:
    """The note of the engine that runs on this directory: `pid`, `started_at`, `command` and, once
    known, `http`. None when none runs; {} when it has only just started. Waits for the disk."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot read {directory / LOCK_FILE}: {error.strerror}") from error
    try:
        return None if _try_lock(descriptor, fcntl.LOCK_SH) else _read_note(descriptor)
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    for _ in range(_ROUNDS):
        if _try_lock(descriptor, fcntl.LOCK_EX):
            return True
        if not _try_lock(descriptor, fcntl.LOCK_SH):
            return False
    return False


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_note(descriptor: int) -> dict[str, Any]:
    try:
        note = orjson.loads(os.pread(descriptor, _NOTE_LIMIT, 0))
    except (OSError, orjson.JSONDecodeError):
        return {}
    return note if isinstance(note, dict) else {}


def _in_use_text(directory: Path, note: Mapping[str, Any]) -> str:
    who = f"process {note['pid']}" if "pid" in note else "a process that has just started"
    command = f" (`{note['command']}`)" if note.get("command") else ""
    address = f" at {note['http']}" if note.get("http") else ""
    return (
        f"another eventmesh runs on {directory}: {who}{command}{address}. "
        "Stop it first, or give this one a `state:` directory of its own"
    )
