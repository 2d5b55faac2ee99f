"""Log streams and the platform's own log lines (semantics 1.8). Nothing here waits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

OUTPUT_LIMIT_BYTES = 256 * 1024
TAIL_BYTES = 4096

#: takes a request id ("" outside invocations) and whole lines
Emit = Callable[[str, bytes], None]


def stream_name(now: float, version: str, environment: str) -> str:
    """`YYYY/MM/DD/[version]32hex`; `now` in epoch seconds, `environment` 32 hex digits."""
    return f"{datetime.fromtimestamp(now, UTC):%Y/%m/%d}/[{version}]{environment}"


def log_group_name(function: str) -> str:
    return f"/aws/lambda/{function}"


def init_start_line(python_version: tuple[int, ...], region: str) -> bytes:
    major, minor, micro = python_version
    version = f"python:{major}.{minor}.v{micro}"
    digest = hashlib.sha256(version.encode()).hexdigest()
    arn = f"arn:aws:lambda:{region}::runtime:{digest}"
    return f"INIT_START Runtime Version: {version}\tRuntime Version ARN: {arn}\n".encode()


def init_report_line(seconds: float, status: str) -> bytes:
    text = f"INIT_REPORT Init Duration: {seconds * 1000:.2f} ms\tPhase: init\tStatus: {status}\n"
    return text.encode()


def start_line(request_id: str, version: str) -> bytes:
    return f"START RequestId: {request_id} Version: {version}\n".encode()


def timeout_line(now: float, request_id: str, text: str) -> bytes:
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return f"{moment}Z {request_id} {text}\n".encode()


@dataclass(slots=True)
class Report:
    """The figures of a REPORT line. Times in seconds; `init_seconds` on a cold start only."""

    request_id: str
    duration_seconds: float
    memory_size_mb: int
    max_memory_mb: int
    init_seconds: float | None = None
    status: str = ""

    def lines(self) -> bytes:
        """END and REPORT. Billed is rounded up to the millisecond and includes the init."""
        duration = self.duration_seconds * 1000
        init = "" if self.init_seconds is None else f"Init Duration: {self._init_ms:.2f} ms\t"
        status = f"Status: {self.status}" if self.status else ""
        return (
            f"END RequestId: {self.request_id}\n"
            f"REPORT RequestId: {self.request_id}\tDuration: {duration:.2f} ms\t"
            f"Billed Duration: {math.ceil(duration + self._init_ms)} ms\t"
            f"Memory Size: {self.memory_size_mb} MB\tMax Memory Used: {self.max_memory_mb} MB\t"
            f"{init}{status}\n"
        ).encode()

    @property
    def _init_ms(self) -> float:
        return 0.0 if self.init_seconds is None else self.init_seconds * 1000


class LogStream:
    """Collects one environment's output, caps it per invocation and hands on whole lines.

    A short invocation is one call of `emit`: START, its output, END and REPORT together.
    """

    __slots__ = ("_dropped", "_emit", "_parts", "_request_id", "_room", "_tail", "name")

    def __init__(self, name: str, emit: Emit) -> None:
        self.name = name
        self._emit = emit
        self._open("", [])

    def _open(self, request_id: str, parts: list[bytes]) -> None:
        self._request_id = request_id
        self._parts = parts
        self._room = OUTPUT_LIMIT_BYTES
        self._dropped = 0
        self._tail = b""

    def begin(self, request_id: str, start: bytes) -> None:
        """An invocation starts: what came before is closed, its START line opens the text."""
        if self._parts or self._dropped:
            self._close(b"")
        self._open(request_id, [start])

    def write(self, line: bytes) -> None:
        """A line of the platform's own, never cut."""
        self._end_line()
        self._parts.append(line)

    def add(self, data: bytes) -> None:
        """Output of the handler; what is over the cap is counted and dropped."""
        room = self._room
        if len(data) <= room:
            self._room = room - len(data)
            if data:
                self._parts.append(data)
            return
        if room:
            self._parts.append(data[:room])
            self._room = 0
        self._dropped += len(data) - room

    def drop(self, count: int) -> None:
        """Count bytes of output that were dropped before they came here."""
        self._dropped += count

    def flush(self) -> None:
        """Hand on the whole lines collected so far; an unfinished one stays."""
        text = b"".join(self._parts)
        cut = text.rfind(b"\n") + 1
        if cut:
            self._parts = [text[cut:]] if cut < len(text) else []
            self._tail = (self._tail + text[:cut])[-TAIL_BYTES:]
            self._emit(self._request_id, text[:cut])

    def end(self, lines: bytes = b"") -> bytes:
        """The invocation (or phase) ends with `lines`; its last 4 KB."""
        tail = self._close(lines)
        self._open("", [])
        return tail

    def _close(self, lines: bytes) -> bytes:
        self._end_line()
        if self._dropped:
            self._parts.append(_dropped_line(self._dropped))
        text = b"".join((*self._parts, lines))
        if text:
            self._emit(self._request_id, text)
        if len(text) >= TAIL_BYTES or not self._tail:
            return text[-TAIL_BYTES:]
        return (self._tail + text)[-TAIL_BYTES:]

    def _end_line(self) -> None:
        if self._parts and not self._parts[-1].endswith(b"\n"):
            self._parts.append(b"\n")


def _dropped_line(count: int) -> bytes:
    return (
        f"[eventmesh] {count} bytes of output dropped: the log of one invocation holds "
        f"{OUTPUT_LIMIT_BYTES} bytes\n"
    ).encode()
