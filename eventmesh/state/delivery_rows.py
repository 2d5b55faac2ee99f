"""Deliveries as rows: the outbox. Plain functions on a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from eventmesh.state.contract import Delivery
from eventmesh.state.statements import insert_rows

#: in the order of Delivery's fields
_NAMES = "delivery_id, function, destination, payload, attributes, due_at, attempts"


def insert_deliveries(connection: sqlite3.Connection, deliveries: Sequence[Delivery]) -> None:
    insert_rows(
        connection, f"INSERT INTO deliveries ({_NAMES})", [_row_of(one) for one in deliveries]
    )


def read_pending(connection: sqlite3.Connection, limit: int) -> list[Delivery]:
    """Earliest due first, due or not."""
    rows = connection.execute(
        f"SELECT {_NAMES}, id FROM deliveries ORDER BY due_at, id LIMIT ?", (max(limit, 0),)
    )
    return [_delivery_of(row) for row in rows.fetchall()]


def delete_delivery(connection: sqlite3.Connection, delivery: Delivery) -> None:
    connection.execute("DELETE FROM deliveries WHERE id = ?", (delivery.id,))


def postpone_delivery(connection: sqlite3.Connection, delivery: Delivery) -> None:
    connection.execute(
        "UPDATE deliveries SET due_at = ?, attempts = ? WHERE id = ?",
        (delivery.due_at, delivery.attempts, delivery.id),
    )


def _row_of(delivery: Delivery) -> tuple[Any, ...]:
    return (
        delivery.delivery_id,
        delivery.function,
        delivery.destination,
        delivery.payload,
        orjson.dumps(dict(delivery.attributes)).decode(),
        delivery.due_at,
        delivery.attempts,
    )


def _delivery_of(row: tuple[Any, ...]) -> Delivery:
    delivery_id, function, destination, payload, attributes, *rest = row
    return Delivery(delivery_id, function, destination, payload, orjson.loads(attributes), *rest)
