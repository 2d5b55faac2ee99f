"""What the pipeline remembers of each thumbnail: one row in a database file beside them."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

THUMBS = Path(os.environ["THUMBS"])


def _connect() -> sqlite3.Connection:
    THUMBS.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(THUMBS / "metadata.db", timeout=30)
    connection.execute(
        "create table if not exists thumbs "
        "(name text primary key, source text, width integer, height integer, bytes integer)"
    )
    return connection


def remember(name: str, source: str, size: tuple[int, int], length: int) -> None:
    with closing(_connect()) as connection, connection:
        connection.execute(
            "insert or replace into thumbs values (?, ?, ?, ?, ?)", (name, source, *size, length)
        )


def all_thumbs() -> list[dict]:
    with closing(_connect()) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("select * from thumbs order by name")]
