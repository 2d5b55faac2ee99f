"""Limits: the decisions, and what is read of real directories and processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eventmesh.environments import limits
from eventmesh.environments.limits import Subject, Usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(128 * 1024, 1, 8 * 1024 * 1024), None),
        (Usage(128 * 1024 + 1, 1), ("memory", "memory limit of 128 MB exceeded (128 MB in use)")),
        (Usage(300 * 1024, 1), ("memory", "memory limit of 128 MB exceeded (300 MB in use)")),
        (
            Usage(0, 1, 9 * 1024 * 1024),
            ("storage", "ephemeral storage limit of 8 MB exceeded (9 MB in /tmp)"),
        ),
        (Usage(0, 1024), None),
        (Usage(0, 1025), ("error", "limit of 1024 processes exceeded")),
    ],
)
def test_overrun(usage: Usage, expected: tuple[str, str] | None) -> None:
    assert limits.overrun(usage, 128, 8) == expected


def test_the_data_limit_leaves_room_for_threads_but_not_for_two_gigabytes() -> None:
    assert limits.data_limit_bytes(128) == (128 + 1024) * 1024 * 1024
    assert limits.data_limit_bytes(128) < 2 * 1024**3


def test_this_process_is_measured() -> None:
    usage = limits.measure(Subject(os.getpid(), 10_240))
    assert usage.memory_kb > 10_000
    assert usage.processes >= 1
    assert usage.storage_bytes is None


def test_a_process_that_is_gone_counts_nothing(tmp_path: Path) -> None:
    assert limits.measure(Subject(2**22 + 1, 128, tmp_path / "gone")) == Usage(0, 1, 0)


def test_directory_bytes_counts_what_lies_below_and_follows_no_link(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "deep" / "deeper").mkdir(parents=True)
    before = limits.directory_bytes(root)
    (tmp_path / "outside").write_bytes(b"x" * 100_000)
    (root / "link").symlink_to(tmp_path)
    assert limits.directory_bytes(root) - before < 10_000
    (root / "deep" / "deeper" / "file").write_bytes(b"x" * 100_000)
    assert 100_000 <= limits.directory_bytes(root) - before < 150_000


def test_a_sparse_file_takes_no_space(tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1024**3)
    assert limits.directory_bytes(tmp_path) < 100_000


def test_hides_nothing(tmp_path: Path) -> None:
    mount_point = tmp_path / "mount"
    mount_point.mkdir()
    link = tmp_path / "link"
    link.symlink_to(mount_point)
    assert limits.hides_nothing([tmp_path, tmp_path / "mounted"], str(mount_point))
    for hidden in (mount_point, mount_point / "code", link / "code"):
        assert not limits.hides_nothing([tmp_path, hidden], str(mount_point))
        assert not limits.hides_nothing([mount_point / "x"], str(link))
