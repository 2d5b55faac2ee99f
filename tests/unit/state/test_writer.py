"""Groups: their size, their durability, and that one bad write does not harm its neighbours."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from eventmesh.errors import StateCorrupt, StateError, StateFull
from eventmesh.state import schema, writer
from eventmesh.state.writer import GroupWriter, Write
from eventmesh.testing.store_contract import make_event


class Desk:
    """A writer on a small database, and the statements it ran."""

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        self.connection = connection
        self.statements: list[str] = []
        self.connection.set_trace_callback(self.statements.append)
        self.released = 0
        self.loop = asyncio.get_running_loop()
        self.writer = GroupWriter(self.connection, file, self.loop, self.release)

    def release(self) -> None:
        self.released += 1
        self.connection.close()

    def write(
        self, work: Callable[[sqlite3.Connection], Any] | None = None, **fields: Any
    ) -> asyncio.Future[Any]:
        write = Write(work, self.loop.create_future(), **fields)
        self.writer.submit(write)
        return write.future

    def ran(self, statement: str) -> int:
        return self.statements.count(statement)


def connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    schema.migrate(connection, file)
    return connection


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    file = tmp_path / "state.sqlite3"
    desk = Desk(await asyncio.to_thread(connect, file), file)
    yield desk
    if not desk.released:
        await desk.writer.stop()


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])


def fail(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM events")
    raise ValueError("mine alone")


def fail_with(code: int) -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("the disk says no")
        error.sqlite_errorcode = code
        raise error

    return work


async def test_one_turn_of_the_loop_is_one_transaction(desk: Desk) -> None:
    writes = [desk.write(events=[make_event()]) for _ in range(300)]
    last = desk.write(count)
    assert await asyncio.gather(*writes) == [None] * 300
    assert await last == 300
    assert (desk.ran("BEGIN IMMEDIATE"), desk.ran("COMMIT")) == (1, 1)


async def test_a_group_has_a_bounded_number_of_writes(desk: Desk) -> None:
    order: list[int] = []
    for number in range(2500):
        desk.write(lambda _, number=number: order.append(number))
    await desk.write()
    assert desk.ran("COMMIT") == 3
    assert order == list(range(2500))


async def test_a_group_has_a_bounded_size(desk: Desk) -> None:
    for _ in range(6):
        desk.write(size=writer.GROUP_BYTES // 2)
    await desk.write(size=10 * writer.GROUP_BYTES)
    await desk.write()
    assert desk.ran("COMMIT") == 5


async def test_one_synced_write_makes_its_group_synced(desk: Desk) -> None:
    # the pragma acts when compiled: a text of its own each time, or an old answer is read
    texts = (f"PRAGMA synchronous -- {number}" for number in itertools.count())

    def level(connection: sqlite3.Connection) -> int:
        return int(connection.execute(next(texts)).fetchone()[0])

    normal, full = 1, 2
    for _ in range(3):
        assert await desk.write(level) == normal
        desk.write()
        desk.write(synced=True)
        assert await desk.write(level) == full
        assert await desk.write(level, synced=True) == full


async def test_a_wrong_write_fails_alone(desk: Desk) -> None:
    first = desk.write(events=[make_event("a"), make_event("b")])
    wrong = desk.write(fail, events=[make_event("c")])
    unfit = desk.write(events=[make_event("d"), make_event("e", payload=object())])
    last = desk.write(count)
    assert await first is None
    with pytest.raises(ValueError, match="mine alone"):
        await wrong
    with pytest.raises(StateError, match="payload|parameter|type"):
        await unfit
    assert await last == 2
    assert await desk.write(count) == 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StateFull),
        (sqlite3.SQLITE_IOERR_WRITE, StateFull),
        (sqlite3.SQLITE_CORRUPT, StateCorrupt),
        (sqlite3.SQLITE_BUSY, StateError),
    ],
)
async def test_a_fault_of_the_disk_fails_the_group_and_no_other(
    desk: Desk, code: int, kind: type[StateError]
) -> None:
    group = [
        desk.write(events=[make_event("a")]),
        desk.write(fail_with(code), events=[make_event("b")]),
        desk.write(count, synced=True),
    ]
    errors = await asyncio.gather(*group, return_exceptions=True)
    assert [type(error) for error in errors] == [kind] * 3
    # each its own, so that their tracebacks do not grow into each other
    assert len({id(error) for error in errors}) == 3
    assert await desk.write(count) == 0
    await desk.write(events=[make_event("c")], synced=True)
    assert await desk.write(count) == 1


async def test_a_disk_turned_read_only_refuses_until_it_is_not(desk: Desk) -> None:
    await asyncio.to_thread(desk.connection.execute, "PRAGMA query_only = ON")
    with pytest.raises(StateFull, match="make the file system writable"):
        await desk.write(events=[make_event("a")], synced=True)
    await asyncio.to_thread(desk.connection.execute, "PRAGMA query_only = OFF")
    await desk.write(events=[make_event("b")], synced=True)
    assert await desk.write(count) == 1


async def test_after_a_failed_fsync_nothing_is_called_stored_any_more(desk: Desk) -> None:
    first = desk.write(fail_with(sqlite3.SQLITE_IOERR_FSYNC))
    second = desk.write(events=[make_event()])
    for write in (first, second):
        with pytest.raises(StateError, match=r"\(fsync\).*until it is started again"):
            await write
    with pytest.raises(StateError, match=r"\(fsync\)"):
        await desk.write(count)
    assert desk.ran("COMMIT") == 0


async def test_a_result_nobody_waits_for_is_handed_back(desk: Desk) -> None:
    lost: list[Any] = []
    cancelled = desk.write(lambda _: "mine", abandoned=lost.append)
    failed = desk.write(fail, abandoned=lost.append)
    waiting = desk.write(lambda _: "taken", abandoned=lost.append)
    cancelled.cancel()
    failed.cancel()
    assert await waiting == "taken"
    await desk.write()
    assert lost == ["mine"]


async def test_stopping_commits_what_was_submitted(desk: Desk) -> None:
    writes = [desk.write(events=[make_event()]) for _ in range(10)]
    last = desk.write(count)
    await desk.writer.stop()
    assert (await last, desk.released, [write.done() for write in writes]) == (10, 1, [True] * 10)


def test_a_loop_closed_early_lets_the_file_go(tmp_path: Path) -> None:
    connection = connect(tmp_path / "state.sqlite3")

    async def forget() -> Desk:
        desk = Desk(connection, tmp_path / "state.sqlite3")
        await desk.write(events=[make_event()])
        return desk

    desk = asyncio.run(forget())
    desk.writer._inbox.put([Write(None, desk.loop.create_future())])
    desk.writer._thread.join()
    assert desk.released == 1
