"""Dead letters as rows. Plain functions on a connection."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from operator import attrgetter

from eventmesh.state.contract import DeadLetter
from eventmesh.state.letters import choose_request, missing_letter
from eventmesh.state.statements import insert_rows

#: in the order of DeadLetter's fields
_COLUMNS = (
    "request_id",
    "function",
    "payload",
    "accepted_at",
    "failed_at",
    "condition",
    "attempts",
    "error_type",
    "error_message",
    "source",
    "qualifier",
    "sent_to",
    "redriven_at",
)
_NAMES = ", ".join(_COLUMNS)
_SELECT = f"SELECT {_NAMES}, id FROM dead_letters"
_NEWEST_FIRST = "ORDER BY failed_at DESC, id DESC LIMIT ?"
_row_of = attrgetter(*_COLUMNS)


def insert_letters(connection: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
    insert_rows(
        connection, f"INSERT INTO dead_letters ({_NAMES})", [_row_of(one) for one in letters]
    )


def read_letters(
    connection: sqlite3.Connection, function: str | None, limit: int
) -> list[DeadLetter]:
    """Newest first; of one function, or of all when None."""
    if function is None:
        rows = connection.execute(f"{_SELECT} {_NEWEST_FIRST}", (max(limit, 0),))
    else:
        rows = connection.execute(
            f"{_SELECT} WHERE function = ? {_NEWEST_FIRST}", (function, max(limit, 0))
        )
    return list(itertools.starmap(DeadLetter, rows.fetchall()))


def find_letter(connection: sqlite3.Connection, prefix: str) -> DeadLetter | None:
    """The newest letter of the request with this id, or with this unique prefix of one."""
    rows = connection.execute(
        "SELECT DISTINCT request_id FROM dead_letters "
        "WHERE request_id >= ? AND request_id < ? ORDER BY request_id LIMIT 3",
        (prefix, prefix + chr(0x10FFFF)),
    )
    request_id = choose_request(prefix, [request_id for (request_id,) in rows])
    row = connection.execute(
        f"{_SELECT} WHERE request_id = ? {_NEWEST_FIRST}", (request_id, 1)
    ).fetchone()
    return None if row is None else DeadLetter(*row)


def mark_redriven(
    connection: sqlite3.Connection, letters: Sequence[DeadLetter], now: float
) -> None:
    """Raises StateError when a letter was purged meanwhile."""
    for letter in letters:
        marked = connection.execute(
            "UPDATE dead_letters SET redriven_at = ? WHERE id = ?", (now, letter.id)
        )
        if marked.rowcount != 1:
            raise missing_letter(letter)


def delete_before(connection: sqlite3.Connection, before: float, limit: int) -> int:
    """Drop up to `limit` letters that failed before this time; how many."""
    return connection.execute(
        "DELETE FROM dead_letters WHERE id IN "
        "(SELECT id FROM dead_letters WHERE failed_at < ? ORDER BY failed_at LIMIT ?)",
        (before, limit),
    ).rowcount
