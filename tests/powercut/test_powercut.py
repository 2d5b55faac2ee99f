"""What was acknowledged survives a power cut; and the simulator sees it when it does not."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from tests.powercut.cuts import cut_power
from tests.powercut.disk import Disk, Write
from tests.powercut.tracing import refusal

CUTS = 200


@pytest.fixture
def traceable() -> None:
    reason = refusal()
    if reason is None:
        return
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.slow
@pytest.mark.usefixtures("traceable")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_power_cut_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    losses = cut_power(tmp_path, "FULL", CUTS, seed)
    assert (losses.cuts, losses.lost, losses.corrupt) == (CUTS, 0, 0), losses
    assert losses.torn_transactions == 0, losses
    assert losses.promised > 50 * CUTS


@pytest.mark.slow
@pytest.mark.usefixtures("traceable")
def test_commits_that_are_not_synced_are_seen_to_be_lost(tmp_path: Path) -> None:
    losses = cut_power(tmp_path, "NORMAL", CUTS, 1)
    assert losses.corrupt == 0
    assert losses.cuts_with_loss > CUTS / 4


@pytest.mark.slow
@pytest.mark.usefixtures("traceable")
def test_a_file_that_is_never_synced_is_seen_to_be_damaged(tmp_path: Path) -> None:
    losses = cut_power(tmp_path, "OFF", CUTS, 1)
    assert losses.corrupt + losses.cuts_with_loss > CUTS / 2
    assert losses.corrupt > 0


def test_what_was_synced_stays_and_what_was_not_may_go(tmp_path: Path) -> None:
    disk = Disk()
    file = disk.open("a")
    file.pending.append(Write(0, b"x" * 1024))
    file.sync(1)
    file.pending.append(Write(1024, b"y" * 1024))
    disk.sync_names()
    found = set()
    for seed in range(50):
        disk.cut(tmp_path, Random(seed))
        found.add((tmp_path / "a").read_bytes())
    assert all(content.startswith(b"x" * 1024) for content in found)
    assert {b"x" * 1024, b"x" * 1024 + b"y" * 1024} < found
    torn = {content for content in found if 0 < content.count(b"y") < 1024}
    assert {content.count(b"y") for content in torn} == {512}


def test_a_name_stays_once_the_directory_is_synced(tmp_path: Path) -> None:
    disk = Disk()
    disk.open("new")
    disk.sync_names()
    disk.rename("new", "old")
    seen = set()
    for seed in range(20):
        target = tmp_path / str(seed)
        target.mkdir()
        disk.cut(target, Random(seed))
        seen.add(tuple(path.name for path in target.iterdir()))
    assert seen == {("new",), ("old",)}
