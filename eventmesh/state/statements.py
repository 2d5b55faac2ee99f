"""One statement for many rows: every step of a statement gives Python's lock away, and a busy event
loop is slow to hand it back."""

from __future__ import annotations

import functools
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

#: rows a statement; each count below it is a text of its own in the connection's statement cache
_ROWS = 50

T = TypeVar("T")


def insert_rows(
    connection: sqlite3.Connection, head: str, rows: Sequence[Sequence[Any]], tail: str = ""
) -> None:
    """Run `head` (`INSERT INTO t (a, b)`), VALUES for all rows, `tail` (`ON CONFLICT ...`)."""
    for chunk in _chunks(rows):
        text = _insert_text(head, len(chunk), len(chunk[0]), tail)
        connection.execute(text, tuple(itertools.chain.from_iterable(chunk)))


def run_for_keys(
    connection: sqlite3.Connection, head: str, keys: Sequence[Any], *leading: Any
) -> int:
    """Run `head` (which ends in `id IN` or the like) for all keys, `leading` bound before them;
    the number of rows it hit."""
    return sum(
        connection.execute(_keys_text(head, len(chunk)), (*leading, *chunk)).rowcount
        for chunk in _chunks(keys)
    )


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _ROWS):
        yield items[start : start + _ROWS]


@functools.cache
def _insert_text(head: str, rows: int, width: int, tail: str) -> str:
    row = f"({', '.join('?' * width)})"
    return f"{head} VALUES {', '.join([row] * rows)} {tail}"


@functools.cache
def _keys_text(head: str, keys: int) -> str:
    return f"{head} ({', '.join('?' * keys)})"
