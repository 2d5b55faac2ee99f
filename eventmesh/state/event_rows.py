"""Events and positions as rows. Plain functions on a connection; transactions are the caller's."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from operator import attrgetter, itemgetter

from eventmesh.state import dead_letter_rows, delivery_rows
from eventmesh.state.contract import Finished, PositionChanges, Postponed, QueuedEvent
from eventmesh.state.invariants import check_settled
from eventmesh.state.statements import insert_rows, run_for_keys

#: in the order of QueuedEvent's fields, so that a row is its arguments
_COLUMNS = (
    "request_id",
    "function",
    "payload",
    "accepted_at",
    "due_at",
    "qualifier",
    "source",
    "attempts",
    "postponements",
    "crashes",
    "client_context",
    "trace_id",
)
_NAMES = ", ".join(_COLUMNS)
#: RETURNING gives whole REALs as integers; adding 0.0 makes them floats again
_RETURNED = _NAMES.replace("_at", "_at + 0.0")
_INSERT = f"INSERT INTO events ({_NAMES})"
_CLAIM = f"""UPDATE events SET claimed = 1 WHERE id IN (
    SELECT id FROM events WHERE claimed = 0 AND function = ? AND due_at <= ?
    ORDER BY due_at, id LIMIT ?
) RETURNING {_RETURNED}, id"""
_POSTPONE = """UPDATE events
    SET claimed = 0, due_at = ?, attempts = ?, postponements = ?, crashes = ?
    WHERE claimed = 1 AND id = ?"""
_COUNT = """SELECT function, count(*) FROM events WHERE claimed = 0 GROUP BY function
    UNION ALL SELECT function, count(*) FROM events WHERE claimed = 1 GROUP BY function"""

_row_of = attrgetter(*_COLUMNS)
_due_order = itemgetter(_COLUMNS.index("due_at"), len(_COLUMNS))
_postponed_row = attrgetter("due_at", "attempts", "postponements", "crashes", "id")


def insert_events(connection: sqlite3.Connection, events: Sequence[QueuedEvent]) -> None:
    """Store the events unclaimed, ids rising in their order."""
    insert_rows(connection, _INSERT, [_row_of(event) for event in events])


def claim_events(
    connection: sqlite3.Connection, function: str, limit: int, now: float
) -> list[QueuedEvent]:
    """Mark due events as claimed and return them, oldest due first, oldest id among equals."""
    rows = connection.execute(_CLAIM, (function, now, max(limit, 0))).fetchall()
    # RETURNING promises no order
    rows.sort(key=_due_order)
    return list(itertools.starmap(QueuedEvent, rows))


def release_events(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Undo a claim whose caller went away."""
    run_for_keys(connection, "UPDATE events SET claimed = 0 WHERE claimed = 1 AND id IN", ids)


def free_claims(connection: sqlite3.Connection) -> int:
    """Free what an engine that ended had claimed, counting one crash on each; how many."""
    return connection.execute(
        "UPDATE events SET claimed = 0, crashes = crashes + 1 WHERE claimed = 1"
    ).rowcount


def settle_events(
    connection: sqlite3.Connection, settlements: Sequence[Finished | Postponed]
) -> None:
    """Apply outcomes. Raises InvariantBroken when one of the events is not claimed."""
    finished = [one for one in settlements if isinstance(one, Finished)]
    hit = run_for_keys(
        connection,
        "DELETE FROM events WHERE claimed = 1 AND id IN",
        [one.event.id for one in finished],
    )
    for one in settlements:
        if isinstance(one, Postponed):
            hit += connection.execute(_POSTPONE, _postponed_row(one.event)).rowcount
    check_settled(settlements, hit)
    delivery_rows.insert_deliveries(
        connection, [delivery for one in finished for delivery in one.deliveries]
    )
    dead_letter_rows.insert_letters(
        connection, [one.dead_letter for one in finished if one.dead_letter is not None]
    )


def find_next_due(connection: sqlite3.Connection, function: str) -> float | None:
    row = connection.execute(
        "SELECT due_at FROM events WHERE claimed = 0 AND function = ? ORDER BY due_at LIMIT 1",
        (function,),
    ).fetchone()
    return None if row is None else float(row[0])


def count_events(connection: sqlite3.Connection) -> dict[str, int]:
    """Events by function, claimed or not; a function without any is not named."""
    counts: dict[str, int] = {}
    for function, count in connection.execute(_COUNT):
        counts[function] = counts.get(function, 0) + count
    return counts


def change_positions(connection: sqlite3.Connection, changes: PositionChanges) -> None:
    scope, positions = changes.scope, changes.positions
    insert_rows(
        connection,
        "INSERT INTO positions (scope, key, position)",
        [(scope, key, position) for key, position in positions.items() if position is not None],
        "ON CONFLICT (scope, key) DO UPDATE SET position = excluded.position",
    )
    run_for_keys(
        connection,
        "DELETE FROM positions WHERE scope = ? AND key IN",
        [key for key, position in positions.items() if position is None],
        scope,
    )


def load_positions(connection: sqlite3.Connection, scope: str) -> dict[str, str]:
    rows = connection.execute("SELECT key, position FROM positions WHERE scope = ?", (scope,))
    return dict(rows.fetchall())
