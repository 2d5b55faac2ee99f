"""What SQLite's errors mean to eventmesh: full, damaged, busy or just failed."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from eventmesh.errors import StateCorrupt, StateError, StateFull

_PRIMARY = 0xFF
_FULL = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    # EFBIG, EROFS and EDQUOT come as a failed write, not as SQLITE_FULL
    sqlite3.SQLITE_IOERR,
    # the log or its index could not be created again
    sqlite3.SQLITE_CANTOPEN,
}
_FULL_OS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FSYNC = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_READ = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_FSTAT}


def is_storage_fault(error: BaseException) -> bool:
    """Whether the file or the disk is at fault: then every write of the group fails alike."""
    return _code(error) & _PRIMARY in _FULL | _CORRUPT | _BUSY


def is_fsync_failure(error: BaseException) -> bool:
    """Whether the kernel could not write out what it had taken. It forgets such pages, so nothing
    after it on this file may be called durable."""
    return _code(error) in _FSYNC


def explain(error: sqlite3.Error, file: Path) -> StateError:
    """The eventmesh error for SQLite's, naming the file and what to do."""
    code = _code(error)
    primary = code & _PRIMARY
    if primary in _CORRUPT:
        return corrupt(file, str(error))
    if code in _FSYNC:
        return unsynced(file)
    if code not in _READ and primary in _FULL:
        return _full(file, f"{_name(error)}: {error}")
    if primary in _BUSY:
        return StateError(
            f"{file} is locked by another process that has been writing to it for too long "
            "(a `sqlite3` shell or a backup?); close it and try again"
        )
    return StateError(f"{file}: {_name(error)}: {error}")


def explain_os(error: OSError, file: Path) -> StateError:
    """The eventmesh error for the system's, met beside SQLite."""
    reason = error.strerror or str(error)
    if error.errno in _FULL_OS:
        return _full(file, reason)
    return StateError(f"{file} cannot be used: {reason}")


def _full(file: Path, reason: str) -> StateFull:
    return StateFull(
        f"{file} takes no more writes ({reason}); nothing of this write was stored. Free some disk "
        "space or make the file system writable; eventmesh goes on by itself then"
    )


def unsynced(file: Path) -> StateError:
    """The error for a file that cannot be trusted to keep what it takes."""
    return StateError(
        f"the disk failed to keep what was written to {file} (fsync); eventmesh writes nothing "
        "more to it until it is started again. Check the disk (`dmesg`)"
    )


def corrupt(file: Path, finding: str) -> StateCorrupt:
    """The error for a damaged file: never opened further, never replaced by an empty one."""
    return StateCorrupt(
        f"{file} is damaged ({finding}). Restore {file.name} from a backup, or rescue what can be "
        f"read with `sqlite3 {file} .recover`, or move {file.name}, {file.name}-wal and "
        f"{file.name}-shm away to start empty (queued events and positions are lost then)"
    )


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) if isinstance(error, sqlite3.Error) else 0


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)
