"""Cuts the power at random moments of one traced run, and asks the real store what is left."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from eventmesh.clock import SystemClock
from eventmesh.errors import StateError
from eventmesh.state.opening import STATE_FILE
from eventmesh.state.sqlite import open_sqlite
from tests.powercut.tracing import Acknowledged, Replay, trace


@dataclass(slots=True)
class Promises:
    """What was acknowledged so far."""

    events: set[str] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    epoch: int = 0

    def note(self, line: str) -> None:
        kind, _, what = line.partition(" ")
        match kind:
            case "ok":
                self.events.add(what)
            case "gone":
                self.events.discard(what)
            case "failed":
                self.failed.add(int(what))
            case "epoch":
                self.epoch = int(what)

    @property
    def count(self) -> int:
        return len(self.events) + len(self.failed) + self.epoch


@dataclass(slots=True)
class Losses:
    """What all cuts of one run came to."""

    cuts: int = 0
    promised: int = 0
    lost: int = 0
    cuts_with_loss: int = 0
    corrupt: int = 0
    #: positions stored without the failure record of a record below (I8 FailureAtomic)
    torn_transactions: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, cut: int, promises: Promises, found: Promises | None, torn: int) -> None:
        self.cuts += 1
        self.promised += promises.count
        if found is None:
            self.corrupt += 1
            return
        lost = len(promises.events - found.events) + len(promises.failed - found.failed)
        lost += max(0, promises.epoch - found.epoch)
        self.torn_transactions += torn
        self.lost += lost
        self.cuts_with_loss += lost > 0
        if lost or torn:
            self.examples.append(f"cut {cut}: {lost} of {promises.count} lost, {torn} torn")


def cut_power(scratch: Path, level: str, cuts: int, seed: int) -> Losses:
    """Trace one run of the workload at this durability; cut it `cuts` times. Blocks."""
    state, acks, output = scratch / "state", scratch / "acks", scratch / "trace"
    state.mkdir(mode=0o700)
    trace(state, acks, level, output)
    random = Random(seed)
    total = sum(1 for _ in Replay(state, acks, output).run())
    moments = sorted(random.sample(range(total), cuts))
    return _cut_at(Replay(state, acks, output), moments, scratch / "cut", random)


def _cut_at(replay: Replay, moments: list[int], target: Path, random: Random) -> Losses:
    losses, promises = Losses(), Promises()
    waiting: Iterator[int] = iter(moments)
    moment = next(waiting, None)
    for number, event in enumerate(replay.run()):
        if isinstance(event, Acknowledged):
            promises.note(event.line)
        if number != moment:
            continue
        target.mkdir(mode=0o700)
        replay.disk.cut(target, random)
        losses.add(number, promises, *_look(target))
        shutil.rmtree(target)
        moment = next(waiting, None)
    return losses


def _look(directory: Path) -> tuple[Promises | None, int]:
    """What the store finds: None when it cannot be opened. And how often a position is stored
    without its failure record."""
    try:
        asyncio.run(_open_and_close(directory))
    except StateError:
        return None, 0
    with closing(sqlite3.connect(directory / STATE_FILE)) as connection:
        if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            return None, 0
        events = {row[0] for row in connection.execute("SELECT request_id FROM events")}
        failed = {int(row[0]) for row in connection.execute("SELECT delivery_id FROM deliveries")}
        rows = connection.execute("SELECT epoch, position FROM checkpoints").fetchall()
    epoch, position = rows[0] if rows else (0, "")
    expected = set(range(2, int(position or 0) + 1, 2))
    return Promises(events, failed, epoch), len(expected ^ failed)


async def _open_and_close(directory: Path) -> None:
    store = await open_sqlite(directory, SystemClock())
    await store.close()
