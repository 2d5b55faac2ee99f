"""Checkpoints as rows: one a shard, holding its lease and its position. Plain functions on a
connection.

A row is never deleted, so its epoch is never used twice. `expires_at` is 0 once released.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from eventmesh.state.contract import Checkpoint, Delivery, Lease
from eventmesh.state.delivery_rows import insert_deliveries

_LOAD = """SELECT shard, position, state, finished, owner, epoch, expires_at, saved_at
    FROM checkpoints WHERE scope = ? ORDER BY shard"""
_ACQUIRE = """INSERT INTO checkpoints
    (scope, shard, owner, epoch, expires_at, saved_at, finished, position, state)
    VALUES (?, ?, ?, 1, ?, 0, 0, '', '')
    ON CONFLICT (scope, shard) DO UPDATE
    SET owner = excluded.owner, epoch = epoch + 1, expires_at = excluded.expires_at
    WHERE expires_at <= ? OR owner = excluded.owner
    RETURNING epoch, position, state, finished"""
#: the fence: what was claimed by another, or released, is not ours any more (I5)
_HELD = "scope = ? AND shard = ? AND owner = ? AND epoch = ? AND expires_at > 0"
_RENEW = f"UPDATE checkpoints SET expires_at = ? WHERE {_HELD}"
_SAVE = f"""UPDATE checkpoints SET position = ?, state = ?, finished = ?, saved_at = ?
    WHERE {_HELD}"""


def load_checkpoints(connection: sqlite3.Connection, scope: str) -> list[Checkpoint]:
    """All shards of a mapping, by name."""
    rows = connection.execute(_LOAD, (scope,)).fetchall()
    return [
        Checkpoint(shard, position, state, bool(finished), *rest)
        for shard, position, state, finished, *rest in rows
    ]


def acquire_lease(
    connection: sqlite3.Connection, scope: str, shard: str, owner: str, now: float, until: float
) -> Lease | None:
    """Take the shard until `until`; None while another holds it `now`."""
    rows = connection.execute(_ACQUIRE, (scope, shard, owner, until, now)).fetchall()
    if not rows:
        return None
    ((epoch, position, state, finished),) = rows
    return Lease(scope, shard, owner, epoch, position, state, bool(finished))


def renew_lease(connection: sqlite3.Connection, lease: Lease, until: float) -> bool:
    """Hold it until `until`, 0 to release; False when it was lost."""
    return connection.execute(_RENEW, (until, *_key_of(lease))).rowcount == 1


def save_lease(
    connection: sqlite3.Connection, lease: Lease, deliveries: Sequence[Delivery], now: float
) -> bool:
    """Store where the lease stands and its deliveries, or nothing and False when it was lost."""
    values = (lease.position, lease.state, lease.finished, now, *_key_of(lease))
    if connection.execute(_SAVE, values).rowcount == 0:
        return False
    if deliveries:
        insert_deliveries(connection, deliveries)
    return True


def _key_of(lease: Lease) -> tuple[str, str, str, int]:
    return lease.scope, lease.shard, lease.owner, lease.epoch
