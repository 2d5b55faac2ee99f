"""Runs one seed: three engines, the plan's faults, then calm; the oracle's findings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from eventmesh.mappings.attempts import LONGEST_RETRY_SECONDS
from eventmesh.mappings.claims import LEASE_SECONDS
from eventmesh.mappings.stream_poller import LOOK_AGAIN_SECONDS
from tests.simulation.engines import make_poller
from tests.simulation.oracle import FINISHED, LIVE_LEASE, NO_BUG, Process
from tests.simulation.plan import ENGINES, Fault, make_plan
from tests.simulation.virtual_time import Livelock, SimulatedLoop, SkewedClock
from tests.simulation.world import StoreLink, World

#: L1: the longest a lease, a look, the last back-off and the work that is left may take
CATCH_UP_SECONDS = LEASE_SECONDS + 2 * LOOK_AGAIN_SECONDS + LONGEST_RETRY_SECONDS + 120.0
#: L4: a graceful stop
DRAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What one seed came to: the first violation of each invariant, by name."""

    seed: int
    violations: dict[str, str]
    seconds: float
    duplicates: int
    refused: int


class Engine:
    """One engine through all its lives."""

    def __init__(self, number: int, world: World, skew: float) -> None:
        self.name = f"e{number}"
        self.is_ending = False
        self._world = world
        self._skew = skew
        self._rest_seconds = 1.0
        self._lives = 0
        self.process: Process | None = None

    def start(self) -> None:
        """A new process, unless one runs."""
        if self.process is not None or self.is_ending:
            return
        self._lives += 1
        world = self._world
        self.process = Process(self.name, self._lives)
        self.loop = SimulatedLoop(world.timeline)
        self.link = StoreLink(world, self.process, self.loop, self._skew)
        clock = SkewedClock(world.timeline, self._skew, 1000.0 * world.random.random())
        self.poller = make_poller(world, self.process, self.loop, clock, self.link)
        world.tell(self.process, "starts")
        task = self.loop.create_task(self.poller.run())
        task.add_done_callback(self._ended)

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after `seconds`."""
        process = self.process
        if process is None or process.is_stopped:
            return
        self._world.tell(process, f"is stopped for {seconds:.1f} s")
        process.is_stopped = self.loop.is_stopped = True
        self._world.timeline.after(seconds, self._resume, process, self.loop)

    def kill(self, seconds: float) -> None:
        """SIGKILL, and a new process after `seconds`."""
        if self.process is None:
            return
        self._world.tell(self.process, f"is killed; starts again in {seconds:.1f} s")
        self._bury(self.process)
        self._world.timeline.after(seconds, self.start)

    def stop(self, seconds: float) -> None:
        """SIGTERM, SIGKILL after the drain time, and a new process `seconds` after it ended."""
        if self.process is None or self.process.is_stopped:
            return
        self._world.tell(self.process, "is asked to stop")
        asyncio._set_running_loop(self.loop)
        self.poller.stop()
        asyncio._set_running_loop(None)
        self._world.timeline.after(DRAIN_SECONDS, self._kill_if, self.process)
        self._rest_seconds = seconds

    def partition(self, seconds: float) -> None:
        """The store is out of reach."""
        if self.process is not None:
            self._world.tell(self.process, f"has no store for {seconds:.1f} s")
            self.link.partitioned_until = self._world.timeline.now + seconds

    def end(self) -> None:
        """Stop for good."""
        self.is_ending = True
        self.stop(0.0)

    def _resume(self, process: Process, loop: SimulatedLoop) -> None:
        if process is self.process:
            self._world.tell(process, "goes on")
            process.is_stopped = False
            loop.resume(self._world.random)

    def _kill_if(self, process: Process) -> None:
        if process is self.process:
            self.kill(0.1)

    def _bury(self, process: Process) -> None:
        self.process = None
        process.is_alive = False
        process.is_stopped = False
        self.loop.kill()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """`run` ended by itself."""
        process, world = self.process, self._world
        if process is None:
            return
        failure = None if task.cancelled() else task.exception()
        world.oracle.check(NO_BUG, failure is None, f"{process} broke: {failure!r}")
        world.tell(process, f"ended: {failure!r}")
        process.is_alive = False
        process.has_ended = failure is None
        self.process = None
        self.loop.is_dead = True
        if not self.is_ending and not world.oracle.all_done:
            world.timeline.after(self._rest_seconds, self.start)


class Simulation:
    """One seed."""

    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        random = Random(seed)
        plan = make_plan(random)
        self.seed = seed
        self.world = World(plan, random, tell)
        self.engines = [Engine(number, self.world, plan.skews[number]) for number in range(ENGINES)]

    def run(self) -> Findings:
        world = self.world
        for engine in self.engines:
            world.timeline.after(world.random.uniform(0.0, 2.0), engine.start)
        for fault in world.plan.faults:
            world.timeline.after(fault.at, self._strike, fault)
        world.timeline.after(world.plan.calm_at, self._calm)
        try:
            self._let_run()
        except Livelock as error:
            world.oracle.check(NO_BUG, False, str(error))
        for engine in self.engines:
            if engine.process is not None:
                engine.kill(0.0)
        oracle = world.oracle
        return Findings(
            self.seed, oracle.violations, world.timeline.now, oracle.duplicates, oracle.refused
        )

    def _let_run(self) -> None:
        world = self.world
        timeline, oracle, calm_at = world.timeline, world.oracle, world.plan.calm_at
        timeline.run(calm_at, lambda: False)
        timeline.run(calm_at + CATCH_UP_SECONDS, lambda: oracle.all_done)
        oracle.check(FINISHED, oracle.all_done, f"not finished: {oracle.pending()}")
        for engine in self.engines:
            engine.end()
        ends = timeline.now + DRAIN_SECONDS - 1.0
        timeline.run(ends, lambda: all(engine.process is None for engine in self.engines))
        timeline.run(timeline.now + 5.0, lambda: False)
        if oracle.all_done:
            self._check_released()

    def _check_released(self) -> None:
        """A take or renewal that was under way may lapse by itself; what an engine knew it had is
        free, unless it is finished, when nobody wants it."""
        now = self.world.timeline.now
        for shard in self.world.oracle.shards.values():
            if shard.holder is None or not shard.holder.has_ended:
                continue
            told = shard.holder.leases.get(shard.name)
            self.world.oracle.check(
                LIVE_LEASE,
                shard.finished
                or told is None
                or told.epoch != shard.epoch
                or shard.expires_at <= now,
                f"{shard.name} is still {shard.holder}'s after a graceful stop",
            )

    def _strike(self, fault: Fault) -> None:
        engine, world = self.engines[fault.engine], self.world
        until = world.timeline.now + fault.seconds
        match fault.kind:
            case "pause":
                engine.pause(fault.seconds)
            case "kill":
                engine.kill(fault.seconds)
            case "stop":
                engine.stop(fault.seconds)
            case "partition":
                engine.partition(fault.seconds)
            case "outage":
                world.store_down_until = until
            case "stream_outage":
                world.stream_down_until = until

    def _calm(self) -> None:
        """Nothing fails from now on: what is stopped goes on, what is down comes back."""
        world = self.world
        world.is_calm = True
        world.tell("", "calm")
        world.store_down_until = world.stream_down_until = 0.0
        for engine in self.engines:
            process = engine.process
            if process is None:
                engine.start()
            else:
                engine.link.partitioned_until = 0.0
                engine._resume(process, engine.loop) if process.is_stopped else None


@contextmanager
def quiet() -> Iterator[None]:
    """The engines' warnings are what is expected here."""
    loggers = [logging.getLogger(name) for name in ("eventmesh.mappings", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def run_seed(seed: int, tell: Callable[[str], None] | None = None) -> Findings:
    """Run one seed; `tell` gets the trace."""
    with quiet():
        return Simulation(seed, tell).run()
