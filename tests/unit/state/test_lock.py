from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import pytest

from eventmesh.errors import StateError, StateInUse
from eventmesh.state.lock import LOCK_FILE, acquire_lock, describe_holder

FACTS = {"command": "eventmesh run a.yaml"}


def test_the_holder_is_described(tmp_path: Path) -> None:
    assert describe_holder(tmp_path) is None
    lock = acquire_lock(tmp_path, 1234.5, FACTS)
    expected = {"pid": os.getpid(), "started_at": 1234.5, "command": "eventmesh run a.yaml"}
    assert describe_holder(tmp_path) == expected
    lock.describe(http="127.0.0.1:8080")
    assert describe_holder(tmp_path) == {**expected, "http": "127.0.0.1:8080"}
    lock.describe(http="")
    assert describe_holder(tmp_path) == {**expected, "http": ""}
    lock.release()
    lock.release()
    assert describe_holder(tmp_path) is None


def test_the_second_engine_is_told_who_runs(tmp_path: Path) -> None:
    lock = acquire_lock(tmp_path, 1.0, FACTS)
    lock.describe(http="127.0.0.1:8080")
    with pytest.raises(StateInUse) as caught:
        acquire_lock(tmp_path, 2.0, {})
    assert str(caught.value) == (
        f"another eventmesh runs on {tmp_path}: process {os.getpid()} (`eventmesh run a.yaml`) "
        "at 127.0.0.1:8080. Stop it first, or give this one a `state:` directory of its own"
    )
    lock.release()
    acquire_lock(tmp_path, 3.0, {}).release()


@pytest.mark.parametrize("note", [b"", b"{", b"[1]", b"\xff" * 20000])
def test_an_unreadable_note_is_no_obstacle(tmp_path: Path, note: bytes) -> None:
    lock = acquire_lock(tmp_path, 1.0, FACTS)
    (tmp_path / LOCK_FILE).write_bytes(note)
    assert describe_holder(tmp_path) == {}
    with pytest.raises(StateInUse, match="a process that has just started"):
        acquire_lock(tmp_path, 2.0, {})
    lock.release()


def test_a_note_left_by_a_killed_engine_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text('{"pid": 1, "command": "long gone and longer than ours"}')
    assert describe_holder(tmp_path) is None
    lock = acquire_lock(tmp_path, 1.0, {})
    assert describe_holder(tmp_path) == {"pid": os.getpid(), "started_at": 1.0, "command": ""}
    lock.release()


def test_a_reader_that_stays_does_not_hang_an_engine(tmp_path: Path) -> None:
    path = tmp_path / LOCK_FILE
    path.write_text("")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(StateInUse):
            acquire_lock(tmp_path, 1.0, {})
    acquire_lock(tmp_path, 1.0, {}).release()


def test_the_lock_is_private_and_closed_on_exec(tmp_path: Path) -> None:
    lock = acquire_lock(tmp_path, 1.0, {})
    assert stat.S_IMODE((tmp_path / LOCK_FILE).stat().st_mode) == 0o600
    held = [
        int(name)
        for name in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{name}")
        and os.readlink(f"/proc/self/fd/{name}") == str(tmp_path / LOCK_FILE)
    ]
    assert [os.get_inheritable(number) for number in held] == [False]
    lock.release()


def test_a_lock_file_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match=LOCK_FILE):
        acquire_lock(tmp_path, 1.0, {})
    with pytest.raises(StateError, match=LOCK_FILE):
        describe_holder(tmp_path)
