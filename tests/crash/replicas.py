"""Two engines on one state: one is paused past its leases, the other takes its shards over.

The store for several engines is still to come; until then SQLite's file stands in, with the lock on
its directory left out (see `mutant.share_state`). Checked on top of the oracle: no checkpoint moves
back (I3 Monotone), no epoch comes again (I5 Fence).
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.acceptance.engine import free_port
from tests.crash.engine import Engine
from tests.crash.harness import Plan, Report, Run, environment, prepared
from tests.crash.mutant import LEASE_SECONDS, REPLICA

#: boots of each replica count from a multiple of it
BOOTS = 100_000
LOOK_SECONDS = 0.02


@dataclass
class CheckpointWatch:
    """Looks at the checkpoints again and again and notes what moved back."""

    file: Path
    newest: dict[str, tuple[int, int]] = field(default_factory=dict)
    regressions: list[str] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            for shard, position, epoch in await asyncio.to_thread(self._read):
                self.note(shard, int(position or 0), epoch)
            await asyncio.sleep(LOOK_SECONDS)

    def note(self, shard: str, position: int, epoch: int) -> None:
        """Compare with what was seen last."""
        before = self.newest.get(shard, (0, 0))
        if position < before[0] or epoch < before[1]:
            self.regressions.append(f"{shard}: {before} became {(position, epoch)}")
        self.newest[shard] = (position, epoch)

    def _read(self) -> Sequence[tuple[str, str, int]]:
        if not self.file.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as connection:
            try:
                return connection.execute(
                    "SELECT shard, position, epoch FROM checkpoints"
                ).fetchall()
            except sqlite3.OperationalError:  # the table is being made
                return []


async def run_replicas(plan: Plan, directory: Path) -> Report:
    """Like `harness.run`: `plan.kills` times a replica is paused past its leases."""
    begun = time.monotonic()
    async with prepared(plan, directory) as work:
        work.others += await _alternate(work)
        work.engine = _replica(work, 3, REPLICA)  # without the bug
        verdict = await work.finish()
    return work.report(verdict, time.monotonic() - begun)


async def _alternate(work: Run) -> list[str]:
    """Pause each replica in turn while the other takes over. Returns what moved back."""
    watch = CheckpointWatch(work.site.directory / "state" / "state.sqlite3")
    tasks = [asyncio.ensure_future(watch.run()), asyncio.ensure_future(work.produce())]
    mutant = work.plan.mutant or REPLICA
    engines = [_replica(work, number, mutant) for number in (1, 2)]
    try:
        await _take_turns(work, engines)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for engine in engines:
            await asyncio.to_thread(engine.kill)
    work.kills += len(engines)
    return watch.regressions


def _replica(work: Run, number: int, mutant: str) -> Engine:
    own = {"REPLICA": f"replica-{number}", "HTTP": f"127.0.0.1:{free_port()}"}
    environ = environment(work.plan) | own
    return Engine(work.site.directory, environ, mutant, boot=number * BOOTS)


async def _take_turns(work: Run, engines: Sequence[Engine]) -> None:
    dice = Random(work.plan.seed)
    for engine in engines:
        engine.start()
        await _progress(work, engine)
    for number in range(work.plan.kills):
        holder, other = engines if number % 2 == 0 else reversed(engines)
        holder.send(signal.SIGSTOP)
        await _progress(work, other)
        await asyncio.sleep(dice.uniform(0.1, 0.5))
        holder.send(signal.SIGCONT)
        # a zombie may finish what it had in flight: that much comes twice
        work.kills += 1
        await asyncio.sleep(dice.uniform(0.5, 1.5))


async def _progress(work: Run, engine: Engine) -> None:
    """Until the engine delivers something more, or has had the time to."""
    before = work.effects.boots.get(engine.boot, 0)
    await work.until(
        lambda: bool(work.effects.look()) and work.effects.boots.get(engine.boot, 0) > before,
        3 * LEASE_SECONDS,
    )
