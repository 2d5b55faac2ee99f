"""One running server: its directory, ports and process; started, stopped and killed."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.processes import end, free_ports, log_tail, spawn
from tests.servers.recipe import Place, Recipe, StartFailed

STOP_SECONDS = 15.0
PROBE_PAUSE = 0.05


class EndedEarly(StartFailed):
    """The process ended before it answered; another port may help."""


@dataclass
class Instance:
    recipe: Recipe
    place: Place
    process: subprocess.Popen[bytes] | None = field(default=None)

    @classmethod
    def create(
        cls, recipe: Recipe, home: Path, directory: Path, advertised: int | None
    ) -> Instance:
        """An instance not started yet, with free ports and an empty directory."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        ports = free_ports(recipe.ports)
        place = Place(home, directory, ports, ports[0] if advertised is None else advertised)
        return cls(recipe, place)

    @property
    def log(self) -> Path:
        return self.place.directory / "server.log"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def start(self) -> None:
        """Start on the instance's own ports and data; returns once it answers.

        Raises StartFailed with the log's end. Call on the event loop of the main thread.
        """
        if self.running:
            return
        launch = await asyncio.to_thread(self.recipe.launch, self.place)
        self.process = spawn(launch.command, launch.environment, self.place.directory, self.log)
        try:
            await self._wait_until_ready(self.process)
        except BaseException:
            await self.stop(grace=0)
            raise

    async def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.recipe.start_seconds
        while not await asyncio.to_thread(self._answers):
            if process.poll() is not None:
                raise EndedEarly(self._explain(f"ended with {process.returncode} at its start"))
            if time.monotonic() > deadline:
                waited = f"did not answer within {self.recipe.start_seconds:.0f} s"
                raise StartFailed(self._explain(waited))
            await asyncio.sleep(PROBE_PAUSE)

    def _answers(self) -> bool:
        try:
            return self.recipe.ready(self.place)
        except (OSError, ValueError):
            return False

    def _explain(self, what: str) -> str:
        ports = ", ".join(map(str, self.place.ports))
        name = f"{self.recipe.name} {self.recipe.version}"
        return f"{name} on 127.0.0.1 port {ports} {what}; its log ends:\n{log_tail(self.log)}"

    async def stop(self, grace: float = STOP_SECONDS) -> None:
        """End the whole process group: asked first, killed after `grace` seconds."""
        process, self.process = self.process, None
        if process is not None:
            await asyncio.to_thread(end, process, self.place.directory, grace)

    async def discard(self) -> None:
        await self.stop(grace=0)
        await asyncio.to_thread(shutil.rmtree, self.place.directory, True)
