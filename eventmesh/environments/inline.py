"""Isolation `inline`: the handler runs inside the engine, for tests, breakpoints and coverage.

Results, error payloads, context and log lines are those of a process of its own. What cannot be
had: a handler over its time is reported but not stopped, memory is not limited, `os._exit` ends
the engine, and all inline functions share `os.environ`, the working directory and module names.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Mapping
from concurrent.futures import Future as ThreadFuture
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from eventmesh.clock import Clock
from eventmesh.connectors import InvocationResult
from eventmesh.environments import logs, results, runtime
from eventmesh.environments.contract import InvocationRequest
from eventmesh.environments.failures import response_too_large
from eventmesh.environments.frames import RESPONSE_LIMIT_BYTES
from eventmesh.environments.logs import LogStream
from eventmesh.environments.results import Figures, Reply
from eventmesh.environments.specification import Surroundings, new_sandbox, variables
from eventmesh.errors import InitializationError
from eventmesh.functions.function import Function
from eventmesh.telemetry import LogText, Telemetry

runtime.MACHINERY.add(__file__)


@dataclass(slots=True, eq=False)
class _Call:
    """One invocation or init under way: whose output is whose."""

    request_id: str
    debugging: bool = False
    _output: list[bytes] = field(default_factory=list)
    _room: int = logs.OUTPUT_LIMIT_BYTES
    _dropped: int = 0

    def write(self, text: str) -> None:
        data = text.encode(errors="backslashreplace")
        kept = data[: self._room]
        self._room -= len(kept)
        self._dropped += len(data) - len(kept)
        if kept:
            self._output.append(kept)

    def pour(self, log: LogStream) -> None:
        """Hand what was written to the log."""
        log.add(b"".join(self._output))
        log.drop(self._dropped)


_current: contextvars.ContextVar[_Call | None] = contextvars.ContextVar(
    "eventmesh_inline_call", default=None
)


class _Capture(io.TextIOBase):
    """Stands for stdout or stderr: a handler's text goes to its log, all else where it went."""

    def __init__(self, original: TextIO) -> None:
        self.original = original

    def write(self, text: str) -> int:
        call = _current.get()
        if call is None or call.debugging:
            return self.original.write(text)
        call.write(text)
        return len(text)

    def flush(self) -> None:
        self.original.flush()

    def fileno(self) -> int:
        return self.original.fileno()

    def isatty(self) -> bool:
        return self.original.isatty()


class _LogHandler(runtime.LogHandler):
    """The runtime's log format, for records that a handler makes."""

    def __init__(self) -> None:
        super().__init__(lambda: getattr(_current.get(), "request_id", ""))

    def emit(self, record: logging.LogRecord) -> None:
        if _current.get() is not None:
            super().emit(record)


class _Caller(runtime.Caller):
    """Awaits what `async def` handlers return on the engine's own loop."""

    engine_loop: asyncio.AbstractEventLoop

    def _await(self, awaitable: Awaitable[Any]) -> Any:
        value, error = asyncio.run_coroutine_threadsafe(
            _settle(awaitable), self.engine_loop
        ).result()
        if error is not None:
            raise error
        return value


