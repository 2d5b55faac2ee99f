from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventmesh.errors import StateError
from eventmesh.state import checkpoint_rows, event_rows, schema

FILE = Path("/somewhere/state.sqlite3")
NEXT = (*schema.MIGRATIONS, ("ALTER TABLE events ADD COLUMN priority INTEGER DEFAULT 7",))
LAST = (*NEXT, ("CREATE TABLE more (x)", "INSERT INTO more SELECT id FROM events"))


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def add_event(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO events (function, due_at, accepted_at, request_id, qualifier, source,"
        " attempts, postponements, crashes, payload) VALUES ('f', 1, 1, 'r', '', '', 0, 0, 0, '')"
    )


def test_an_empty_file_gets_the_newest_version(connection: sqlite3.Connection) -> None:
    assert schema.read_version(connection, FILE) == 0
    schema.migrate(connection, FILE)
    assert schema.read_version(connection, FILE) == len(schema.MIGRATIONS)
    schema.migrate(connection, FILE)


def test_an_older_file_goes_forward_with_its_rows(connection: sqlite3.Connection) -> None:
    schema.migrate(connection, FILE)
    add_event(connection)
    schema.migrate(connection, FILE, LAST)
    assert schema.read_version(connection, FILE) == len(LAST)
    assert connection.execute("SELECT priority FROM events").fetchall() == [(7,)]
    assert connection.execute("SELECT x FROM more").fetchall() == [(1,)]


def test_the_first_version_gets_checkpoints(connection: sqlite3.Connection) -> None:
    schema.migrate(connection, FILE, schema.MIGRATIONS[:1])
    add_event(connection)
    schema.migrate(connection, FILE)
    assert event_rows.count_events(connection) == {"f": 1}
    assert checkpoint_rows.load_checkpoints(connection, "m") == []


def test_a_migration_that_fails_leaves_the_old_version(connection: sqlite3.Connection) -> None:
    schema.migrate(connection, FILE)
    with pytest.raises(sqlite3.OperationalError, match="no such table: nowhere"):
        schema.migrate(connection, FILE, (*LAST, ("DROP TABLE events", "DELETE FROM nowhere")))
    assert schema.read_version(connection, FILE) == len(schema.MIGRATIONS)
    assert event_rows.count_events(connection) == {}
    assert not connection.in_transaction


def test_a_newer_file_is_refused(connection: sqlite3.Connection) -> None:
    schema.migrate(connection, FILE, NEXT)
    with pytest.raises(StateError) as caught:
        schema.migrate(connection, FILE)
    assert str(caught.value) == (
        "/somewhere/state.sqlite3 has schema version 3, written by a newer eventmesh; this one "
        "knows versions up to 2. Upgrade eventmesh, or restore a backup from before the upgrade "
        "(a downgrade cannot read the newer file)"
    )


def test_only_an_engine_migrates(connection: sqlite3.Connection) -> None:
    schema.refuse_older(len(schema.MIGRATIONS), FILE)
    with pytest.raises(StateError, match="Run `eventmesh run` once"):
        schema.refuse_older(len(schema.MIGRATIONS) - 1, FILE)


def test_someone_elses_database_is_refused(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE bookmarks (x)")
    with pytest.raises(StateError, match="not eventmesh's"):
        schema.migrate(connection, FILE)
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("bookmarks",)]


@pytest.mark.parametrize(
    ("statement", "plan"),
    [
        (
            "SELECT id FROM events WHERE claimed = 0 AND function = ? AND due_at <= ? "
            "ORDER BY due_at, id LIMIT ?",
            "USING COVERING INDEX events_due (claimed=? AND function=? AND due_at<?)",
        ),
        (
            "SELECT due_at FROM events WHERE claimed = 0 AND function = ? ORDER BY due_at LIMIT 1",
            "USING COVERING INDEX events_due (claimed=? AND function=?)",
        ),
        (event_rows._COUNT, "USING COVERING INDEX events_due (claimed=?)"),
        (
            "UPDATE events SET claimed = 0, crashes = crashes + 1 WHERE claimed = 1",
            "USING INDEX events_due (claimed=?)",
        ),
        (
            "SELECT * FROM dead_letters WHERE function = ? ORDER BY failed_at DESC, id DESC",
            "USING INDEX dead_letters_function (function=?)",
        ),
        (checkpoint_rows._LOAD, "USING INDEX sqlite_autoindex_checkpoints_1 (scope=?)"),
        (checkpoint_rows._SAVE, "USING INDEX sqlite_autoindex_checkpoints_1 (scope=? AND shard=?)"),
        ("SELECT * FROM deliveries ORDER BY due_at, id", "USING INDEX deliveries_due"),
    ],
)
def test_no_call_reads_more_rows_than_it_needs(
    connection: sqlite3.Connection, statement: str, plan: str
) -> None:
    schema.migrate(connection, FILE)
    values = (0,) * statement.count("?")
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert any(plan in step for step in steps)
    assert not any("TEMP B-TREE" in step or step.startswith("SCAN events") for step in steps)
