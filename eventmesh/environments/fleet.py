"""All environments of one function version: which are idle, how one is started, how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from eventmesh.clock import Clock
from eventmesh.connectors import InvocationResult
from eventmesh.environments import failures, logs, results
from eventmesh.environments.contract import InvocationRequest
from eventmesh.environments.launchers import Launcher
from eventmesh.environments.logs import LogStream
from eventmesh.environments.process import Death, EnvironmentProcess, State
from eventmesh.environments.results import Figures, Reply
from eventmesh.environments.specification import (
    Sandbox,
    Surroundings,
    encode_specification,
    new_sandbox,
)
from eventmesh.environments.watch import Watch
from eventmesh.errors import InitializationError
from eventmesh.functions.function import Function
from eventmesh.telemetry import EnvironmentStarted, EnvironmentStopped, LogText, Telemetry

logger = logging.getLogger("eventmesh.environments")

REPLENISH_SECONDS = 1.0
#: ends after which /tmp is emptied instead of being handed to the next process
_FINAL_REASONS = frozenset(("idle", "retired", "closing", "storage"))


class Facilities(Protocol):
    """What a fleet needs of its pool."""

    clock: Clock
    telemetry: Telemetry
    work_directory: Path
    init_limit_seconds: float
    watch: Watch

    async def equip(self, function: Function) -> tuple[Launcher, Surroundings]:
        """The launcher of the function's interpreter. Raises InitializationError."""
        ...

    def discard(self, sandbox: Sandbox) -> None:
        """Remove what is left of a sandbox, in the background."""
        ...

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> object:
        """Run `work` until the pool is closed."""
        ...