async def _settle(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    # SystemExit in a task would end the engine's loop
    try:
        return await awaitable, None
    except BaseException as error:
        return None, error


@dataclass(slots=True)
class _Loaded:
    """A handler ready to be called, or the failure of its init."""

    function: Function
    stream: str
    caller: _Caller | None
    failure: runtime.Failure | None
    init_seconds: float
    init: _Call
    fresh: bool = True


class InlinePool:
    """An `EnvironmentPool` without processes. Handlers run in threads, `async def` ones on the
    loop."""

    def __init__(
        self,
        clock: Clock,
        telemetry: Telemetry,
        *,
        extra_environment: Mapping[str, str] | None = None,
    ) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._extra_environment = dict(extra_environment or {})
        self._loaded: dict[tuple[str, str], _Loaded] = {}
        self._loading = asyncio.Lock()
        self._presence = _Presence()

    async def invoke(self, function: Function, request: InvocationRequest) -> InvocationResult:
        """See `EnvironmentPool.invoke`. Cancelling does not stop the handler's thread."""
        loaded = await self._load(function)
        log = LogStream(loaded.stream, self._emit_log(function.name, loaded.stream))
        request_id = request.request_id
        init_seconds = self._report_init(loaded, log)
        log.begin(request_id, logs.start_line(request_id, function.version))
        if loaded.caller is None:
            return self._conclude_failed_init(loaded, request_id, log)
        call = _Call(request_id)
        began = self._clock.monotonic()
        outcome = await self._call(loaded.caller, function, request, call)
        figures = Figures(
            self._clock.monotonic() - began, runtime.peak_memory_kb() // 1024, init_seconds
        )
        call.pour(log)
        self._presence.restore()
        return self._conclude(function, request_id, outcome, figures, log)

    async def provision(self, function: Function) -> None:
        """Load the handler. Raises InitializationError when that fails."""
        loaded = await self._load(function)
        if loaded.failure is not None:
            failure = loaded.failure
            raise InitializationError(
                f"function {function.name} did not start: {failure.error_type}: {failure.message}"
            )

    async def retire(self, function: Function) -> None:
        """Forget the handler and its modules, so that the next invocation loads them anew."""
        loaded = self._loaded.get((function.name, function.version))
        if loaded is not None and loaded.function == function:
            del self._loaded[function.name, function.version]
            _forget_modules(function.code_directory)

    async def close(self) -> None:
        """Put stdout, variables and logging back as they were."""
        self._loaded.clear()
        self._presence.leave()

    # --- loading

    async def _load(self, function: Function) -> _Loaded:
        key = (function.name, function.version)
        async with self._loading:
            loaded = self._loaded.get(key)
            if loaded is None or loaded.function != function:
                self._presence.enter(await asyncio.to_thread(os.getcwd))
                loop = asyncio.get_running_loop()
                loaded = await asyncio.to_thread(self._load_now, function, loop)
                if loaded.failure is None:
                    self._loaded[key] = loaded
        return loaded

    def _load_now(self, function: Function, loop: asyncio.AbstractEventLoop) -> _Loaded:
        temporary = Path(tempfile.gettempdir())
        sandbox = new_sandbox(function, temporary, self._clock.now())
        around = Surroundings(self._extra_environment)
        given = variables(function, sandbox, around)
        os.environ.update(given)
        layers = [str(layer) for layer in function.layers]
        paths = runtime.import_path(
            str(function.code_directory), layers, dict(function.environment)
        )
        sys.path[:0] = [path for path in paths if path not in sys.path]
        _forget_strangers(function)
        call = _Call("")
        token = _current.set(call)
        began = time.perf_counter()
        caller, failure = None, None
        try:
            handler = runtime.load_handler(function.handler)
            caller = _Caller(handler, runtime.context_constants(given), function.strict_json)
            caller.engine_loop = loop
        except BaseException as error:
            failure = runtime.Failure(error)
            call.write(failure.log_text())
        finally:
            _current.reset(token)
        seconds = time.perf_counter() - began
        return _Loaded(function, sandbox.stream, caller, failure, seconds, call)

    def _report_init(self, loaded: _Loaded, log: LogStream) -> float | None:
        if not loaded.fresh:
            return None
        loaded.fresh = False
        log.write(logs.init_start_line(tuple(sys.version_info[:3]), loaded.function.region))
        loaded.init.pour(log)
        log.end()
        return loaded.init_seconds

    def _emit_log(self, function: str, stream: str) -> logs.Emit:
        emit = self._telemetry.emit
        return lambda request_id, text: emit(LogText(function, stream, request_id, text))

    # --- calling

    async def _call(
        self, caller: _Caller, function: Function, request: InvocationRequest, call: _Call
    ) -> bytes | runtime.Failure | SystemExit | None:
        """The body, the failure, or None when the time was over first."""
        header = {
            "request_id": request.request_id,
            "deadline_ms": int((self._clock.now() + function.timeout_seconds) * 1000),
            "arn": request.invoked_function_arn,
            "client_context": request.client_context,
        }
        os.environ.update(function.environment)
        runtime.set_trace_id(request.trace_id)
        answer: ThreadFuture[bytes | runtime.Failure | SystemExit] = ThreadFuture()
        work = (caller, header, request.event, call, answer)
        threading.Thread(target=_run, args=work, daemon=True, name="eventmesh-inline").start()
        waiter = asyncio.wrap_future(answer)
        while True:
            done, _ = await asyncio.wait({waiter}, timeout=function.timeout_seconds)
            if done:
                return waiter.result()
            if not call.debugging:
                return None

    def _conclude(
        self,
        function: Function,
        request_id: str,
        outcome: bytes | runtime.Failure | SystemExit | None,
        figures: Figures,
        log: LogStream,
    ) -> InvocationResult:
        if outcome is None:
            return results.time_out(function, request_id, self._clock.now(), figures, log)
        if isinstance(outcome, SystemExit):
            status = _exit_status(outcome.code) << 8
            return results.report_exit(function, request_id, status, figures, log)
        if isinstance(outcome, runtime.Failure):
            log.add(outcome.log_text().encode(errors="backslashreplace"))
            reply = _reply_of(outcome, request_id)
            return results.conclude(function, request_id, reply, figures, log)
        if len(outcome) > RESPONSE_LIMIT_BYTES:
            return results.fail(function, request_id, response_too_large(), figures, log)
        return results.conclude(function, request_id, Reply(outcome), figures, log)

    def _conclude_failed_init(
        self, loaded: _Loaded, request_id: str, log: LogStream
    ) -> InvocationResult:
        failure = loaded.failure
        assert failure is not None
        log.write(f"[ERROR] {failure.error_type}: {failure.message}\n".encode())
        figures = Figures(0.0, runtime.peak_memory_kb() // 1024)
        figures.status = f"error\tError Type: {failure.error_type}"
        reply = _reply_of(failure, "")
        return results.conclude(loaded.function, request_id, reply, figures, log)


def _run(
    caller: _Caller,
    header: dict[str, Any],
    event: bytes,
    call: _Call,
    answer: ThreadFuture[bytes | runtime.Failure | SystemExit],
) -> None:
    """A handler's thread."""
    _current.set(call)
    try:
        outcome: Any = caller.call(header, event)
    except SystemExit as error:
        outcome = error
    if answer.set_running_or_notify_cancel():
        answer.set_result(outcome)


def _reply_of(failure: runtime.Failure, request_id: str) -> Reply:
    return Reply(failure.payload(request_id), failure.error_type, failure.message)


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


class _Presence:
    """What inline functions change in the engine's process, and put back."""

    def __init__(self) -> None:
        self._captures: list[tuple[str, _Capture]] = []
        self._environment: dict[str, str] = {}
        self._path: list[str] = []
        self._handler = _LogHandler()
        self._breakpoint: Any = None
        self._directory = ""
        self._umask = 0

    def enter(self, directory: str) -> None:
        if self._captures:
            return
        self._environment, self._path = dict(os.environ), list(sys.path)
        for name in ("stdout", "stderr"):
            capture = _Capture(getattr(sys, name))
            self._captures.append((name, capture))
            setattr(sys, name, capture)
        logging.getLogger().addHandler(self._handler)
        self._breakpoint, sys.breakpointhook = sys.breakpointhook, self._break
        self._directory, self._umask = directory, os.umask(0o077)
        os.umask(self._umask)

    def restore(self) -> None:
        """After each call: the engine writes files too, and means its own directory and mode."""
        os.umask(self._umask)
        os.chdir(self._directory)

    def leave(self) -> None:
        if not self._captures:
            return
        for name, capture in self._captures:
            if getattr(sys, name) is capture:
                setattr(sys, name, capture.original)
        self._captures = []
        logging.getLogger().removeHandler(self._handler)
        sys.breakpointhook = self._breakpoint
        os.environ.clear()
        os.environ.update(self._environment)
        sys.path[:] = self._path

    def _break(self, *arguments: Any, **options: Any) -> Any:
        """`breakpoint()`: the terminal is the debugger's and the clock stops."""
        call = _current.get()
        if call is None or "PYTHONBREAKPOINT" in os.environ:
            return self._breakpoint(*arguments, **options)
        import pdb

        call.debugging = True
        pdb.Pdb().set_trace(sys._getframe(1))
        return None


def _forget_modules(code_directory: Path) -> None:
    """Drop every module that was imported from below `code_directory`."""
    for name in [n for n, module in sys.modules.items() if _is_below(module, code_directory)]:
        del sys.modules[name]


def _forget_strangers(function: Function) -> None:
    """Drop another inline function's module of the same name (`app`, `handler`)."""
    top = function.handler.replace("/", ".").split(".")[0]
    directory = function.code_directory
    if not ((directory / f"{top}.py").exists() or (directory / top).is_dir()):
        return
    names = [n for n in sys.modules if n == top or n.startswith(f"{top}.")]
    for name in names:
        if not _is_below(sys.modules[name], directory):
            del sys.modules[name]
    if sys.path[0] != str(directory):
        sys.path.insert(0, str(directory))


def _is_below(module: ModuleType, directory: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).is_relative_to(directory)
