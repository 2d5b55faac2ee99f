"""Error payloads the platform itself makes, byte for byte (semantics 1.3 and 1.4). Pure."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import orjson

from eventmesh.environments.frames import RESPONSE_LIMIT_BYTES


@dataclass(frozen=True, slots=True)
class Failure:
    """What an invocation failed with: the error object and its two fields as text."""

    error_type: str
    message: str
    payload: bytes
    #: `Status: ...` of the REPORT line; "" when the handler itself failed
    status: str = ""


def timed_out(request_id: str, timeout_seconds: float) -> Failure:
    message = f"RequestId: {request_id} Error: {task_timed_out(timeout_seconds)}"
    return _platform_failure("Sandbox.Timedout", message, "timeout")


def task_timed_out(timeout_seconds: float) -> str:
    return f"Task timed out after {timeout_seconds:.2f} seconds"


def exited(request_id: str, wait_status: int | None) -> Failure:
    """The runtime ended by itself or was killed; `wait_status` as waitpid gives it, None when it
    is not known."""
    message = f"RequestId: {request_id} Error: {exit_text(wait_status)}"
    return _platform_failure("Runtime.ExitError", message, "error\tError Type: Runtime.ExitError")


def exit_text(wait_status: int | None) -> str:
    if wait_status is None or os.WIFSIGNALED(wait_status):
        number = signal.SIGKILL if wait_status is None else os.WTERMSIG(wait_status)
        return f"Runtime exited with error: signal: {_signal_name(number)}"
    code = os.WEXITSTATUS(wait_status)
    if code:
        return f"Runtime exited with error: exit status {code}"
    return "Runtime exited without providing a reason"


def response_too_large() -> Failure:
    message = (
        "Response payload size exceeded maximum allowed payload size "
        f"({RESPONSE_LIMIT_BYTES} bytes)."
    )
    error_type = "Function.ResponseSizeTooLarge"
    payload = orjson.dumps({"errorMessage": message, "errorType": error_type})
    return Failure(error_type, message, payload)


def _platform_failure(error_type: str, message: str, status: str) -> Failure:
    payload = orjson.dumps({"errorType": error_type, "errorMessage": message})
    return Failure(error_type, message, payload, status)


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return _SIGNAL_NAMES.get(name, f"signal {number}")


# as Go prints them on Linux: the platform's own messages are made by a Go program
_SIGNAL_NAMES = {
    "SIGABRT": "aborted",
    "SIGALRM": "alarm clock",
    "SIGBUS": "bus error",
    "SIGFPE": "floating point exception",
    "SIGHUP": "hangup",
    "SIGILL": "illegal instruction",
    "SIGINT": "interrupt",
    "SIGIO": "I/O possible",
    "SIGKILL": "killed",
    "SIGPIPE": "broken pipe",
    "SIGPROF": "profiling timer expired",
    "SIGPWR": "power failure",
    "SIGQUIT": "quit",
    "SIGSEGV": "segmentation fault",
    "SIGSTKFLT": "stack fault",
    "SIGSYS": "bad system call",
    "SIGTERM": "terminated",
    "SIGTRAP": "trace/breakpoint trap",
    "SIGUSR1": "user defined signal 1",
    "SIGUSR2": "user defined signal 2",
    "SIGVTALRM": "virtual timer expired",
    "SIGXCPU": "CPU time limit exceeded",
    "SIGXFSZ": "file size limit exceeded",
}
