"""The process that owns a test run's servers and ends with the run, however the run ends.

`python -m tests.servers.supervisor DIRECTORY PID` listens on DIRECTORY/socket for one line of JSON
a connection and answers with one. When process PID is gone it kills every server and removes
DIRECTORY. Should the supervisor itself be killed, the kernel ends the servers (Linux), and the next
run's supervisor what those had started.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers.catalogue import recipe_named
from tests.servers.instance import EndedEarly, Instance
from tests.servers.processes import kill_marked, started_at
from tests.servers.recipe import MissingTool, Recipe, StartFailed, Unavailable

WATCH_SECONDS = 0.5
ATTEMPTS = 2


class Supervisor:
    """Instances by key: a server's name for the shared one, anything else for a private one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._instances: dict[str, Instance] = {}
        self._refusals: dict[str, Exception] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to one request: {"ok": ...} or {"error": text, "kind": class name}."""
        try:
            return {"ok": await self._serve(request)}
        except (Unavailable, StartFailed, LookupError) as failure:
            kind = "Unavailable" if isinstance(failure, Unavailable) else type(failure).__name__
            return {"error": str(failure), "kind": kind}

    async def _serve(self, request: Mapping[str, Any]) -> Any:
        if request["do"] == "list":
            return [self._described(key) for key, one in self._instances.items() if one.running]
        key = request["key"]
        async with self._locks[key]:
            if request["do"] == "acquire":
                return await self._acquire(key, request["name"], request.get("advertised"))
            await self._act(key, request["do"])
            return self._described(key) if key in self._instances else None

    async def _act(self, key: str, verb: str) -> None:
        if key not in self._instances:
            raise LookupError(f"no server is kept under {key!r}")
        instance = self._instances[key]
        if verb == "discard":
            del self._instances[key]
            await instance.discard()
        elif verb in {"stop", "restart"}:
            await instance.stop()
        elif verb == "kill":
            await instance.stop(grace=0)
        if verb in {"start", "restart"}:
            await instance.start()

    async def _acquire(self, key: str, name: str, advertised: int | None) -> dict[str, Any]:
        """Install and start once. A refusal is remembered: not every test waits for it again."""
        for known in (key, name):
            if known in self._refusals:
                raise self._refusals[known]
        if key not in self._instances:
            try:
                self._instances[key] = await self._started(key, recipe_named(name), advertised)
            except Unavailable as refusal:
                self._refusals[name] = refusal
                raise
            except StartFailed as failure:
                self._refusals[key] = failure
                raise
        return self._described(key)

    async def _started(self, key: str, recipe: Recipe, advertised: int | None) -> Instance:
        try:
            home = await asyncio.to_thread(recipe.install)
        except MissingTool:
            if recipe.fallback is None:
                raise
            return await self._started(key, recipe_named(recipe.fallback), advertised)
        for attempt in range(1, ATTEMPTS + 1):
            directory = self._directory / key
            instance = Instance.create(recipe, home, directory, advertised)
            try:
                await instance.start()
            except EndedEarly:  # perhaps another run took the port in between
                if attempt == ATTEMPTS:
                    raise
            else:
                break
        return instance

    def _described(self, key: str) -> dict[str, Any]:
        instance = self._instances[key]
        return {
            "key": key,
            "name": instance.recipe.name,
            "port": instance.place.port,
            "address": instance.recipe.address_at(instance.place.advertised),
            "log": str(instance.log),
        }

    async def close(self) -> None:
        stops = [instance.stop(grace=0) for instance in self._instances.values()]
        await asyncio.gather(*stops, return_exceptions=True)


async def supervise(directory: Path, pid: int) -> None:
    """Serve until process `pid` is gone or SIGTERM comes, then kill all, clean up and exit."""
    await asyncio.to_thread(sweep, directory.parent)
    supervisor = Supervisor(directory)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    path = directory / "socket"
    server = await asyncio.start_unix_server(lambda r, w: _converse(supervisor, r, w), path)
    watch = asyncio.create_task(_watch(pid, over))
    try:
        await over.wait()
    finally:
        watch.cancel()
        server.close()
        await supervisor.close()
        shutil.rmtree(directory, ignore_errors=True)
        os._exit(0)  # asyncio would wait for an installation that nobody waits for any more


def sweep(runs: Path) -> None:
    """Kill and remove what runs left under `runs` whose main process is gone.

    Their own supervisor may be at it too: both do the same.
    """
    stale = {path.stem for path in runs.iterdir() if run_is_over(path.stem)}
    if not stale:
        return
    kill_marked(
        lambda directory: directory.parent.parent == runs and directory.parent.name in stale
    )
    for name in stale:
        shutil.rmtree(runs / name, ignore_errors=True)
        (runs / f"{name}.lock").unlink(missing_ok=True)


def run_is_over(name: str) -> bool:
    """Whether the run of directory `name`, PID-START, has lost its main process."""
    pid, _, start = name.partition("-")
    return pid.isdigit() and started_at(int(pid)) != start


async def _converse(
    supervisor: Supervisor, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        line = await reader.readline()
        if line:
            reply = await supervisor.answer(json.loads(line))
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
    except ConnectionError:
        pass  # the worker that asked is gone
    finally:
        writer.close()


async def _watch(pid: int, over: asyncio.Event) -> None:
    """Set `over` when process `pid` ends: at once through a pidfd (Linux), else found by asking."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        over.set()
    except (AttributeError, OSError):
        await asyncio.to_thread(_outlast, pid)
        over.set()
    else:
        asyncio.get_running_loop().add_reader(descriptor, over.set)


def _outlast(pid: int) -> None:
    first = started_at(pid)
    while first and started_at(pid) == first:
        time.sleep(WATCH_SECONDS)


def main() -> None:
    directory, pid = Path(sys.argv[1]), int(sys.argv[2])
    asyncio.run(supervise(directory, pid))


if __name__ == "__main__":
    main()
