"""The tables, and the way forward from every older version of them.

A new version is a tuple of statements appended to MIGRATIONS; what is there is never edited.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from eventmesh.errors import StateError

_VERSION_1 = (
    "CREATE TABLE schema (version INTEGER NOT NULL)",
    "INSERT INTO schema VALUES (0)",
    # AUTOINCREMENT: an id is never used twice, so a late second settlement cannot hit another event
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        claimed INTEGER NOT NULL DEFAULT 0,
        function TEXT NOT NULL,
        due_at REAL NOT NULL,
        accepted_at REAL NOT NULL,
        request_id TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        source TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        postponements INTEGER NOT NULL,
        crashes INTEGER NOT NULL,
        client_context TEXT,
        trace_id TEXT,
        payload BLOB NOT NULL
    )""",
    # one index serves claim, next_due, backlog and freeing claims at start; the id is its suffix
    "CREATE INDEX events_due ON events (claimed, function, due_at)",
    """CREATE TABLE positions (
        scope TEXT NOT NULL,
        key TEXT NOT NULL,
        position TEXT NOT NULL,
        PRIMARY KEY (scope, key)
    ) WITHOUT ROWID""",
    """CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        due_at REAL NOT NULL,
        delivery_id TEXT NOT NULL,
        function TEXT NOT NULL,
        destination TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        attributes TEXT NOT NULL,
        payload BLOB NOT NULL
    )""",
    "CREATE INDEX deliveries_due ON deliveries (due_at)",
    """CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id TEXT NOT NULL,
        function TEXT NOT NULL,
        accepted_at REAL NOT NULL,
        failed_at REAL NOT NULL,
        condition TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        error_type TEXT NOT NULL,
        error_message TEXT NOT NULL,
        source TEXT NOT NULL,
        qualifier TEXT NOT NULL,
        sent_to TEXT NOT NULL,
        redriven_at REAL,
        payload BLOB NOT NULL
    )""",
    "CREATE INDEX dead_letters_failed ON dead_letters (failed_at)",
    "CREATE INDEX dead_letters_function ON dead_letters (function, failed_at)",
    "CREATE INDEX dead_letters_request ON dead_letters (request_id)",
)

_VERSION_2 = (
    # with a rowid: a tumbling window's `state` may be as large as a megabyte
    """CREATE TABLE checkpoints (
        scope TEXT NOT NULL,
        shard TEXT NOT NULL,
        owner TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        expires_at REAL NOT NULL,
        saved_at REAL NOT NULL,
        finished INTEGER NOT NULL,
        position TEXT NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (scope, shard)
    )""",
)

MIGRATIONS: tuple[Sequence[str], ...] = (_VERSION_1, _VERSION_2)


def read_version(connection: sqlite3.Connection, file: Path) -> int:
    """The schema version of an open database, 0 when it is empty. Waits for the disk.

    Raises StateError when the database is someone else's.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if not tables:
        return 0
    if "schema" not in tables or "events" not in tables:
        raise StateError(
            f"{file} is a SQLite database, but not eventmesh's; "
            "choose another `state:` directory or move the file away"
        )
    (version,) = connection.execute("SELECT version FROM schema").fetchone()
    return int(version)


def migrate(
    connection: sqlite3.Connection,
    file: Path,
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
) -> None:
    """Bring the tables to the newest version, all in one transaction. Waits for the disk.

    Raises StateError when the file was written by a newer eventmesh; then nothing was touched.
    """
    version = read_version(connection, file)
    refuse_newer(version, file, len(migrations))
    if version == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute("UPDATE schema SET version = ?", (len(migrations),))
        connection.execute("COMMIT")
    except BaseException:
        # a full disk has rolled back already
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def refuse_newer(version: int, file: Path, known: int = len(MIGRATIONS)) -> None:
    """Raise StateError when `version` is above the newest `known` one."""
    if version > known:
        raise StateError(
            f"{file} has schema version {version}, written by a newer eventmesh; this one knows "
            f"versions up to {known}. Upgrade eventmesh, or restore a backup from before the "
            "upgrade (a downgrade cannot read the newer file)"
        )


def refuse_older(version: int, file: Path) -> None:
    """Raise StateError when `version` is below the newest: only an engine migrates."""
    if version < len(MIGRATIONS):
        raise StateError(
            f"{file} has schema version {version}; this eventmesh needs {len(MIGRATIONS)}. "
            "Run `eventmesh run` once, which upgrades the file"
        )
