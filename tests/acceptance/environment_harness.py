"""A process pool, the handlers beside it and what it told, for the tests of environments."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from eventmesh.clock import Clock, SystemClock
from eventmesh.connectors import InvocationResult
from eventmesh.environments.contract import EnvironmentPool, InvocationRequest
from eventmesh.environments.pool import ProcessPool
from eventmesh.functions.function import Function
from eventmesh.telemetry import EnvironmentStopped, LogText, Telemetry, TelemetryEvent

HANDLERS = Path(__file__).with_name("handlers")
REQUEST_ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"


class Mesh:
    """The pool under test and what surrounds it. The handlers are copied, so that processes of
    this test can be told by their working directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.code = directory / "code"
        self.events: list[TelemetryEvent] = []
        self.telemetry = Telemetry()
        self.telemetry.subscribe(self.events.append)
        self.pool: EnvironmentPool

    @property
    def processes(self) -> ProcessPool:
        assert isinstance(self.pool, ProcessPool)
        return self.pool

    def function(self, handler: str, **settings: Any) -> Function:
        defaults: dict[str, Any] = {
            "name": handler.replace(".", "-").replace("/", "-"),
            "code_directory": self.code,
            "python": Path(sys.executable),
            "timeout_seconds": 5.0,
        }
        return Function(handler=handler, **{**defaults, **settings})

    async def call(
        self, function: Function | str, event: Any = None, **request: Any
    ) -> InvocationResult:
        function = self.function(function) if isinstance(function, str) else function
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        request.setdefault("request_id", REQUEST_ID)
        request.setdefault("invoked_function_arn", function.arn)
        return await self.pool.invoke(function, InvocationRequest(event=body, **request))

    def log(self, function: str | None = None) -> str:
        """All log text so far, of one function or of all."""
        texts = [
            event.text
            for event in self.events
            if isinstance(event, LogText) and function in (None, event.function)
        ]
        return b"".join(texts).decode(errors="replace")

    def stopped(self) -> list[str]:
        """Why environments stopped, in order."""
        return [event.reason for event in self.events if isinstance(event, EnvironmentStopped)]

    def processes_left(self) -> list[int]:
        """Processes whose working directory is this test's code directory."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{name}/cwd").startswith(str(self.code)):
                    found.append(int(name))
            except OSError:
                continue
        return found

    async def until_processes_left(self, count: int) -> None:
        """Returns once no more are; TimeoutError after a second has found a leak."""
        async with asyncio.timeout(1):
            while True:
                if len(await asyncio.to_thread(self.processes_left)) <= count:
                    return
                await asyncio.sleep(0.01)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds. A test that hangs here fails by its timeout."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    directory: Path, *, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[Mesh]:
    """A mesh with a process pool; at the end no process may be left."""
    mesh = Mesh(directory)
    await asyncio.to_thread(shutil.copytree, HANDLERS, mesh.code)
    # written here: no linter likes to meet it in the repository
    (mesh.code / "syntax_error.py").write_text("def handler(event, context)\n    return None\n")
    pool_type = settings.pop("pool_type", ProcessPool)
    mesh.pool = pool_type(
        clock or SystemClock(),
        mesh.telemetry,
        work_directory=directory / "work",
        host_paths=[directory],
        **settings,
    )
    try:
        yield mesh
    finally:
        await mesh.pool.close()
        await mesh.until_processes_left(0)


def payload(result: InvocationResult) -> Any:
    return json.loads(result.payload)
