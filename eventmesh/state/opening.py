"""Opening the state file: private, whole, of our version. Everything here waits for the disk, so
`Opening.run` is for a thread."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eventmesh.clock import Clock
from eventmesh.errors import StateError
from eventmesh.state import schema
from eventmesh.state.directory import (
    check_directory,
    make_private_file,
    prepare_directory,
    sync_directory,
)
from eventmesh.state.event_rows import free_claims
from eventmesh.state.faults import corrupt, explain, explain_os
from eventmesh.state.lock import EngineLock, acquire_lock

STATE_FILE = "state.sqlite3"
#: how long the check at the start may read: a gigabyte or more from a common disk
CHECK_SECONDS = 2.0

_MAGIC = b"SQLite format 3\0"
#: how long a write waits for another process's, such as the `dlq` command's
_BUSY_SECONDS = 10.0
#: pages the log may grow by before it is folded back: 16 MB
_CHECKPOINT_PAGES = 4000
_LOG_BYTES = 64 * 1024 * 1024
#: pages kept in memory by the writing connection: 16 MB
_CACHE_KIB = 16 * 1024
_STATEMENTS = 512


@dataclass(slots=True)
class Opened:
    file: Path
    writing: sqlite3.Connection
    reading: sqlite3.Connection
    lock: EngineLock | None
    data_version: int

    def close_writing(self) -> None:
        """The last connection folds the log back into the file; then the directory is free."""
        with contextlib.suppress(sqlite3.Error):
            self.writing.close()
        if self.lock is not None:
            self.lock.release()

    def close(self) -> None:
        self.reading.close()
        self.close_writing()


class Opening:
    """The blocking steps of `open_sqlite`; `run` is for a thread."""

    def __init__(
        self, directory: Path, now: float, exclusive: bool, owner: Mapping[str, str]
    ) -> None:
        self._directory = directory
        self._now = now
        self._exclusive = exclusive
        self._owner = owner
        self._checking: sqlite3.Connection | None = None

    async def limit_check(self, clock: Clock) -> None:
        """Interrupt the check of a very large file."""
        await clock.sleep(CHECK_SECONDS)
        if self._checking is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):
                self._checking.interrupt()

    def run(self) -> Opened:
        if not self._exclusive:
            directory = check_directory(self._directory)
            file = directory / STATE_FILE
            return _open_connections(file, open_shared_file(file), None)
        directory = prepare_directory(self._directory)
        lock = acquire_lock(directory, self._now, self._owner)
        try:
            file = directory / STATE_FILE
            return _open_connections(file, open_engine_file(file, self._watch), lock)
        except BaseException:
            lock.release()
            raise

    def _watch(self, connection: sqlite3.Connection) -> None:
        self._checking = connection


def open_engine_file(
    file: Path, watch_check: Callable[[sqlite3.Connection], None]
) -> sqlite3.Connection:
    """Open for the engine: make the file where there is none, check it, migrate it, free the claims
    of the engine before. `watch_check` gets the checking connection, to interrupt it.

    Raises StateCorrupt, StateFull or StateError.
    """
    with _explained(file):
        if not file.exists():
            _make_file(file)
        make_private_file(file)
    # a connection of its own: an interrupt that comes late hits nothing else
    checking = _connect(file)
    with contextlib.closing(checking), _explained(file):
        watch_check(checking)
        _check(checking, file)
    connection = _connect(file)
    with _closed_on_error(connection), _explained(file):
        _set_up(connection, file)
        schema.migrate(connection, file)
        free_claims(connection)
        # whatever the engine before wrote unsynced is on the disk from here on
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return connection


def _make_file(file: Path) -> None:
    """A new file appears under its name with its tables in it, so an empty one is always damage."""
    log = file.with_name(f"{file.name}-wal")
    if log.exists() and log.stat().st_size:
        raise corrupt(file, f"it is gone, but its log {log.name} is there")
    new = file.with_name(f"{file.name}.new")
    for leftover in (new, new.with_name(f"{new.name}-journal"), log):
        leftover.unlink(missing_ok=True)
    make_private_file(new)
    with contextlib.closing(_connect(new)) as connection:
        schema.migrate(connection, new)
    os.rename(new, file)
    sync_directory(file.parent)


def open_shared_file(file: Path) -> sqlite3.Connection:
    """Open beside an engine that may be running: nothing is made, migrated or freed.

    Raises StateError when there is none, or it is of another version.
    """
    if not file.exists():
        raise StateError(f"no state at {file}; `eventmesh run` makes it")
    connection = _connect(file)
    with _closed_on_error(connection), _explained(file):
        version = schema.read_version(connection, file)
        schema.refuse_newer(version, file)
        schema.refuse_older(version, file)
        _set_up(connection, file)
    return connection


def open_reader(file: Path) -> sqlite3.Connection:
    """A second connection for reads, so that they never wait for a commit."""
    connection = _connect(file)
    with _closed_on_error(connection), _explained(file):
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
    return connection


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, file) from error
    except OSError as error:
        raise explain_os(error, file) from error


@contextlib.contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _connect(file: Path) -> sqlite3.Connection:
    with _explained(file):
        return sqlite3.connect(
            file,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )


def _check(connection: sqlite3.Connection, file: Path) -> None:
    """Read every page, or as many as there is time for until interrupted: what was read by then was
    whole, and SQLite checks each page again when it uses it."""
    # SQLite itself takes a file of 0 or 1 bytes for a new database
    with file.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise corrupt(file, "it does not begin as a SQLite file does")
    try:
        findings = [text for (text,) in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return
        raise
    if findings != ["ok"]:
        raise corrupt(file, "; ".join(findings))


def _set_up(connection: sqlite3.Connection, file: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StateError(f"{file} cannot use a write-ahead log on this file system ({mode})")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}").fetchall()
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}").fetchall()
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")


def _open_connections(file: Path, writing: sqlite3.Connection, lock: EngineLock | None) -> Opened:
    with _closed_on_error(writing):
        return Opened(file, writing, open_reader(file), lock, read_data_version(writing))


def read_data_version(connection: sqlite3.Connection) -> int:
    """A number that differs from the last one where another connection committed in between."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
