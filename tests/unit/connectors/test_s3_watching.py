"""Hints, files that wait to be complete, mounts, and what inotify's notifications mean."""

from __future__ import annotations

import errno
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.testing import FakeClock
from eventmesh_connectors.s3 import hints
from eventmesh_connectors.s3.hints import Hints, WatchesExhausted
from eventmesh_connectors.s3.keys import KeyFilter
from eventmesh_connectors.s3.mounts import Mount, is_remote, remote_mount
from eventmesh_connectors.s3.tree import BucketGone, walk
from eventmesh_connectors.s3.waiting import WaitingFiles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

ALL = KeyFilter()
MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 22 0:26 / /dev/shm rw - tmpfs tmpfs rw
40 22 0:40 / /mnt/share rw,relatime shared:1 - nfs4 server:/x rw
41 40 0:41 / /mnt/share/local rw - xfs /dev/vdb rw
42 22 0:42 / /mnt/with\\040space rw - fuse.sshfs host: rw
43 22 0:43 / /srv/data/remote rw - cifs //server/x rw
44 22 0:44 / /over rw - ext4 /dev/vdc rw
45 22 0:45 / /over rw - 9p host rw
a line that says nothing
"""


@pytest.mark.parametrize(
    ("directory", "mount"),
    [
        ("/home/me/uploads", None),
        ("/dev/shm/x", None),
        ("/mnt/share/a/b", Mount("/mnt/share", "nfs4")),
        ("/mnt/shared", None),
        ("/mnt/share/local/a", None),
        ("/mnt/with space", Mount("/mnt/with space", "fuse.sshfs")),
        ("/srv/data", Mount("/srv/data/remote", "cifs")),
        ("/over/x", Mount("/over", "9p")),
    ],
)
def test_remote_mounts_are_found(directory: str, mount: Mount | None) -> None:
    assert remote_mount(MOUNTS, directory) == mount


def test_file_systems_that_tell_nothing() -> None:
    for name in "nfs nfs4 cifs smb3 9p virtiofs fuse.sshfs fuse.grpcfuse vboxsf".split():
        assert is_remote(name)
    for name in "ext4 xfs btrfs tmpfs overlay zfs fuseblk".split():
        assert not is_remote(name)


def test_unchanged_for_the_settle_time_is_settled() -> None:
    waiting = WaitingFiles(1.0)
    assert not waiting.is_settled(b"k", b"s1", hints.FOUND, now=10.0)
    assert waiting.next_due() == 11.0
    assert not waiting.is_settled(b"k", b"s1", hints.FOUND, now=10.9)
    assert not waiting.is_settled(b"k", b"s2", hints.FOUND, now=11.0)
    assert waiting.due(11.5) == {}
    assert waiting.due(12.0) == {b"k": hints.FOUND}
    assert waiting.is_settled(b"k", b"s2", hints.FOUND, now=12.0)
    assert waiting.take(b"k") == hints.FOUND
    assert len(waiting) == 0
    assert waiting.next_due() is None


def test_no_settle_time_settles_at_once() -> None:
    assert WaitingFiles(0.0).is_settled(b"k", b"s", hints.FOUND, now=1.0)


def test_files_being_written_are_looked_at_ever_less_often() -> None:
    waiting, now, delays = WaitingFiles(1.0), 0.0, []
    for _ in range(13):
        waiting.postpone(b"k", hints.CLOSED, now)
        due = waiting.next_due()
        assert due is not None
        delays.append(round(due - now, 3))
        now = due
    assert delays[:4] == [0.005, 0.01, 0.02, 0.04]
    assert delays[-1] == 5.0
    assert waiting.due(now) == {b"k": hints.CLOSED}
    assert b"k" in waiting
    assert waiting.take(b"other") == 0


@given(st.lists(st.tuples(st.sampled_from([b"1", b"2"]), st.floats(0, 2)), max_size=20))
def test_settled_means_no_other_stamp_was_seen_for_that_long(
    looks: list[tuple[bytes, float]],
) -> None:
    waiting, now, since, last = WaitingFiles(1.0), 0.0, 0.0, b""
    for stamp, pause in looks:
        now += pause
        if stamp != last:
            since, last = now, stamp
        assert waiting.is_settled(b"k", stamp, hints.FOUND, now) == (now - since >= 1.0)


def test_renames_in_a_row_keep_the_first_name() -> None:
    found = Hints()
    found.add(b"b", hints.MOVED, b"a")
    found.add(b"c", hints.MOVED, b"b")
    found.add(b"b", hints.CLOSED)
    assert found.origins == {b"b": b"a", b"c": b"a"}
    assert found.keys == {b"b": hints.MOVED | hints.CLOSED, b"c": hints.MOVED}


def test_walk_lists_matching_files_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("in/deep/a.jpg", "in/b.txt", "out/c.jpg", "in/d.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "in/e.jpg").symlink_to("/etc/passwd")
    (tmp_path / "in/loop").symlink_to(tmp_path)
    entered: list[bytes] = []
    chosen = KeyFilter((b"in/",), (b".jpg",))
    listing = walk(bytes(tmp_path), b"", chosen, entered.append)
    assert set(listing.files) == {b"in/deep/a.jpg", b"in/d.jpg"}
    assert listing.ignored == {"symlink": 1}
    assert entered == [b"", b"in/", b"in/deep/"]


def test_walk_tells_a_missing_bucket_from_an_unreadable_directory(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()

    def refuse(directory: bytes) -> None:
        if directory == b"d/":
            raise PermissionError(errno.EACCES, "Permission denied")

    assert walk(bytes(tmp_path), b"", KeyFilter(), refuse).unreadable == [b"d/"]
    assert walk(bytes(tmp_path), b"gone/", KeyFilter()).files == {}
    with pytest.raises(BucketGone, match="No such file"):
        walk(bytes(tmp_path / "gone"), b"", KeyFilter())


class FakeInotify:
    """Hands out the notifications it was given; watches get numbers in order."""

    def __init__(self) -> None:
        from asyncinotify import Watch

        self._watch_type = Watch
        self.sync_timeout: float | None = 0.0
        self.fd = -1
        self.watches: dict[bytes, Any] = {}
        self.removed: list[bytes] = []
        self.events: deque[Any] = deque()
        self.error: OSError | None = None

    def add_watch(self, path: bytes, mask: Any) -> Any:
        if self.error is not None:
            raise self.error
        if path not in self.watches:
            number = len(self.watches) + 1
            self.watches[path] = self._watch_type(self, path, mask, number)  # type: ignore[arg-type]
        return self.watches[path]

    def rm_watch(self, watch: Any) -> None:
        self.removed.append(watch.path)

    def sync_get(self) -> Any:
        return self.events.popleft() if self.events else None

    def close(self) -> None:
        self.events.clear()

    def tell(self, mask: Any, directory: bytes | None, name: str | None, cookie: int = 0) -> None:
        from asyncinotify import Event

        watch = self.watches[directory] if directory is not None else None
        self.events.append(Event(watch, mask, cookie, Path(name) if name else None))


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    path = tmp_path / "bucket"
    (path / "d").mkdir(parents=True)
    (path / "d/old").write_bytes(b"")
    return path


def watching(bucket: Path, chosen: KeyFilter = ALL) -> tuple[Any, FakeInotify, bytes]:
    from eventmesh_connectors.s3.inotify import InotifyWatcher

    inotify = FakeInotify()
    watcher = InotifyWatcher(bytes(bucket), chosen, FakeClock(), lambda: inotify)
    watcher.scan()
    return watcher, inotify, bytes(bucket) + b"/"


def test_scan_watches_every_directory_and_the_one_above(bucket: Path) -> None:
    _, inotify, root = watching(bucket)
    assert set(inotify.watches) == {bytes(bucket.parent), root, root + b"d/"}


def test_notifications_become_hints(bucket: Path) -> None:
    from asyncinotify import Mask

    watcher, inotify, root = watching(bucket, KeyFilter(suffixes=(b".x",)))
    inotify.tell(Mask.CREATE, root, "a.x")
    inotify.tell(Mask.CLOSE_WRITE, root, "a.x")
    inotify.tell(Mask.CLOSE_WRITE, root, "a.y")
    inotify.tell(Mask.DELETE, root + b"d/", "b.x")
    inotify.tell(Mask.MOVED_FROM, root, "c.x", 7)
    inotify.tell(Mask.MOVED_TO, root + b"d/", "e.x", 7)
    inotify.tell(Mask.MOVED_FROM, root, "out.x", 8)
    inotify.tell(Mask.MOVED_TO, root, "in.x", 9)
    found = watcher.collect()
    assert found.keys == {
        b"a.x": hints.LINKED | hints.CLOSED,
        b"d/b.x": hints.GONE,
        b"d/e.x": hints.MOVED,
        b"c.x": hints.GONE,
        b"in.x": hints.MOVED,
        b"out.x": hints.GONE,
    }
    assert found.origins == {b"d/e.x": b"c.x"}
    assert list(found.keys).index(b"d/e.x") < list(found.keys).index(b"c.x")
    assert not found.rescan
    assert not found.bucket_touched


def test_an_overflow_asks_for_a_scan(bucket: Path) -> None:
    from asyncinotify import Mask

    watcher, inotify, _ = watching(bucket)
    inotify.tell(Mask.Q_OVERFLOW, None, None)
    assert watcher.collect().rescan


def test_a_new_directory_is_watched_and_looked_into(bucket: Path) -> None:
    from asyncinotify import Mask

    watcher, inotify, root = watching(bucket)
    (bucket / "n/m").mkdir(parents=True)
    (bucket / "n/m/a").write_bytes(b"")
    inotify.tell(Mask.CREATE | Mask.ISDIR, root, "n")
    assert watcher.collect().keys == {b"n/m/a": hints.FOUND}
    assert {root + b"n/", root + b"n/m/"} <= set(inotify.watches)


def test_a_renamed_directory_renames_its_files(bucket: Path) -> None:
    from asyncinotify import Mask

    watcher, inotify, root = watching(bucket)
    (bucket / "d").rename(bucket / "n")
    inotify.tell(Mask.MOVED_FROM | Mask.ISDIR, root, "d", 5)
    inotify.tell(Mask.MOVED_TO | Mask.ISDIR, root, "n", 5)
    found = watcher.collect()
    assert found.emptied == [b"d/"]
    assert found.keys == {b"n/old": hints.MOVED}
    assert found.origins == {b"n/old": b"d/old"}
    assert inotify.removed == [root + b"d/"]


def test_a_directory_that_left_is_emptied_and_watched_no_more(bucket: Path) -> None:
    from asyncinotify import Mask

    watcher, inotify, root = watching(bucket)
    inotify.tell(Mask.MOVED_FROM | Mask.ISDIR, root, "d", 5)
    assert watcher.collect().emptied == [b"d/"]
    inotify.tell(Mask.CLOSE_WRITE, root + b"d/", "late")
    assert watcher.collect() == Hints()


def test_removal_of_the_bucket_is_seen_from_above(bucket: Path) -> None:
    from asyncinotify import Mask

    watcher, inotify, root = watching(bucket)
    inotify.tell(Mask.DELETE | Mask.ISDIR, bytes(bucket.parent), "other")
    assert not watcher.collect().bucket_touched
    inotify.tell(Mask.DELETE | Mask.ISDIR, bytes(bucket.parent), "bucket")
    assert watcher.collect().bucket_touched
    inotify.tell(Mask.MOVE_SELF, root + b"d/", None)
    assert not watcher.collect().bucket_touched
    inotify.tell(Mask.MOVE_SELF, root, None)
    assert watcher.collect().bucket_touched


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "sudo sysctl fs.inotify.max_user_watches=1048576"),
        (errno.EMFILE, "sudo sysctl fs.inotify.max_user_instances=1024"),
    ],
)
def test_limits_are_explained(bucket: Path, number: int, text: str) -> None:
    watcher, inotify, _ = watching(bucket)
    inotify.error = OSError(number, "No space left on device")
    with pytest.raises(WatchesExhausted, match=text):
        watcher.scan()
