"""A directory as a bucket against the real file system, with inotify and with polling."""

# ruff: noqa: ASYNC240 - the tests are the ones who write the files
from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shutil
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from eventmesh.errors import ServiceError, SourceUnavailable, StateFull
from eventmesh_connectors.s3 import S3Options, S3Source
from eventmesh_connectors.s3 import source as source_module
from eventmesh_connectors.s3.mounts import Mount
from tests.unit.connectors.recording_bucket_target import (
    Announcements,
    RecordingBucketTarget,
    make_context,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's"),
    pytest.mark.may_block,
]
PUT, COPY, DELETE = "ObjectCreated:Put", "ObjectCreated:Copy", "ObjectRemoved:Delete"
ALL = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]


@pytest.fixture(autouse=True)
def _never_blocks() -> Iterator[None]:
    """The connector must not block the loop; the tests themselves write files on it."""
    with blockbuster_ctx("eventmesh_connectors", excluded_modules=["tests"]):
        yield


@pytest.fixture(params=["inotify", "poll"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    path = tmp_path / "uploads"
    path.mkdir()
    return path


@pytest.fixture
def target() -> RecordingBucketTarget:
    return RecordingBucketTarget()


def build(
    bucket: Path, target: RecordingBucketTarget, mode: str, **settings: Any
) -> tuple[S3Source, Announcements]:
    values = {"bucket": str(bucket), "events": ALL, "watch": mode, "poll_interval": "20ms"}
    values |= {"settle": "60ms"} | settings
    announcements = Announcements()
    options = S3Options.model_validate(values).resolved(bucket.parent)
    return S3Source(options, make_context(target, announcements)), announcements


@asynccontextmanager
async def running(
    bucket: Path, target: RecordingBucketTarget, mode: str, **settings: Any
) -> AsyncIterator[Announcements]:
    source, announcements = build(bucket, target, mode, **settings)
    task = asyncio.create_task(source.run(target))
    try:
        await eventually(lambda: bool(announcements) or task.done())
        if task.done():
            task.result()
        yield announcements
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(predicate: Callable[[], bool], what: Callable[[], object] = str) -> None:
    for _ in range(1000):
        if predicate():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"did not happen: {what()}")


async def expect(target: RecordingBucketTarget, *seen: tuple[str, str]) -> None:
    """Exactly these events so far, in any order."""
    await eventually(lambda: len(target.events) >= len(seen), target.seen)
    await probe()
    assert Counter(target.seen()) == Counter(seen)


async def probe() -> None:
    """Leave time for events that must not come."""
    await asyncio.sleep(0.15)


async def test_new_file(bucket: Path, target: RecordingBucketTarget, mode: str) -> None:
    async with running(bucket, target, mode, bucket_name="b") as announced:
        (bucket / "a b+c.txt").write_bytes(b"hello")
        await expect(target, (PUT, "a b+c.txt"))
    (record,) = target.records()
    assert record["s3"]["bucket"]["name"] == "b"
    assert record["s3"]["object"]["key"] == "a+b%2Bc.txt"
    assert record["s3"]["object"]["size"] == 5
    assert record["s3"]["object"]["eTag"] == hashlib.md5(b"hello").hexdigest()
    assert record["eventmesh"] == {"path": str(bucket / "a b+c.txt")}
    assert target.keys() == {"a+b%2Bc.txt"}
    watching = "inotify, watching" if mode == "inotify" else "polling every 0.02s"
    assert announced == [f"{watching} (0 files, 0 new)"]


async def test_event_and_catalogue_entry_come_in_one_call(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    async with running(bucket, target, mode):
        (bucket / "a").write_bytes(b"1")
        await expect(target, (PUT, "a"))
    ((events, positions),) = [call for call in target.calls if call[0]]
    assert len(events) == 1
    assert set(positions) == {"a", ":sequencer"}


async def test_overwritten_file(bucket: Path, target: RecordingBucketTarget, mode: str) -> None:
    async with running(bucket, target, mode):
        (bucket / "a").write_bytes(b"1")
        await expect(target, (PUT, "a"))
        (bucket / "a").write_bytes(b"22")
        await expect(target, (PUT, "a"), (PUT, "a"))
    first, second = (record["s3"]["object"] for record in target.records())
    assert [first["size"], second["size"]] == [1, 2]
    assert first["sequencer"] < second["sequencer"]
    assert len(first["sequencer"]) == 16


async def test_rewritten_with_the_same_looks_but_other_content(
    bucket: Path, target: RecordingBucketTarget
) -> None:
    async with running(bucket, target, "inotify"):
        (bucket / "a").write_bytes(b"old")
        await expect(target, (PUT, "a"))
        before = (bucket / "a").stat()
        descriptor = os.open(bucket / "a", os.O_WRONLY)
        os.write(descriptor, b"new")
        os.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.close(descriptor)
        await expect(target, (PUT, "a"), (PUT, "a"))


async def test_closed_without_a_change(bucket: Path, target: RecordingBucketTarget) -> None:
    async with running(bucket, target, "inotify"):
        (bucket / "a").write_bytes(b"1")
        await expect(target, (PUT, "a"))
        for _ in range(3):
            (bucket / "a").open("ab").close()
        await expect(target, (PUT, "a"))


async def test_removed_file(bucket: Path, target: RecordingBucketTarget, mode: str) -> None:
    async with running(bucket, target, mode):
        (bucket / "a").write_bytes(b"1")
        await expect(target, (PUT, "a"))
        (bucket / "a").unlink()
        await expect(target, (PUT, "a"), (DELETE, "a"))
    removed = target.records()[1]["s3"]["object"]
    assert set(removed) == {"key", "sequencer"}
    assert target.keys() == set()


async def test_only_configured_events_are_sent_but_all_is_catalogued(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    async with running(bucket, target, mode, events="s3:ObjectRemoved:*"):
        (bucket / "a").write_bytes(b"1")
        await eventually(lambda: target.keys() == {"a"})
        (bucket / "a").unlink()
        await expect(target, (DELETE, "a"))


async def test_renamed_within_the_bucket(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    async with running(bucket, target, mode):
        (bucket / "a").write_bytes(b"1")
        await expect(target, (PUT, "a"))
        (bucket / "a").rename(bucket / "A")
        await expect(target, (PUT, "a"), (COPY, "A"), (DELETE, "a"))
    assert target.records()[1]["s3"]["object"]["eTag"] == hashlib.md5(b"1").hexdigest()
    assert target.keys() == {"A"}
    renaming = target.calls[-1]
    assert len(renaming[0]) == 2, "both halves of a rename belong to one transaction"


async def test_renamed_twice_at_once(bucket: Path, target: RecordingBucketTarget) -> None:
    async with running(bucket, target, "inotify"):
        (bucket / "a").write_bytes(b"1")
        await expect(target, (PUT, "a"))
        (bucket / "a").rename(bucket / "b")
        (bucket / "b").rename(bucket / "c")
        await eventually(lambda: target.keys() == {"c"}, target.keys)
        await probe()
    assert target.seen()[-2:] in ([(COPY, "c"), (DELETE, "a")], [(COPY, "c"), (DELETE, "b")])


async def test_moved_into_and_out_of_the_bucket(
    bucket: Path, target: RecordingBucketTarget, mode: str, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_bytes(b"1")
    async with running(bucket, target, mode):
        (tmp_path / "outside").rename(bucket / "inside")
        await expect(target, (PUT, "inside"))
        (bucket / "inside").rename(tmp_path / "outside")
        await expect(target, (PUT, "inside"), (DELETE, "inside"))


async def test_written_aside_and_renamed_into_the_filter(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    async with running(bucket, target, mode, suffix=[".jpg", ".png"], prefix="in/"):
        (bucket / "in").mkdir()
        (bucket / "in/a.part").write_bytes(b"1")
        (bucket / "in/b.gif").write_bytes(b"1")
        (bucket / "c.jpg").write_bytes(b"1")
        (bucket / "in/d.JPG").write_bytes(b"1")
        (bucket / "in/a.part").rename(bucket / "in/a.png")
        await expect(target, (PUT, "in/a.png"))
        (bucket / "in/a.png").rename(bucket / "in/a.done")
        await expect(target, (PUT, "in/a.png"), (DELETE, "in/a.png"))


async def test_directories_made_and_written_at_once(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    expected = []
    async with running(bucket, target, mode):
        for number in range(20):
            deep = bucket / f"{number}/x/y/z"
            deep.mkdir(parents=True)
            for path in (deep / "f", deep.parent / "g"):
                path.write_bytes(b"1")
                expected.append((PUT, str(path.relative_to(bucket))))
        await expect(target, *expected)


async def test_not_recursive(bucket: Path, target: RecordingBucketTarget, mode: str) -> None:
    (bucket / "old").mkdir()
    async with running(bucket, target, mode, recursive=False):
        (bucket / "new").mkdir()
        for directory in ("old", "new"):
            (bucket / directory / "a").write_bytes(b"1")
        (bucket / "b").write_bytes(b"1")
        await expect(target, (PUT, "b"))


async def test_directory_moved_in_renamed_and_moved_out(
    bucket: Path, target: RecordingBucketTarget, mode: str, tmp_path: Path
) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/a").write_bytes(b"1")
    (tmp_path / "d/b").write_bytes(b"2")
    seen = [(PUT, "d/e/a"), (PUT, "d/b")]
    async with running(bucket, target, mode):
        (tmp_path / "d").rename(bucket / "d")
        await expect(target, *seen)
        (bucket / "d").rename(bucket / "n")
        seen += [(COPY, "n/e/a"), (COPY, "n/b"), (DELETE, "d/e/a"), (DELETE, "d/b")]
        await expect(target, *seen)
        (bucket / "n/e/c").write_bytes(b"3")
        seen.append((PUT, "n/e/c"))
        await expect(target, *seen)
        (bucket / "n").rename(tmp_path / "gone")
        seen += [(DELETE, "n/e/a"), (DELETE, "n/b"), (DELETE, "n/e/c")]
        await expect(target, *seen)
        (tmp_path / "gone/e/late").write_bytes(b"4")
        shutil.rmtree(tmp_path / "gone")
        await expect(target, *seen)


async def test_directory_removed(bucket: Path, target: RecordingBucketTarget, mode: str) -> None:
    (bucket / "d/e").mkdir(parents=True)
    (bucket / "d/e/a").write_bytes(b"1")
    async with running(bucket, target, mode):
        await expect(target, (PUT, "d/e/a"))
        shutil.rmtree(bucket / "d")
        await expect(target, (PUT, "d/e/a"), (DELETE, "d/e/a"))


async def test_slow_writers_give_one_event_each_after_closing(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    (bucket / "before").write_bytes(b"")
    writers = [(bucket / f"w{number}").open("wb") for number in range(9)]
    writers.append((bucket / "before").open("ab"))
    async with running(bucket, target, mode, rescan_interval="30ms"):
        for _ in range(5):
            for writer in writers:
                writer.write(b"x" * 1000)
                writer.flush()
            await asyncio.sleep(0.08)
        assert target.seen() == []
        for writer in writers:
            writer.close()
        names = ["before", *(f"w{number}" for number in range(9))]
        await expect(target, *((PUT, name) for name in names))
    assert {record["s3"]["object"]["size"] for record in target.records()} == {5000}


async def test_two_writers_of_one_file(bucket: Path, target: RecordingBucketTarget) -> None:
    async with running(bucket, target, "inotify"):
        first, second = (bucket / "a").open("ab"), (bucket / "a").open("ab")
        first.write(b"1")
        first.close()
        await probe()
        assert target.seen() == []
        second.write(b"2")
        second.close()
        await expect(target, (PUT, "a"))
    assert target.records()[0]["s3"]["object"]["size"] == 2


async def test_second_name_for_an_old_file(
    bucket: Path, target: RecordingBucketTarget, mode: str, tmp_path: Path
) -> None:
    (tmp_path / "original").write_bytes(b"1")
    async with running(bucket, target, mode):
        os.link(tmp_path / "original", bucket / "linked")
        await expect(target, (PUT, "linked"))


async def test_files_already_there(bucket: Path, target: RecordingBucketTarget, mode: str) -> None:
    (bucket / "a").write_bytes(b"1")
    (bucket / "d").mkdir()
    (bucket / "d/b").write_bytes(b"1")
    async with running(bucket, target, mode) as announced:
        await expect(target, (PUT, "a"), (PUT, "d/b"))
    assert announced[0].endswith("(2 files, 2 new)")


async def test_latest_delivers_only_what_comes_later(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    (bucket / "old").write_bytes(b"1")
    async with running(bucket, target, mode, starting_position="latest") as announced:
        (bucket / "new").write_bytes(b"1")
        await expect(target, (PUT, "new"))
        assert target.keys() == {"old", "new"}
        assert announced[0].endswith("(1 files, 0 new)")
    (bucket / "while-down").write_bytes(b"1")
    (bucket / "old").write_bytes(b"22")
    async with running(bucket, target, mode, starting_position="latest"):
        await expect(target, (PUT, "new"), (PUT, "while-down"), (PUT, "old"))


async def test_changed_while_down(bucket: Path, target: RecordingBucketTarget, mode: str) -> None:
    for name in ("same", "changed", "removed", "renamed"):
        (bucket / name).write_bytes(name.encode())
    async with running(bucket, target, mode):
        await eventually(lambda: len(target.events) == 4)
    sequencers = [record["s3"]["object"]["sequencer"] for record in target.records()]
    target.events.clear()
    (bucket / "changed").write_bytes(b"new")
    (bucket / "removed").unlink()
    (bucket / "added").write_bytes(b"1")
    (bucket / "renamed").rename(bucket / "elsewhere")
    expected = [(PUT, "changed"), (DELETE, "removed"), (PUT, "added")]
    expected += [(COPY, "elsewhere"), (DELETE, "renamed")]
    async with running(bucket, target, mode) as announced:
        await expect(target, *expected)
        assert announced[0].endswith("(4 files, 2 new)")
    later = [record["s3"]["object"]["sequencer"] for record in target.records()]
    assert min(later) > max(sequencers)
    target.events.clear()
    async with running(bucket, target, mode):
        await expect(target)


async def test_widened_and_narrowed_filters_deliver_each_file_once(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    for name in ("a.jpg", "b.png"):
        (bucket / name).write_bytes(b"1")
    async with running(bucket, target, mode, suffix=".jpg"):
        await expect(target, (PUT, "a.jpg"))
    async with running(bucket, target, mode, suffix=[".jpg", ".png"]):
        await expect(target, (PUT, "a.jpg"), (PUT, "b.png"))
    for suffix in (".png", [".jpg", ".png"], []):
        async with running(bucket, target, mode, suffix=suffix):
            await expect(target, (PUT, "a.jpg"), (PUT, "b.png"))


async def test_widened_filter_with_latest_delivers_nothing_old(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    (bucket / "b.png").write_bytes(b"1")
    async with running(bucket, target, mode, suffix=".jpg", starting_position="latest"):
        pass
    (bucket / "while-down.jpg").write_bytes(b"1")
    async with running(bucket, target, mode, starting_position="latest"):
        (bucket / "c.png").write_bytes(b"1")
        await expect(target, (PUT, "while-down.jpg"), (PUT, "c.png"))


@pytest.mark.parametrize("count", [2000])
async def test_burst(bucket: Path, target: RecordingBucketTarget, mode: str, count: int) -> None:
    async with running(bucket, target, mode):
        for number in range(count):
            (bucket / f"{number}").write_bytes(b"x")
        await eventually(lambda: len(target.events) >= count, lambda: len(target.events))
        await probe()
    assert Counter(target.seen()) == Counter((PUT, str(number)) for number in range(count))
    assert max(len(events) for events, _ in target.calls) <= 500


async def test_overflow_is_made_good_by_a_scan(bucket: Path, target: RecordingBucketTarget) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 20_000:
        pytest.skip(f"would take {limit} files")
    async with running(bucket, target, "inotify", rescan_interval="1h"):
        target.open.clear()
        (bucket / "first").write_bytes(b"1")
        await eventually(lambda: target.attempts > len(target.calls))
        for number in range(limit // 3 + 1000):
            (bucket / f"{number}").write_bytes(b"")
        (bucket / "sub").mkdir()
        (bucket / "sub/a").write_bytes(b"")
        target.open.set()
        await eventually(lambda: len(target.events) == limit // 3 + 1002)
        (bucket / "sub/b").write_bytes(b"")
        await eventually(lambda: (PUT, "sub/b") in target.seen()[-1:])


async def test_bucket_removed_and_made_again(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    (bucket / "a").write_bytes(b"1")
    async with running(bucket, target, mode) as announced:
        await expect(target, (PUT, "a"))
        shutil.rmtree(bucket)
        await probe()
        bucket.mkdir()
        await eventually(lambda: len(announced) >= 2)
        (bucket / "b").write_bytes(b"1")
        await expect(target, (PUT, "a"), (DELETE, "a"), (PUT, "b"))


async def test_bucket_replaced_by_another_directory(
    bucket: Path, target: RecordingBucketTarget, mode: str, tmp_path: Path
) -> None:
    (tmp_path / "next").mkdir()
    (tmp_path / "next/b").write_bytes(b"1")
    (bucket / "a").write_bytes(b"1")
    async with running(bucket, target, mode) as announced:
        await expect(target, (PUT, "a"))
        bucket.rename(tmp_path / "old")
        (tmp_path / "next").rename(bucket)
        await eventually(lambda: len(announced) >= 2)
        (bucket / "c").write_bytes(b"1")
        await expect(target, (PUT, "a"), (DELETE, "a"), (PUT, "b"), (PUT, "c"))


async def test_missing_bucket_is_made_or_refused(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    missing = bucket / "not/yet"
    source, _ = build(missing, target, mode, create=False)
    with pytest.raises(SourceUnavailable, match=f"{missing}: No such file or directory"):
        await source.run(target)
    async with running(missing, target, mode):
        (missing / "a").write_bytes(b"1")
        await expect(target, (PUT, "a"))


async def test_bucket_that_is_a_file(bucket: Path, target: RecordingBucketTarget) -> None:
    (bucket / "file").write_bytes(b"")
    source, _ = build(bucket / "file", target, "auto")
    with pytest.raises(SourceUnavailable, match="cannot open the directory .*: Not a directory"):
        await source.run(target)


async def test_what_is_no_file_is_ignored_and_counted(
    bucket: Path,
    target: RecordingBucketTarget,
    mode: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def make(name: str) -> None:
        (bucket / f"{name}-link").symlink_to("/etc/passwd")
        (bucket / f"{name}-loop").symlink_to(bucket)
        (bucket / f"{name}-dangling").symlink_to("nowhere")
        os.mkfifo(bucket / f"{name}-fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(bucket / f"{name}-socket"))

    make("before")
    async with running(bucket, target, mode):
        make("after")
        (bucket / "real").write_bytes(b"1")
        await expect(target, (PUT, "real"))
    assert "ignored what is not a regular file (fifo: 1, socket: 1, symlink: 3)" in caplog.messages
    assert target.keys() == {"real"}


async def test_file_replaced_by_a_symlink_is_removed(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    (bucket / "a").write_bytes(b"1")
    async with running(bucket, target, mode):
        await expect(target, (PUT, "a"))
        (bucket / "link").symlink_to("/etc/passwd")
        (bucket / "link").rename(bucket / "a")
        await expect(target, (PUT, "a"), (DELETE, "a"))


async def test_odd_names(bucket: Path, target: RecordingBucketTarget, mode: str) -> None:
    names = [
        b"line\nbreak",
        b"\x1b[31mred",
        b"not utf-8 \xff\xfe",
        b"x" * 255,
        b"-rf",
        b'"quoted\\',
        "snow ☃".encode(),
    ]
    async with running(bucket, target, mode):
        for name in names:
            Path(os.fsdecode(os.path.join(os.fsencode(bucket), name))).write_bytes(b"1")
        await expect(target, *((PUT, name.decode(errors="surrogateescape")) for name in names))
    by_key = {r["s3"]["object"]["key"]: r["eventmesh"] for r in target.records()}
    assert by_key["line%0Abreak"] == {"path": f"{bucket}/line\nbreak"}
    path = os.fsencode(bucket) + b"/not utf-8 \xff\xfe"
    assert by_key["not+utf-8+%FF%FE"] == {"pathBase64": base64.b64encode(path).decode()}
    target.events.clear()
    async with running(bucket, target, mode):
        await expect(target)


async def test_time_stamps_in_the_far_future(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    (bucket / "2106").write_bytes(b"1")
    os.utime(bucket / "2106", (4_300_000_000, 4_300_000_000))
    (bucket / "1969").write_bytes(b"1")
    os.utime(bucket / "1969", (-1000, -1000))
    async with running(bucket, target, mode):
        await expect(target, (PUT, "2106"), (PUT, "1969"))
    async with running(bucket, target, mode):
        await expect(target, (PUT, "2106"), (PUT, "1969"))


async def test_created_and_removed_at_once_is_nothing(
    bucket: Path, target: RecordingBucketTarget
) -> None:
    async with running(bucket, target, "inotify"):
        target.open.clear()
        (bucket / "first").write_bytes(b"1")
        await eventually(lambda: target.attempts > len(target.calls))
        (bucket / "short").write_bytes(b"1")
        (bucket / "short").unlink()
        target.open.set()
        await expect(target, (PUT, "first"))


@pytest.mark.parametrize("failure", [StateFull(), ServiceError()])
async def test_what_could_not_be_stored_is_tried_again(
    bucket: Path, target: RecordingBucketTarget, mode: str, failure: Exception
) -> None:
    async with running(bucket, target, mode):
        target.failures.append(failure)
        (bucket / "a").write_bytes(b"1")
        await expect(target, (PUT, "a"))
        assert target.keys() == {"a"}


async def test_stopped_before_it_was_stored_is_delivered_by_the_next_start(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    async with running(bucket, target, mode):
        target.open.clear()
        (bucket / "a").write_bytes(b"1")
        await eventually(lambda: target.attempts > len(target.calls))
    target.open.set()
    assert target.seen() == []
    async with running(bucket, target, mode):
        await expect(target, (PUT, "a"))


async def test_copied_bucket_is_not_delivered_again(
    bucket: Path, target: RecordingBucketTarget, mode: str
) -> None:
    (bucket / "a").write_bytes(b"1")
    async with running(bucket, target, mode):
        await expect(target, (PUT, "a"))
    shutil.copytree(bucket, bucket.with_name("copy"))
    shutil.rmtree(bucket)
    bucket.with_name("copy").rename(bucket)
    before = target.stored["a"]
    async with running(bucket, target, mode):
        await eventually(lambda: target.stored["a"] != before)
        await expect(target, (PUT, "a"))


async def test_no_watches_left_falls_back_to_polling(
    bucket: Path,
    target: RecordingBucketTarget,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import asyncinotify

    add_watch = asyncinotify.Inotify.add_watch

    def refuse_second(self: Any, path: bytes, mask: Any) -> Any:
        if path.endswith(b"second/"):
            raise OSError(28, "No space left on device")
        return add_watch(self, path, mask)

    monkeypatch.setattr(asyncinotify.Inotify, "add_watch", refuse_second)
    async with running(bucket, target, "inotify") as announced:
        (bucket / "second").mkdir()
        await eventually(lambda: len(announced) == 2)
        (bucket / "second/a").write_bytes(b"1")
        await expect(target, (PUT, "second/a"))
    advice = "sudo sysctl fs.inotify.max_user_watches=1048576"
    assert advice in announced[1]
    assert announced[1].startswith("polling every 0.02s: this machine's limit of inotify watches")
    assert any(advice in message for message in caplog.messages)


async def test_auto_polls_where_inotify_is_blind(
    bucket: Path, target: RecordingBucketTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(bucket, target, "auto") as announced:
        assert announced == ["inotify, watching (0 files, 0 new)"]
    monkeypatch.setattr(source_module, "read_remote_mount", lambda _: Mount("/data", "nfs4"))
    async with running(bucket, target, "auto") as announced:
        reason = "/data is nfs4, which tells of no changes"
        assert announced == [f"polling every 0.02s: {reason} (0 files, 0 new)"]
        (bucket / "a").write_bytes(b"1")
        await expect(target, (PUT, "a"))


async def test_watchfiles_wakes_where_there_is_no_inotify(
    bucket: Path, target: RecordingBucketTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "_HAS_INOTIFY", False)
    async with running(bucket, target, "auto", rescan_interval="1h") as announced:
        assert announced == ["watchfiles, watching (0 files, 0 new)"]
        (bucket / "d").mkdir()
        (bucket / "d/a~").write_bytes(b"1")
        await expect(target, (PUT, "d/a~"))
        (bucket / "d/a~").unlink()
        await expect(target, (PUT, "d/a~"), (DELETE, "d/a~"))
