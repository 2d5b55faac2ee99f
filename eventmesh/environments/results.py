"""From a handler's answer to an `InvocationResult`, END and REPORT lines included."""

from __future__ import annotations

from dataclasses import dataclass

from eventmesh.connectors import InvocationResult
from eventmesh.environments import failures, logs
from eventmesh.environments.failures import Failure
from eventmesh.environments.logs import LogStream, Report
from eventmesh.functions.function import Function


@dataclass(slots=True)
class Reply:
    """The handler's answer, well or not. `error_type` is None when it succeeded."""

    body: bytes
    error_type: str | None = None
    error_message: str | None = None


@dataclass(slots=True)
class Figures:
    """What an invocation took; `status` ends the REPORT line when it is not ""."""

    duration_seconds: float
    max_memory_mb: int
    init_seconds: float | None = None
    status: str = ""


def conclude(
    function: Function, request_id: str, reply: Reply, figures: Figures, log: LogStream
) -> InvocationResult:
    """End the invocation's log and make its result."""
    report = Report(
        request_id,
        figures.duration_seconds,
        function.memory_mb,
        figures.max_memory_mb,
        figures.init_seconds,
        figures.status,
    )
    return InvocationResult(
        request_id,
        reply.body,
        function.version,
        None if reply.error_type is None else "Unhandled",
        reply.error_type,
        reply.error_message,
        log.end(report.lines()),
        figures.duration_seconds,
        figures.init_seconds,
        figures.max_memory_mb,
    )


def fail(
    function: Function, request_id: str, failure: Failure, figures: Figures, log: LogStream
) -> InvocationResult:
    """Like `conclude`, for a failure the platform reports."""
    figures.status = failure.status
    reply = Reply(failure.payload, failure.error_type, failure.message)
    return conclude(function, request_id, reply, figures, log)


def time_out(
    function: Function, request_id: str, now: float, figures: Figures, log: LogStream
) -> InvocationResult:
    """The result of an invocation over its time; `now` in epoch seconds for the log line."""
    timeout = function.timeout_seconds
    log.write(logs.timeout_line(now, request_id, failures.task_timed_out(timeout)))
    return fail(function, request_id, failures.timed_out(request_id, timeout), figures, log)


def report_exit(
    function: Function,
    request_id: str,
    wait_status: int | None,
    figures: Figures,
    log: LogStream,
) -> InvocationResult:
    """The result of an invocation whose process ended; `wait_status` as waitpid gives it."""
    failure = failures.exited(request_id, wait_status)
    log.write(f"{failure.message}\n{failure.error_type}\n".encode())
    return fail(function, request_id, failure, figures, log)
