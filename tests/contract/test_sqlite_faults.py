"""The SQLite store against a hostile machine: killed processes, full disks, damaged files, a
second engine, a large backlog."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eventmesh.clock import SystemClock
from eventmesh.errors import StateCorrupt, StateInUse
from eventmesh.state.contract import Durability, Finished, PositionChanges
from eventmesh.state.lock import describe_holder
from eventmesh.state.opening import STATE_FILE
from eventmesh.state.sqlite import SqliteStore, open_sqlite
from eventmesh.testing.store_contract import make_event

NORMAL, SYNCED = Durability.NORMAL, Durability.SYNCED

PRELUDE = """
import asyncio, json, os, resource, subprocess, sys
from pathlib import Path
from eventmesh.clock import SystemClock
from eventmesh.errors import StateFull
from eventmesh.state.contract import Durability, Finished, PositionChanges
from eventmesh.state.sqlite import open_sqlite
from eventmesh.testing.store_contract import make_event

PLACE, NORMAL, SYNCED = Path(sys.argv[1]), Durability.NORMAL, Durability.SYNCED

def say(text):
    os.write(1, f"{text}\\n".encode())
"""


def start(script: str, place: Path, *before: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-c", PRELUDE + script, str(place)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if before else None,
        text=True,
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def open_engine(place: Path) -> SqliteStore:
    return await open_sqlite(place, SystemClock())


ACKNOWLEDGE = """
async def accept(store, start):
    for number in range(start, 10**6, 20):
        name = str(number)
        changes = PositionChanges("m", {name: "done"})
        await store.events.accept([make_event(name, payload=b"x" * 300)], changes, SYNCED)
        say(name)

async def main():
    store = await open_sqlite(PLACE, SystemClock())
    await asyncio.gather(*[accept(store, start) for start in range(20)])

asyncio.run(main())
"""


@pytest.mark.parametrize("kills", [40, 1500])
def test_nothing_acknowledged_is_lost_when_the_engine_is_killed(place: Path, kills: int) -> None:
    child = start(ACKNOWLEDGE, place)
    assert child.stdout is not None
    acknowledged = [child.stdout.readline().strip() for _ in range(kills)]
    child.kill()
    acknowledged += child.stdout.read().split()
    child.wait()
    child.stdout.close()

    async def look() -> tuple[list[str], dict[str, str]]:
        store = await open_engine(place)
        events = await store.events.claim("f", 10**6, 1e12)
        positions = await store.positions.load("m")
        await store.close()
        return [event.request_id for event in events], positions

    stored, positions = asyncio.run(look())
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))
    # an event and its position are one transaction
    assert set(positions) == set(stored)


CLAIM_AND_WAIT = """
async def main():
    store = await open_sqlite(PLACE, SystemClock(), owner={"command": "the child"})
    await store.describe(http="127.0.0.1:9")
    await store.events.accept([make_event("a"), make_event("b", due_at=101.0)], None, NORMAL)
    await store.events.claim("f", 1, 1e12)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    say(child.pid)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_an_engine_keeps_others_out_until_it_dies_and_its_children_do_not(place: Path) -> None:
    engine = start(CLAIM_AND_WAIT, place)
    assert engine.stdout is not None
    grandchild = int(engine.stdout.readline())
    try:
        holder = describe_holder(place)
        assert holder is not None
        assert (holder["pid"], holder["http"]) == (engine.pid, "127.0.0.1:9")
        with pytest.raises(StateInUse, match=rf"process {engine.pid} \(`the child`\) at 127"):
            asyncio.run(open_engine(place))
        engine.kill()
        engine.wait()
        assert describe_holder(place) is None

        async def look() -> list[tuple[str, int]]:
            store = await open_engine(place)
            events = await store.events.claim("f", 9, 1e12)
            await store.close()
            return [(event.request_id, event.crashes) for event in events]

        assert asyncio.run(look()) == [("a", 1), ("b", 0)]
    finally:
        os.kill(grandchild, signal.SIGKILL)
        engine.kill()
        engine.stdout.close()


FILL = """
async def accept(store, number, results):
    name = f"{number}"
    changes = PositionChanges("m", {name: "done"})
    try:
        await store.events.accept([make_event(name, payload=b"x" * 3000)], changes, SYNCED)
        results["stored"].append(name)
    except StateFull as error:
        results["refused"].append(name)
        results["text"] = str(error)

def limit(size):
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

async def main():
    store = await open_sqlite(PLACE, SystemClock())
    results = {"stored": [], "refused": []}
    await store.events.accept([make_event("claimed", function="g")], None, NORMAL)
    claimed = await store.events.claim("g", 1, 1e12)
    limit(400_000)
    for start in range(0, 400, 20):
        await asyncio.gather(*[accept(store, start + n, results) for n in range(20)])
    limit(1)
    try:
        await store.events.settle([Finished(claimed[0])], NORMAL)
    except StateFull:
        results["settle"] = "refused"
    # reading goes on
    results["backlog"] = (await store.backlog())["f"]
    results["full"] = len(results["stored"])
    limit(resource.RLIM_INFINITY)
    await asyncio.gather(*[accept(store, 1000 + n, results) for n in range(20)])
    await store.events.settle([Finished(claimed[0])], NORMAL)
    say(json.dumps(results))
    await store.close()

asyncio.run(main())
"""


