"""What only the SQLite store promises: files, locks, a second process's eyes, cancelled claims."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from eventmesh.errors import StateError, StateInUse
from eventmesh.state import opening, schema
from eventmesh.state.contract import Durability, Finished, PositionChanges, Postponed
from eventmesh.state.lock import describe_holder
from eventmesh.state.opening import STATE_FILE, Opening
from eventmesh.state.sqlite import SqliteStore, open_sqlite
from eventmesh.testing import FakeClock
from eventmesh.testing.store_contract import finish, make_event, make_letter, names

NORMAL, SYNCED = Durability.NORMAL, Durability.SYNCED


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def open_engine(place: Path) -> SqliteStore:
    return await open_sqlite(place, FakeClock(), owner={"command": "eventmesh run x.yaml"})


async def test_everything_in_the_directory_is_private(place: Path) -> None:
    before = os.umask(0)
    try:
        store = await open_engine(place)
        await store.events.accept([make_event()], None, SYNCED)
        modes = await asyncio.to_thread(read_modes, place)
    finally:
        os.umask(before)
    await store.close()
    assert modes == {
        "state": 0o700,
        "engine.lock": 0o600,
        "state.sqlite3": 0o600,
        "state.sqlite3-wal": 0o600,
        "state.sqlite3-shm": 0o600,
    }
    left = await asyncio.to_thread(read_modes, place)
    assert sorted(left) == ["engine.lock", "state", "state.sqlite3"]


def read_modes(place: Path) -> dict[str, int]:
    return {one.name: stat.S_IMODE(one.stat().st_mode) for one in (place, *place.iterdir())}


async def test_a_second_engine_is_refused_until_the_first_is_gone(place: Path) -> None:
    first = await open_engine(place)
    await first.describe(http="127.0.0.1:8080")
    with pytest.raises(StateInUse, match=rf"process {os.getpid()} \(`eventmesh run x.yaml`\) at"):
        await open_engine(place)
    await first.close()
    assert await asyncio.to_thread(describe_holder, place) is None
    await (await open_engine(place)).close()


async def test_the_command_line_opens_beside_a_running_engine(place: Path) -> None:
    engine = await open_engine(place)
    await finish(engine, make_letter("abcd-1"), make_letter("abcd-2", failed_at=5.0))
    await engine.events.accept([make_event("claimed")], None, NORMAL)
    (claimed,) = await engine.events.claim("f", 1, 100.0)
    beside = await open_sqlite(place, FakeClock(), exclusive=False)
    assert await engine.changed_outside() is False

    letter = await beside.dead_letters.get("abcd-1")
    assert letter is not None
    await beside.dead_letters.redrive([letter], 1000.0)
    assert await engine.changed_outside() is True
    assert await engine.changed_outside() is False
    assert names(await engine.events.claim("f", 9, 2000.0)) == ["abcd-1"]
    assert await beside.dead_letters.purge(100.0) == 1
    assert await engine.changed_outside() is True
    assert [one.request_id for one in await engine.dead_letters.list(None, 9)] == ["abcd-1"]

    await beside.describe(http="not its lock")
    await beside.close()
    holder = await asyncio.to_thread(describe_holder, place)
    assert holder is not None
    assert "http" not in holder
    await engine.events.settle([Postponed(claimed)], NORMAL)
    assert await engine.events.claim("f", 9, 100.0) == [claimed]
    await engine.close()


async def test_both_write_at_once(place: Path) -> None:
    engine = await open_engine(place)
    beside = await open_sqlite(place, FakeClock(), exclusive=False)
    stores = (engine, beside)
    calls = [
        stores[number % 2].events.accept(
            [make_event(str(number))], PositionChanges("m", {str(number): "1"}), SYNCED
        )
        for number in range(200)
    ]
    await asyncio.gather(*calls)
    assert await engine.backlog() == {"f": 200}
    assert len(await beside.positions.load("m")) == 200
    await beside.close()
    await engine.close()


async def test_opening_beside_makes_nothing(place: Path) -> None:
    with pytest.raises(StateError, match="no state directory"):
        await open_sqlite(place, FakeClock(), exclusive=False)
    await asyncio.to_thread(place.mkdir)
    with pytest.raises(StateError, match=r"no state at .*state.sqlite3; `eventmesh run` makes it"):
        await open_sqlite(place, FakeClock(), exclusive=False)
    assert await asyncio.to_thread(os.listdir, place) == []


@pytest.mark.parametrize(("version", "text"), [(0, "Run `eventmesh run` once"), (99, "newer")])
async def test_another_version_is_refused_and_left_alone(
    place: Path, version: int, text: str
) -> None:
    store = await open_engine(place)
    await store.events.accept([make_event()], None, SYNCED)
    await store.close()
    await asyncio.to_thread(set_version, place, version)
    with pytest.raises(StateError, match=text):
        await open_sqlite(place, FakeClock(), exclusive=False)
    if version > len(schema.MIGRATIONS):
        with pytest.raises(StateError, match="a downgrade cannot read the newer file"):
            await open_engine(place)
        await asyncio.to_thread(set_version, place, len(schema.MIGRATIONS))
        store = await open_engine(place)
        assert await store.backlog() == {"f": 1}
        await store.close()


def set_version(place: Path, version: int) -> None:
    connection = sqlite3.connect(place / STATE_FILE)
    connection.execute("UPDATE schema SET version = ?", (version,))
    connection.commit()
    connection.close()


async def test_a_claim_cancelled_while_written_is_undone(place: Path) -> None:
    store = await open_engine(place)
    await store.events.accept([make_event("a"), make_event("b")], None, NORMAL)
    claim = asyncio.ensure_future(store.events.claim("f", 2, 100.0))
    await asyncio.sleep(0)
    claim.cancel()
    await store.events.accept([], None, NORMAL)
    assert claim.cancelled()
    assert names(await store.events.claim("f", 2, 100.0)) == ["a", "b"]
    await store.close()


async def test_a_claim_cancelled_when_already_answered_is_undone(place: Path) -> None:
    store = await open_engine(place)
    await store.events.accept([make_event("a")], None, NORMAL)
    claim: asyncio.Future[object]

    async def cancel_when_answered() -> None:
        # same group, so answered in the same breath, but woken first
        await store.events.accept([], None, NORMAL)
        claim.cancel()

    first = asyncio.ensure_future(cancel_when_answered())
    claim = asyncio.ensure_future(store.events.claim("f", 2, 100.0))
    await first
    with pytest.raises(asyncio.CancelledError):
        await claim
    assert names(await store.events.claim("f", 2, 100.0)) == ["a"]
    await store.close()


async def test_a_claim_cancelled_at_the_stop_is_no_crash(place: Path) -> None:
    store = await open_engine(place)
    await store.events.accept([make_event("a")], None, NORMAL)
    claim = asyncio.ensure_future(store.events.claim("f", 2, 100.0))
    await asyncio.sleep(0)
    claim.cancel()
    await store.close()
    again = await open_engine(place)
    assert [one.crashes for one in await again.events.claim("f", 2, 100.0)] == [0]
    await again.close()


async def test_a_cancelled_close_goes_on(place: Path) -> None:
    store = await open_engine(place)
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await store.close()
    await (await open_engine(place)).close()


async def test_a_cancelled_open_lets_the_directory_go(place: Path) -> None:
    first = asyncio.ensure_future(open_engine(place))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await (await open_when_free(place)).close()


async def open_when_free(place: Path) -> SqliteStore:
    while True:
        try:
            return await open_engine(place)
        except StateInUse:
            await asyncio.sleep(0)


async def test_purging_many_letters_counts_them_all(place: Path) -> None:
    store = await open_engine(place)
    await store.events.accept([make_event()] * 2100, None, NORMAL)
    claimed = await store.events.claim("f", 2100, 100.0)
    outcomes = [
        Finished(event, (), make_letter(event.request_id, failed_at=float(number)))
        for number, event in enumerate(claimed)
    ]
    await store.events.settle(outcomes, NORMAL)
    assert await store.dead_letters.purge(2050.0) == 2050
    assert len(await store.dead_letters.list(None, 9999)) == 50
    await store.close()


class Interrupted:
    def __init__(self) -> None:
        self.count = 0

    def interrupt(self) -> None:
        self.count += 1


async def test_the_check_of_a_huge_file_is_bounded(place: Path, clock: FakeClock) -> None:
    step = Opening(place, 0.0, True, {})
    checking = Interrupted()
    step._watch(checking)  # type: ignore[arg-type]
    limit = asyncio.ensure_future(step.limit_check(clock))
    await clock.advance(opening.CHECK_SECONDS - 0.1)
    assert checking.count == 0
    await clock.advance(0.1)
    assert checking.count == 1
    await limit


def test_an_interrupted_check_is_no_damage(tmp_path: Path) -> None:
    file = tmp_path / STATE_FILE
    connection = sqlite3.connect(file, isolation_level=None)
    schema.migrate(connection, file)
    connection.set_progress_handler(lambda: 1, 1)
    opening._check(connection, file)
    connection.close()
