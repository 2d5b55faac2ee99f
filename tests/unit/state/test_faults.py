from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from eventmesh.errors import StateCorrupt, StateError, StateFull
from eventmesh.state.faults import explain, explain_os, is_fsync_failure, is_storage_fault

FILE = Path("/s/state.sqlite3")


def fail(code: int, name: str = "SQLITE_X") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (sqlite3.SQLITE_FULL, StateFull, "Free some disk space"),
        (sqlite3.SQLITE_IOERR_WRITE, StateFull, "nothing of this write was stored"),
        (sqlite3.SQLITE_READONLY, StateFull, "file system writable"),
        (sqlite3.SQLITE_CANTOPEN, StateFull, "takes no more writes"),
        (sqlite3.SQLITE_CORRUPT, StateCorrupt, "Restore state.sqlite3 from a backup"),
        (sqlite3.SQLITE_NOTADB, StateCorrupt, "state.sqlite3-wal"),
        (sqlite3.SQLITE_BUSY, StateError, "locked by another process"),
    ],
)
def test_a_fault_says_what_to_do(code: int, kind: type[StateError], text: str) -> None:
    error = fail(code)
    explained = explain(error, FILE)
    assert type(explained) is kind
    assert str(explained).startswith("/s/state.sqlite3 ")
    assert text in str(explained)
    assert is_storage_fault(error)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_ERROR])
def test_other_errors_keep_sqlites_words(code: int) -> None:
    explained = explain(fail(code, "SQLITE_Y"), FILE)
    assert type(explained) is StateError
    assert str(explained) == "/s/state.sqlite3: SQLITE_Y: it failed"


def test_the_systems_errors_are_explained_too() -> None:
    full = explain_os(OSError(errno.ENOSPC, "No space left on device"), FILE)
    assert type(full) is StateFull
    assert "takes no more writes (No space left on device)" in str(full)
    other = explain_os(PermissionError(errno.EACCES, "Permission denied"), FILE)
    assert type(other) is StateError
    assert str(other) == "/s/state.sqlite3 cannot be used: Permission denied"


def test_an_error_of_the_module_itself_is_no_storage_fault() -> None:
    error = sqlite3.InterfaceError("bad parameter")
    assert not is_storage_fault(error)
    assert str(explain(error, FILE)) == "/s/state.sqlite3: InterfaceError: bad parameter"
    assert not is_storage_fault(ValueError())


def test_only_a_failed_fsync_is_one() -> None:
    assert is_fsync_failure(fail(sqlite3.SQLITE_IOERR_FSYNC))
    assert not is_fsync_failure(fail(sqlite3.SQLITE_IOERR_WRITE))
    assert not is_fsync_failure(OSError())
