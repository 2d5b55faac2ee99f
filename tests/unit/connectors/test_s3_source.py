"""The source with a fake clock: retries, back-off and what is stored when."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eventmesh.errors import StateFull
from eventmesh.testing import FakeClock
from eventmesh_connectors.s3 import S3Options, S3Source, hints
from eventmesh_connectors.s3.catalogue import UNREAD, Catalogue, ChangeKind, Listing, stamp_of
from eventmesh_connectors.s3.examiner import Examiner, OpenBucket
from eventmesh_connectors.s3.files import BucketDirectory, OpenFile, Stopped, Writers
from eventmesh_connectors.s3.hints import Hints
from tests.unit.connectors.recording_bucket_target import (
    Announcements,
    RecordingBucketTarget,
    make_context,
)


@asynccontextmanager
async def polling(
    bucket: Path, target: RecordingBucketTarget, clock: FakeClock
) -> AsyncIterator[Callable[[Callable[[], bool]], Awaitable[None]]]:
    """A polling source; yields a function that moves time until something holds."""
    options = S3Options.model_validate({"bucket": str(bucket), "watch": "poll"})
    source = S3Source(options, make_context(target, Announcements(), clock))
    task = asyncio.create_task(source.run(target))

    async def until(predicate: Callable[[], bool]) -> None:
        done = threading.Event()
        for _ in range(2000):
            if predicate():
                return
            await clock.advance(0.25)
            await asyncio.to_thread(done.wait, 0.001)  # the source's own threads need a moment
        pytest.fail("did not happen")

    try:
        yield until
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_nothing_is_known_until_it_is_stored(tmp_path: Path, clock: FakeClock) -> None:
    target = RecordingBucketTarget()
    async with polling(tmp_path, target, clock) as until:
        await until(lambda: ":filter" in target.stored)
        started = clock.now()
        target.failures = [StateFull() for _ in range(4)]
        await asyncio.to_thread((tmp_path / "a").write_bytes, b"1")
        await until(lambda: len(target.events) == 1)
    assert target.attempts == len(target.calls) + 4
    assert clock.now() - started >= 0.5 + 1 + 2 + 4
    assert target.keys() == {"a"}
    assert target.stored[":sequencer"] == f"{int(target.sequencers()[0], 16):016x}"


async def test_time_of_the_event_is_the_clock_s(tmp_path: Path, clock: FakeClock) -> None:
    target = RecordingBucketTarget()
    await asyncio.to_thread((tmp_path / "a").write_bytes, b"1")
    async with polling(tmp_path, target, clock) as until:
        await until(lambda: len(target.events) == 1)
    assert target.records()[0]["eventTime"].startswith("2023-11-14T22:13:2")


class Still:
    """A watcher that notices nothing."""

    def __init__(self, sees_closing: bool = True) -> None:
        self.sees_closing = sees_closing

    def scan(self) -> Listing:
        return Listing()

    def collect(self) -> Hints:
        return Hints()

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(0)

    async def close(self) -> None:
        pass


class Bench:
    """An examiner of a real directory."""

    def __init__(self, path: Path, clock: FakeClock, sees_closing: bool = True) -> None:
        self.path = path
        self.catalogue = Catalogue()
        self.directory = BucketDirectory(bytes(path))
        bucket = OpenBucket(self.directory, Still(sees_closing), self.catalogue)
        self.stopping = False
        log = logging.getLogger("eventmesh.test.s3")
        self.examiner = Examiner(bucket, 1.0, clock, log, lambda: self.stopping)

    def examine(
        self, origins: dict[bytes, bytes] | None = None, **reasons: int
    ) -> list[tuple[bytes, ChangeKind]]:
        keys = {key.encode(): reason for key, reason in reasons.items()}
        changes = self.examiner.examine(keys, origins or {})
        self.catalogue.apply(changes)
        return [(change.key, change.kind) for change in changes]


@pytest.fixture
def bench(tmp_path: Path, clock: FakeClock) -> Iterator[Bench]:
    one = Bench(tmp_path, clock)
    yield one
    one.directory.close()


def test_put_again_and_removed(bench: Bench) -> None:
    (bench.path / "a").write_bytes(b"1")
    assert bench.examine(a=hints.CLOSED) == [(b"a", ChangeKind.PUT)]
    assert bench.examine(a=hints.CLOSED) == []
    assert bench.examine(a=hints.FOUND) == []
    (bench.path / "a").unlink()
    assert bench.examine(a=hints.GONE) == [(b"a", ChangeKind.DELETE)]
    assert bench.examine(a=hints.GONE) == []


def test_open_files_wait_for_their_writer(bench: Bench, clock: FakeClock) -> None:
    with (bench.path / "a").open("wb"):
        assert bench.examine(a=hints.FOUND) == []
        assert bench.examine(a=hints.CLOSED) == []
    assert bench.examiner.waiting.due(clock.monotonic() + 1) == {b"a": hints.CLOSED}
    assert bench.examine(a=hints.CLOSED) == [(b"a", ChangeKind.PUT)]
    assert len(bench.examiner.waiting) == 0


def test_a_name_just_made_gets_a_moment(bench: Bench, clock: FakeClock) -> None:
    (bench.path / "a").write_bytes(b"1")
    assert bench.examine(a=hints.LINKED) == []
    assert bench.examiner.waiting.due(clock.monotonic() + 1) == {b"a": hints.FOUND}


async def test_without_closing_files_must_settle(tmp_path: Path, clock: FakeClock) -> None:
    bench = await asyncio.to_thread(Bench, tmp_path, clock, sees_closing=False)
    await asyncio.to_thread((tmp_path / "a").write_bytes, b"1")
    assert await asyncio.to_thread(bench.examine, a=hints.FOUND) == []
    await clock.advance(1.0)
    assert await asyncio.to_thread(bench.examine, a=hints.FOUND) == [(b"a", ChangeKind.PUT)]
    bench.directory.close()


async def test_unknown_writers_make_a_found_file_settle_but_not_a_closed_one(
    bench: Bench, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenFile, "writers", lambda _: Writers.UNKNOWN)
    for name in ("found", "closed", "moved"):
        await asyncio.to_thread((bench.path / name).write_bytes, b"1")
    seen = await asyncio.to_thread(
        bench.examine, found=hints.FOUND, closed=hints.CLOSED, moved=hints.MOVED
    )
    assert seen == [(b"closed", ChangeKind.PUT), (b"moved", ChangeKind.PUT)]
    await clock.advance(1.0)
    assert await asyncio.to_thread(bench.examine, found=hints.FOUND) == [(b"found", ChangeKind.PUT)]


def test_told_rename_is_not_read_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.path / "a").write_bytes(b"1")
    bench.examine(a=hints.CLOSED)
    (bench.path / "a").rename(bench.path / "b")
    monkeypatch.setattr(OpenFile, "md5", lambda *_: pytest.fail("read"))
    assert bench.examine({b"b": b"a"}, a=hints.GONE, b=hints.MOVED) == [
        (b"b", ChangeKind.COPY),
        (b"a", ChangeKind.DELETE),
    ]


def test_same_looks_other_content_is_no_rename(bench: Bench) -> None:
    (bench.path / "b").write_bytes(b"1")
    stamp = stamp_of((bench.path / "b").stat())
    bench.catalogue.entries[b"a"] = stamp + b"another digest.."
    assert bench.examine({b"b": b"a"}, b=hints.FOUND) == [(b"b", ChangeKind.PUT)]
    bench.catalogue.entries = {b"a": stamp + UNREAD}
    assert bench.examine({b"b": b"a"}, b=hints.FOUND)[0] == (b"b", ChangeKind.COPY)


def test_a_copy_that_kept_time_and_content_is_only_restamped(bench: Bench) -> None:
    (bench.path / "a").write_bytes(b"1")
    bench.examine(a=hints.CLOSED)
    entry = bench.catalogue.entries[b"a"]
    bench.catalogue.entries[b"a"] = b"\x07" * 8 + entry[8:]
    assert bench.examine(a=hints.FOUND) == [(b"a", ChangeKind.RESTAMPED)]
    assert bench.catalogue.entries[b"a"] == entry
    bench.catalogue.entries[b"a"] = b"\x07" * 8 + entry[8:]
    assert bench.examine(a=hints.MOVED) == [(b"a", ChangeKind.PUT)]


def test_adopted_content_is_unknown_so_a_close_is_a_put(bench: Bench) -> None:
    (bench.path / "a").write_bytes(b"1")
    bench.catalogue.entries[b"a"] = stamp_of((bench.path / "a").stat()) + UNREAD
    assert bench.examine(a=hints.FOUND) == []
    assert bench.examine(a=hints.CLOSED) == [(b"a", ChangeKind.PUT)]


def test_unreadable_files_are_delivered_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.path / "a").write_bytes(b"1")

    def refuse(_: object, key: bytes) -> OpenFile:
        raise PermissionError(errno.EACCES, "Permission denied", key)

    monkeypatch.setattr(BucketDirectory, "open", refuse)
    assert bench.examine(a=hints.CLOSED) == [(b"a", ChangeKind.PUT)]
    assert bench.catalogue.entries[b"a"][24:] != UNREAD


def test_symlinked_directories_lead_nowhere(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/secret").write_bytes(b"1")
    (tmp_path / "link").symlink_to("real")
    directory = BucketDirectory(bytes(tmp_path))
    assert directory.status(b"real/secret") is not None
    assert directory.status(b"link/secret") is None
    assert directory.open(b"link/secret") is None
    directory.close()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    directory = BucketDirectory(bytes(tmp_path))
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    assert directory.status(b"fifo") is None
    assert directory.status(b"gone") is None
    directory.close()


def test_stopping_gives_up_in_the_middle_of_a_file(bench: Bench) -> None:
    (bench.path / "big").write_bytes(bytes(3 << 20))
    file = bench.directory.open(b"big")
    assert file is not None
    with pytest.raises(Stopped):
        file.md5(3 << 20, lambda: True)
    file.close()
    bench.stopping = True
    with pytest.raises(Stopped):
        bench.examine(big=hints.CLOSED)
