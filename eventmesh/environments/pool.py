"""Process isolation: `ProcessPool` runs every environment as a process of its own."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from eventmesh.clock import Clock
from eventmesh.connectors import InvocationResult
from eventmesh.environments import limits
from eventmesh.environments.contract import InvocationRequest
from eventmesh.environments.fleet import Fleet
from eventmesh.environments.launchers import Launcher, SpawnLauncher
from eventmesh.environments.process import State
from eventmesh.environments.specification import SHIM, Sandbox, Surroundings
from eventmesh.environments.watch import Watch, Watched
from eventmesh.environments.zygote import ZygoteLauncher
from eventmesh.errors import InitializationError
from eventmesh.functions.function import Function
from eventmesh.telemetry import Telemetry

INIT_LIMIT_SECONDS = 10.0
TemporaryStorage = Literal["private /tmp", "TMPDIR only"]


class LauncherType(Protocol):
    async def open(self, python: Path, /) -> Launcher: ...


@dataclass(frozen=True, slots=True)
class EnvironmentCounts:
    """Environments of one function now, those starting counted as busy."""

    environments: int
    busy: int


class ProcessPool:
    """An `EnvironmentPool` of processes. One event loop; nothing here blocks it.

    `work_directory` holds the environments' temporary directories and is the pool's alone;
    `host_paths` are places of the host that the configuration names: a private /tmp must not
    hide them. `extra_environment` goes to every function.
    """

    #: forks where it can
    launcher_type: ClassVar[LauncherType] = (
        ZygoteLauncher if sys.platform == "linux" else SpawnLauncher
    )

    def __init__(
        self,
        clock: Clock,
        telemetry: Telemetry,
        *,
        work_directory: Path,
        host_paths: Sequence[Path] = (),
        idle_timeout_seconds: float = 600.0,
        extra_environment: Mapping[str, str] | None = None,
        init_limit_seconds: float = INIT_LIMIT_SECONDS,
    ) -> None:
        self.clock = clock
        self.telemetry = telemetry
        self.work_directory = work_directory
        self.init_limit_seconds = init_limit_seconds
        self.watch = Watch(self._busy)
        self._host_paths = tuple(host_paths)
        self._idle_timeout_seconds = idle_timeout_seconds
        self._extra_environment = dict(extra_environment or {})
        self._fleets: dict[tuple[str, str], Fleet] = {}
        self._retiring: set[Fleet] = set()
        self._launchers: dict[Path, asyncio.Task[Launcher]] = {}
        self._equipment: dict[tuple[str, str], tuple[Function, Launcher, Surroundings]] = {}
        self._prepared: asyncio.Task[None] | None = None
        self._reaper: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._removals: set[asyncio.Future[None]] = set()
        self._closed = False

    # --- the contract

    async def invoke(self, function: Function, request: InvocationRequest) -> InvocationResult:
        """See `EnvironmentPool.invoke`."""
        fleet = self._fleets.get((function.name, function.version))
        if fleet is None or fleet.function is not function:
            fleet = self._fleet_of(function)
        return await fleet.invoke(request)

    async def provision(self, function: Function) -> None:
        """See `EnvironmentPool.provision`. Raises InitializationError when one does not come up."""
        await self._fleet_of(function).provision()

    async def retire(self, function: Function) -> None:
        """See `EnvironmentPool.retire`; returns once the idle ones are gone."""
        fleet = self._fleets.get((function.name, function.version))
        if fleet is not None and fleet.function == function:
            del self._fleets[function.name, function.version]
            self._equipment.pop((function.name, function.version), None)
            await self._retire_fleet(fleet)

    async def close(self) -> None:
        """See `EnvironmentPool.close`. Idempotent."""
        self._closed = True
        fleets = [*self._fleets.values(), *self._retiring]
        self._fleets.clear()
        for fleet in fleets:
            await fleet.close()
        for task in self._launchers.values():
            await _close_launcher(task)
        self._launchers.clear()
        self.watch.close()
        for work in self._background:
            work.cancel()
        await asyncio.gather(*self._background, *self._removals, return_exceptions=True)

    # --- what others may ask

    def counts(self) -> dict[str, EnvironmentCounts]:
        """Environments by function name, all versions together. Never waits."""
        found: dict[str, EnvironmentCounts] = {}
        for fleet in self._all_fleets():
            seen = found.get(fleet.function.name, EnvironmentCounts(0, 0))
            found[fleet.function.name] = EnvironmentCounts(
                seen.environments + len(fleet.processes), seen.busy + fleet.busy
            )
        return found

    def pids(self) -> list[int]:
        """Process ids of all environments. Never waits."""
        return [p.pid for fleet in self._all_fleets() for p in fleet.processes if p.pid]

    async def temporary_storage(self, function: Function) -> TemporaryStorage:
        """How /tmp is given to the environments of `function`; starts its interpreter's zygote.

        Raises InitializationError.
        """
        _, around = await self.equip(function)
        return "private /tmp" if around.private_tmp else "TMPDIR only"

    # --- fleets

    def _fleet_of(self, function: Function) -> Fleet:
        if self._closed:
            raise InitializationError("the environments are closed")
        key = (function.name, function.version)
        fleet = self._fleets.get(key)
        if fleet is not None and fleet.function is not function and fleet.function != function:
            self.run_in_background(self._retire_fleet(fleet))
            fleet = None
        if fleet is None:
            fleet = self._fleets[key] = Fleet(function, self)
            if self._reaper is None:
                self._reaper = self.run_in_background(self._reap())
        return fleet

    async def _retire_fleet(self, fleet: Fleet) -> None:
        self._retiring.add(fleet)
        await fleet.retire()
        self._retiring = {f for f in self._retiring if f.processes}

    def _all_fleets(self) -> Iterator[Fleet]:
        yield from self._fleets.values()
        yield from self._retiring

    def _busy(self) -> Iterator[Watched]:
        for fleet in self._all_fleets():
            for process in fleet.processes:
                if process.pid and process.state in (State.BUSY, State.STARTING):
                    yield Watched(process, fleet.function)

    async def _reap(self) -> None:
        while True:
            await self.clock.sleep(max(self._idle_timeout_seconds / 10, 0.05))
            now = self.clock.monotonic()
            for fleet in self._fleets.values():
                fleet.reap(now, self._idle_timeout_seconds)

    # --- facilities for fleets

    async def equip(self, function: Function) -> tuple[Launcher, Surroundings]:
        """The launcher of the function's interpreter and what its environments are given."""
        key = (function.name, function.version)
        known = self._equipment.get(key)
        if known is not None and known[0] is function and not known[1].lost:
            return known[1], known[2]
        await self._prepare()
        launcher = await self._launcher_of(function.python)
        private_tmp = launcher.interpreter.private_tmp and await asyncio.to_thread(
            self._may_cover_tmp, function, launcher
        )
        around = Surroundings(self._extra_environment, private_tmp)
        self._equipment[key] = (function, launcher, around)
        return launcher, around

    def _may_cover_tmp(self, function: Function, launcher: Launcher) -> bool:
        """Whether nothing the handler needs, or was told of, lies under /tmp. Blocks."""
        needed: list[str | Path] = [
            function.code_directory,
            function.python,
            *function.layers,
            *self._host_paths,
            SHIM,
            *launcher.interpreter.paths,
            *limits.named_places(function.environment.values()),
        ]
        return limits.hides_nothing(needed)

    async def _launcher_of(self, python: Path) -> Launcher:
        task = self._launchers.get(python)
        if task is None or (task.done() and not _usable(task)):
            if task is not None:
                self.run_in_background(_close_launcher(task))
            task = self._launchers[python] = asyncio.ensure_future(self._open_launcher(python))
        return await asyncio.shield(task)

    async def _open_launcher(self, python: Path) -> Launcher:
        return await self.launcher_type.open(python)

    async def _prepare(self) -> None:
        """Once: make room for temporary directories, remove what a killed engine left."""
        if self._prepared is None:
            room = self.work_directory / "tmp"
            self._prepared = asyncio.ensure_future(asyncio.to_thread(_make_room, room))
        try:
            await asyncio.shield(self._prepared)
        except OSError as error:
            self._prepared = None
            raise InitializationError(
                f"cannot use {self.work_directory} for temporary directories: {error}"
            ) from None

    def discard(self, sandbox: Sandbox) -> None:
        """Remove a sandbox's directory in the background."""
        removal = asyncio.ensure_future(asyncio.to_thread(_remove, sandbox.directory))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task that `close` cancels."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def _make_room(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def _usable(task: asyncio.Task[Launcher]) -> bool:
    failed = task.cancelled() or task.exception() is not None
    return not failed and not task.result().lost


async def _close_launcher(task: asyncio.Task[Launcher]) -> None:
    """Close what the task opened; its failure was told to whoever waited for it."""
    try:
        launcher = await task
    except InitializationError:
        return
    await launcher.close()
