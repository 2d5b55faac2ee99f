from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.state.statements import insert_rows, run_for_keys


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (a PRIMARY KEY, b)")
    yield connection
    connection.close()


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 100, 101, 1000])
def test_all_rows_are_stored_in_order(connection: sqlite3.Connection, count: int) -> None:
    rows = [(number, str(number)) for number in range(count)]
    insert_rows(connection, "INSERT INTO t (a, b)", rows)
    assert connection.execute("SELECT a, b FROM t ORDER BY rowid").fetchall() == rows


def test_the_tail_says_what_to_do_with_known_rows(connection: sqlite3.Connection) -> None:
    insert_rows(connection, "INSERT INTO t (a, b)", [(1, "x"), (2, "x")])
    tail = "ON CONFLICT (a) DO UPDATE SET b = excluded.b"
    insert_rows(connection, "INSERT INTO t (a, b)", [(2, "y"), (3, "y")], tail)
    rows = connection.execute("SELECT a, b FROM t ORDER BY a").fetchall()
    assert rows == [(1, "x"), (2, "y"), (3, "y")]


@given(known=st.sets(st.integers(0, 200)), asked=st.lists(st.integers(0, 200), unique=True))
def test_keys_hit_are_counted(known: set[int], asked: list[int]) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (a PRIMARY KEY, b)")
    insert_rows(connection, "INSERT INTO t (a, b)", [(number, 1) for number in sorted(known)])
    assert run_for_keys(connection, "DELETE FROM t WHERE b = ? AND a IN", asked, 2) == 0
    hit = run_for_keys(connection, "DELETE FROM t WHERE b = ? AND a IN", asked, 1)
    assert hit == len(known & set(asked))
    left = {number for (number,) in connection.execute("SELECT a FROM t")}
    assert left == known - set(asked)
    connection.close()