@dataclass(slots=True)
class _Attempt:
    """One invocation under way in one environment."""

    request: InvocationRequest
    process: EnvironmentProcess
    init_seconds: float | None = None
    #: of the function's timeout, used up by a repeated init
    spent_seconds: float = 0.0

    def figures(self, duration_seconds: float) -> Figures:
        memory_mb = -(-self.process.max_memory_kb // 1024)
        return Figures(duration_seconds, memory_mb, self.init_seconds)


class Fleet:
    """Last used, first taken. Nothing here blocks; all of it runs on the event loop."""

    def __init__(self, function: Function, facilities: Facilities) -> None:
        self.function = function
        self.processes: set[EnvironmentProcess] = set()
        self._idle: list[EnvironmentProcess] = []
        self._sandboxes: list[Sandbox] = []
        self._facilities = facilities
        self._monotonic, self._now = facilities.clock.monotonic, facilities.clock.now
        self._retired = False

    @property
    def busy(self) -> int:
        return len(self.processes) - len(self._idle)

    # --- invoking

    async def invoke(self, request: InvocationRequest) -> InvocationResult:
        """See `EnvironmentPool.invoke`."""
        while self._idle:
            attempt = _Attempt(request, self._idle.pop())
            future = self._send(attempt)
            if future is not None:
                return await self._finish(attempt, future)
        return await self._invoke_cold(request)

    def _send(self, attempt: _Attempt) -> asyncio.Future[Reply | Death] | None:
        request, function = attempt.request, self.function
        timeout = function.timeout_seconds - attempt.spent_seconds
        deadline_ms = int((self._now() + timeout) * 1000)
        header = encode_request(request, deadline_ms)
        future = attempt.process.send(header, request.event, timeout)
        if future is not None:
            attempt.process.attended = True
            start = logs.start_line(request.request_id, function.version)
            attempt.process.log.begin(request.request_id, start)
            watch = self._facilities.watch
            if not watch.active:
                watch.touch()
        return future

    async def _finish(
        self, attempt: _Attempt, future: asyncio.Future[Reply | Death]
    ) -> InvocationResult:
        began = self._monotonic()
        try:
            outcome = await future
        except asyncio.CancelledError:
            _abandon(attempt.process)
            raise
        ended = self._monotonic()
        duration = ended - began + attempt.spent_seconds
        if isinstance(outcome, Death):
            return self._conclude_death(attempt, outcome, duration)
        figures = attempt.figures(duration)
        request_id, log = attempt.request.request_id, attempt.process.log
        result = results.conclude(self.function, request_id, outcome, figures, log)
        self._release(attempt.process, ended)
        return result

    def _release(self, process: EnvironmentProcess, now: float) -> None:
        if process.state is not State.IDLE:
            return
        process.attended = False
        if self._retired:
            process.kill("retired")
        else:
            process.idle_since = now
            self._idle.append(process)

    def _conclude_death(self, attempt: _Attempt, death: Death, duration: float) -> InvocationResult:
        request_id, log = attempt.request.request_id, attempt.process.log
        figures = attempt.figures(duration)
        if death.reason == "timeout":
            return results.time_out(self.function, request_id, self._now(), figures, log)
        status = death.wait_status
        return results.report_exit(self.function, request_id, status, figures, log)

    # --- starting

    async def _invoke_cold(self, request: InvocationRequest) -> InvocationResult:
        process, outcome = await self._start(self._facilities.init_limit_seconds)
        attempt = _Attempt(request, process, process.init_seconds)
        if isinstance(outcome, Death) and outcome.reason == "timeout":
            attempt, outcome = await self._repeat_init(request)
        if isinstance(outcome, Death) and outcome.launch_error is not None:
            raise InitializationError(
                f"no environment of function {self.function.name} could be started: "
                f"{outcome.launch_error}"
            )
        if isinstance(outcome, Reply) and outcome.error_type is None:
            future = self._send(attempt)
            if future is not None:
                return await self._finish(attempt, future)
            outcome = await attempt.process.gone()
        return self._conclude_start(attempt, outcome)

    async def _repeat_init(self, request: InvocationRequest) -> tuple[_Attempt, Reply | Death]:
        """The init ran into its limit: once more, within the function's timeout (semantics 9.1)."""
        began = self._monotonic()
        process, outcome = await self._start(self.function.timeout_seconds)
        return _Attempt(request, process, None, self._monotonic() - began), outcome

    def _conclude_start(self, attempt: _Attempt, outcome: Reply | Death) -> InvocationResult:
        request_id = attempt.request.request_id
        start = logs.start_line(request_id, self.function.version)
        log = attempt.process.log
        log.begin(request_id, start)
        attempt.init_seconds = None
        if isinstance(outcome, Death):
            return self._conclude_death(attempt, outcome, attempt.spent_seconds)
        # told during the init already; once more, for the tail of this invocation's log
        log.write(f"[ERROR] {outcome.error_type}: {outcome.error_message}\n".encode())
        figures = attempt.figures(attempt.spent_seconds)
        figures.status = f"error\tError Type: {outcome.error_type}"
        return results.conclude(self.function, request_id, outcome, figures, log)

    async def _start(
        self, limit_seconds: float, *, provisioned: bool = False
    ) -> tuple[EnvironmentProcess, Reply | Death]:
        """Start one environment and wait for its init, good or bad. It is not idle yet."""
        launcher, around = await self._facilities.equip(self.function)
        if provisioned:
            around = Surroundings(around.variables, around.private_tmp, True)
        sandbox = self._take_sandbox()
        log = LogStream(sandbox.stream, self._emit_log(sandbox.stream))
        log.write(logs.init_start_line(launcher.interpreter.version, self.function.region))
        process = EnvironmentProcess(sandbox, log, launcher, self._on_death)
        self.processes.add(process)
        self._facilities.watch.touch()
        began = self._monotonic()
        specification = encode_specification(self.function, sandbox, around)
        try:
            outcome = await process.start(specification, limit_seconds)
        except OSError as error:
            process.launch_failed(str(error))
            outcome = await process.gone()
        except asyncio.CancelledError:
            _abandon(process)
            raise
        self._report_init(process, outcome, self._monotonic() - began)
        return process, outcome

    def _report_init(
        self, process: EnvironmentProcess, outcome: Reply | Death, seconds: float
    ) -> None:
        if isinstance(outcome, Death):
            status = "timeout" if outcome.reason == "timeout" else "error"
            process.log.end(logs.init_report_line(seconds, status))
        elif outcome.error_type is not None:
            status = f"error\tError Type: {outcome.error_type}"
            process.log.end(logs.init_report_line(seconds, status))
        else:
            process.log.end()
            process.init_seconds = seconds
            self._facilities.telemetry.emit(
                EnvironmentStarted(
                    self.function.name,
                    self.function.version,
                    process.sandbox.name,
                    seconds,
                    process.pid,
                )
            )

    def _take_sandbox(self) -> Sandbox:
        if self._sandboxes:
            return self._sandboxes.pop()
        return new_sandbox(self.function, self._facilities.work_directory, self._now())

    def _emit_log(self, stream: str) -> logs.Emit:
        name, emit = self.function.name, self._facilities.telemetry.emit

        def emit_log(request_id: str, text: bytes) -> None:
            emit(LogText(name, stream, request_id, text))

        return emit_log

    # --- keeping and ending

    async def provision(self) -> None:
        """Start environments until there are as many as provisioned. Raises InitializationError
        when one does not come up."""
        missing = self.function.provisioned_concurrency - len(self.processes)
        await asyncio.gather(*(self._start_provisioned() for _ in range(missing)))

    async def _start_provisioned(self) -> None:
        limit = self._facilities.init_limit_seconds
        process, outcome = await self._start(limit, provisioned=True)
        if isinstance(outcome, Death) or outcome.error_type is not None:
            raise InitializationError(
                f"a provisioned environment of function {self.function.name} did not start: "
                f"{_explain(outcome, limit)}"
            )
        self._release(process, self._monotonic())

    async def _replenish(self) -> None:
        await self._facilities.clock.sleep(REPLENISH_SECONDS)
        try:
            if not self._retired:
                await self.provision()
        except InitializationError as error:
            logger.warning("%s", error)

    def _on_death(self, process: EnvironmentProcess) -> None:
        death = process.death
        assert death is not None
        self.processes.discard(process)
        if process in self._idle:
            self._idle.remove(process)
        if not process.attended:
            process.log.end()
        if death.launch_error is None:
            name, reason = self.function.name, death.reason
            self._facilities.telemetry.emit(EnvironmentStopped(name, process.sandbox.name, reason))
        if self._retired or death.reason in _FINAL_REASONS:
            self._facilities.discard(process.sandbox)
        else:
            self._sandboxes.append(process.sandbox)
        if process.ready and not self._retired and self.function.provisioned_concurrency:
            self._facilities.run_in_background(self._replenish())

    def reap(self, now: float, idle_timeout_seconds: float) -> None:
        """Stop environments idle for so long, longest idle first, down to the provisioned ones."""
        spare = len(self.processes) - self.function.provisioned_concurrency
        expired = [p for p in self._idle if p.idle_since + idle_timeout_seconds <= now]
        for process in expired[: max(0, spare)]:
            self._idle.remove(process)
            process.kill("idle")

    async def retire(self, reason: str = "retired") -> None:
        """Take no more invocations; stop the idle ones now, the busy ones after theirs."""
        self._retired = True
        stopping, self._idle = self._idle, []
        for process in stopping:
            process.kill(reason)
        for sandbox in self._sandboxes:
            self._facilities.discard(sandbox)
        self._sandboxes = []
        for process in stopping:
            await process.gone()

    async def close(self) -> None:
        """Kill all and wait until they are gone."""
        await self.retire("closing")
        for process in list(self.processes):
            process.kill("closing")
        for process in list(self.processes):
            await process.gone()


def _abandon(process: EnvironmentProcess) -> None:
    """Nobody waits for its outcome any more."""
    process.attended = False
    process.kill("cancelled")


def encode_request(request: InvocationRequest, deadline_ms: int) -> bytes:
    """The header of an INVOKE frame; `deadline_ms` in milliseconds since the epoch."""
    header: dict[str, object] = {
        "request_id": request.request_id,
        "deadline_ms": deadline_ms,
        "arn": request.invoked_function_arn,
    }
    if request.client_context is not None:
        header["client_context"] = request.client_context
    if request.trace_id is not None:
        header["trace_id"] = request.trace_id
    return orjson.dumps(header)


def _explain(outcome: Reply | Death, limit_seconds: float) -> str:
    if isinstance(outcome, Reply):
        return f"{outcome.error_type}: {outcome.error_message}"
    if outcome.launch_error is not None:
        return outcome.launch_error
    if outcome.reason == "timeout":
        return f"its init took longer than {limit_seconds:g} s"
    return failures.exit_text(outcome.wait_status)