def test_a_full_disk_refuses_all_of_a_write_until_there_is_room(place: Path) -> None:
    child = start(FILL, place)
    results = json.loads(child.communicate()[0])
    assert results["refused"]
    assert results["settle"] == "refused"
    assert "takes no more writes" in results["text"]
    assert results["backlog"] == results["full"] < 400
    assert len(results["stored"]) == results["full"] + 20

    async def look() -> tuple[dict[str, int], dict[str, str]]:
        store = await open_engine(place)
        found = dict(await store.backlog()), await store.positions.load("m")
        await store.close()
        return found

    backlog, positions = asyncio.run(look())
    assert backlog == {"f": len(results["stored"])}
    assert sorted(positions) == sorted(results["stored"])


SYNC = """
async def main():
    store = await open_sqlite(PLACE, SystemClock())
    # the log itself is made and synced with the first commit
    await store.events.accept([make_event()], None, SYNCED)
    for durability in (SYNCED, NORMAL, SYNCED, NORMAL):
        say(f"phase {durability.value}")
        for number in range(10):
            await store.events.accept([make_event()], None, durability)
    say("phase end")
    await store.close()

asyncio.run(main())
"""


def test_only_synced_writes_wait_for_the_disk(place: Path) -> None:
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-qq", "-e", "trace=none", "true"]).returncode:
        pytest.skip("needs strace and the right to trace")
    child = start(SYNC, place, strace, "-f", "-qq", "-e", "trace=fsync,fdatasync,write")
    trace = child.communicate()[1]
    assert child.returncode == 0
    phases = [
        (phase[0], len(re.findall(r"\b(?:fsync|fdatasync)\(", phase[1])))
        for phase in re.findall(r'"phase (\w+)\\n"(.*?)(?=write\(1, "phase)', trace, re.DOTALL)
    ]
    assert phases == [("synced", 10), ("normal", 0), ("synced", 10), ("normal", 0)]


async def fill(place: Path, count: int) -> None:
    store = await open_engine(place)
    for start in range(0, count, 5000):
        events = [
            make_event(str(number), due_at=float(number // 10), payload=b"x" * 200)
            for number in range(start, min(start + 5000, count))
        ]
        await store.events.accept(events, PositionChanges("m", {str(start): "1"}), NORMAL)
    await store.close()


def overwrite(file: Path, offset: int, text: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(text)


@pytest.mark.parametrize(
    ("offset", "text"),
    [(0, b"XXXX"), (100, b"\x55"), (4096, b"\x55"), (2 * 4096, b"\xff" * 12), (30 * 4096, b"\x55")],
    ids=["magic", "first page", "second page", "page header", "inner page"],
)
def test_a_damaged_page_is_found_at_the_start(place: Path, offset: int, text: bytes) -> None:
    asyncio.run(fill(place, 2000))
    file = place / STATE_FILE
    overwrite(file, offset, text)
    damaged = file.read_bytes()
    with pytest.raises(StateCorrupt) as caught:
        asyncio.run(open_engine(place))
    assert str(caught.value).startswith(f"{file} is damaged (")
    assert "Restore state.sqlite3 from a backup" in str(caught.value)
    assert file.read_bytes() == damaged
    assert describe_holder(place) is None


@pytest.mark.parametrize("size", [0, 1, 99, 2048, 4096, 40_000])
def test_a_truncated_file_is_never_taken_for_an_empty_one(place: Path, size: int) -> None:
    asyncio.run(fill(place, 2000))
    os.truncate(place / STATE_FILE, size)
    with pytest.raises(StateCorrupt, match="damaged"):
        asyncio.run(open_engine(place))
    assert (place / STATE_FILE).stat().st_size == size


def test_a_log_without_its_file_is_damage(place: Path) -> None:
    asyncio.run(fill(place, 10))
    (place / STATE_FILE).rename(place / f"{STATE_FILE}-wal")
    with pytest.raises(StateCorrupt, match="it is gone, but its log"):
        asyncio.run(open_engine(place))


def test_a_start_that_was_cut_short_is_made_again(place: Path) -> None:
    place.mkdir(0o700)
    (place / f"{STATE_FILE}.new").write_bytes(b"half of it")
    asyncio.run(fill(place, 10))
    assert sorted(os.listdir(place)) == ["engine.lock", STATE_FILE]


def test_damage_while_running_is_named(place: Path) -> None:
    asyncio.run(fill(place, 20_000))

    def destroy() -> None:
        file = place / STATE_FILE
        overwrite(file, 100 * 4096, b"\xee" * (file.stat().st_size - 100 * 4096))

    async def run() -> str:
        store = await open_engine(place)
        await asyncio.to_thread(destroy)
        with pytest.raises(StateCorrupt) as claiming:
            await store.events.claim("f", 20_000, 1e12)
        with pytest.raises(StateCorrupt):
            await store.backlog()
        await store.close()
        return str(claiming.value)

    assert asyncio.run(run()).startswith(f"{place / STATE_FILE} is damaged (")


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_a_large_backlog_keeps_its_order_and_takes_no_memory(place: Path) -> None:
    before = resident_bytes()

    async def drain() -> tuple[list[int], int]:
        store = await open_engine(place)
        peak = resident_bytes()
        taken: list[int] = []
        while events := await store.events.claim("f", 1000, 1e12):
            taken += [int(event.request_id) for event in events]
            if len(taken) <= 20_000:
                await store.events.settle([Finished(event) for event in events], NORMAL)
            peak = max(peak, await asyncio.to_thread(resident_bytes))
        assert await store.backlog() == {"f": 180_000}
        await store.close()
        return taken, peak

    asyncio.run(fill(place, 200_000))
    taken, peak = asyncio.run(drain())
    assert taken == list(range(200_000))
    # the rows are 60 MB of file; what is held is the caches and the numbers in `taken`
    assert peak - before < 64 * 1024 * 1024
