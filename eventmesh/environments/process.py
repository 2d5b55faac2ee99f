"""One execution environment as the engine sees it: a process, its frame socket, its output pipe.

It knows nothing of functions, results or pools: it is started, sent one invocation at a time and
killed, and every way it can end arrives as one `Death`.
"""

from __future__ import annotations

import asyncio
import enum
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from eventmesh.environments import frames
from eventmesh.environments.connection import Connection
from eventmesh.environments.frames import Frame, ProtocolViolation
from eventmesh.environments.launchers import Launcher
from eventmesh.environments.logs import LogStream
from eventmesh.environments.results import Reply
from eventmesh.environments.specification import Sandbox

#: after a kill, how long the process may take to be gone before it is given up
KILL_GRACE_SECONDS = 1.0
_READ_BYTES = 65536
#: reads per turn: more than a pipe holds, and an end for one that is refilled all the time
_READS = 20


class State(enum.Enum):
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Death:
    """The process is gone. `reason` as in `EnvironmentStopped`; `launch_error` is set when there
    never was one."""

    reason: str
    wait_status: int | None = None
    launch_error: str | None = None


class EnvironmentProcess:
    """States: starting, idle, busy, dead. Everything runs on the event loop; nothing blocks.

    `on_death` is called once. `attended` is its owner's: whether somebody will end the log.
    """

    __slots__ = (
        "_connection",
        "_deadline",
        "_future",
        "_gone",
        "_grace",
        "_launcher",
        "_loop",
        "_on_death",
        "_output_fd",
        "_reason",
        "_sequence",
        "_timer",
        "attended",
        "death",
        "idle_since",
        "init_seconds",
        "log",
        "max_memory_kb",
        "pid",
        "ready",
        "sandbox",
        "state",
    )

    def __init__(
        self,
        sandbox: Sandbox,
        log: LogStream,
        launcher: Launcher,
        on_death: Callable[[EnvironmentProcess], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._launcher = launcher
        self._on_death = on_death
        self._connection: Connection | None = None
        self._output_fd = -1
        self._future: asyncio.Future[Reply | Death] | None = None
        self._sequence = 0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._reason: str | None = None
        self._gone = asyncio.Event()
        self.death: Death | None = None
        self.sandbox = sandbox
        self.log = log
        self.state = State.STARTING
        self.pid = 0
        self.attended = True
        #: its handler was loaded once
        self.ready = False
        self.idle_since = 0.0
        self.init_seconds = 0.0
        self.max_memory_kb = 0

    def start(self, specification: bytes, limit_seconds: float) -> asyncio.Future[Reply | Death]:
        """Start the process and load the handler. The future gives a Reply without error once it
        is idle, a Reply with error when the handler could not be loaded (it dies by itself then),
        or its Death. Raises OSError when there are no descriptors left."""
        ours, theirs = socket.socketpair()
        try:
            output_fd, write_fd = os.pipe()
        except OSError:
            ours.close()
            theirs.close()
            raise
        os.set_blocking(output_fd, False)
        self._output_fd = output_fd
        self._loop.add_reader(output_fd, self._read_output)
        self._connection = Connection(ours, self._on_frame, self._on_end)
        self._connection.send(frames.START, 0, specification)
        self._launcher.launch(self, theirs, write_fd)
        return self._expect(limit_seconds)

    def send(
        self, header: bytes, event: bytes, timeout_seconds: float
    ) -> asyncio.Future[Reply | Death] | None:
        """Send one invocation to an idle environment; None when it had died unnoticed (nothing was
        delivered then). The future gives its Reply or Death and is never cancelled by us."""
        self._sequence = sequence = (self._sequence + 1) & 0xFFFFFFFF
        connection = self._connection
        if connection is None or not connection.send(frames.INVOKE, sequence, header, event):
            self.kill("exit")
            return None
        self.state = State.BUSY
        return self._expect(timeout_seconds)

    def _expect(self, limit_seconds: float) -> asyncio.Future[Reply | Death]:
        loop = self._loop
        self._future = future = loop.create_future()
        self._deadline = deadline = loop.time() + limit_seconds
        # one timer serves many invocations: it moves itself on when it fires too early
        timer = self._timer
        if timer is not None and timer.when() > deadline:
            timer.cancel()
            timer = None
        if timer is None:
            self._timer = loop.call_at(deadline, self._on_time)
        return future

    def _on_time(self) -> None:
        self._timer = None
        if self._future is None or self._reason is not None:
            return
        if self._loop.time() >= self._deadline:
            self.kill("timeout")
        else:
            self._timer = self._loop.call_at(self._deadline, self._on_time)

    # --- ending

    def kill(self, reason: str) -> None:
        """Kill the process and all its descendants. The first reason counts. Never waits."""
        if self.state is State.DEAD or self._reason is not None:
            return
        self._reason = reason
        if self._connection is not None:
            self._connection.close()  # one not yet forked ends when it finds nobody there
        if self.pid:
            self._launcher.kill(self.pid)
        self._grace = self._loop.call_later(KILL_GRACE_SECONDS, self._give_up)

    def launched(self, pid: int) -> None:
        self.pid = pid
        if self._reason is not None:
            self._launcher.kill(pid)

    def launch_failed(self, reason: str) -> None:
        self._finish(Death("error", launch_error=reason))

    def exited(self, wait_status: int | None) -> None:
        if self._connection is not None and self._reason is None:
            self._connection.drain()  # it may have answered, and then ended, in the same moment
        self._finish(Death(self._reason or "exit", wait_status))

    def _give_up(self) -> None:
        """The kill had no effect yet: do it here too, and wait no longer."""
        if self.state is State.DEAD:
            return
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except OSError:
                pass
        self._launcher.suspect()
        self._finish(Death(self._reason or "error"))

    def _finish(self, death: Death) -> None:
        if self.state is State.DEAD:
            return
        self.state = State.DEAD
        self.death = death
        if self._connection is not None:
            self._connection.close()
        if self._output_fd >= 0:
            self._loop.remove_reader(self._output_fd)
            self._read_output()
            self._close_output()
        for timer in (self._timer, self._grace):
            if timer is not None:
                timer.cancel()
        self._resolve(death)
        self._gone.set()
        self._on_death(self)

    async def gone(self) -> Death:
        """Wait until the process has died."""
        await self._gone.wait()
        assert self.death is not None
        return self.death

    def _resolve(self, outcome: Reply | Death) -> None:
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_result(outcome)

    # --- what comes from the process

    def _on_end(self, violation: ProtocolViolation | None) -> None:
        if violation is not None:
            self.log.write(f"[eventmesh] environment discarded: {violation}\n".encode())
        self.kill("exit" if violation is None else "protocol")

    def _on_frame(self, frame: Frame) -> None:
        try:
            reply = self._read_reply(frame)
        except (ValueError, KeyError, TypeError, ProtocolViolation) as error:
            if self._connection is not None:
                self._connection.close()
            self._on_end(ProtocolViolation(f"unexpected frame: {error}"))
            return
        self._read_output()
        if frame.kind == frames.INIT_ERROR:
            self._resolve(reply)
            self.kill("error")
        else:
            self.state = State.IDLE
            self._resolve(reply)

    def _read_reply(self, frame: Frame) -> Reply:
        header = orjson.loads(frame.header)
        self.max_memory_kb = max(self.max_memory_kb, int(header["max_rss_kb"]))
        if frame.kind == frames.RESULT and self.state is State.BUSY:
            if frame.sequence != self._sequence:
                raise ProtocolViolation("the answer to another invocation")
            if header["ok"]:
                return Reply(frame.body)
            return Reply(frame.body, str(header["error_type"]), str(header["error_message"]))
        if frame.kind == frames.READY and self.state is State.STARTING:
            self.ready = True
            return Reply(b"")
        if frame.kind == frames.INIT_ERROR and self.state is State.STARTING:
            return Reply(frame.body, str(header["error_type"]), str(header["error_message"]))
        raise ProtocolViolation(f"kind {frame.kind:#04x} while {self.state.value}")

    def _read_output(self) -> None:
        add = self.log.add
        for _ in range(_READS):
            try:
                data = os.read(self._output_fd, _READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:  # every writer is gone, or closed it
                self._loop.remove_reader(self._output_fd)
                break
            add(data)
        if self.state is State.IDLE:
            self.log.flush()

    def _close_output(self) -> None:
        os.close(self._output_fd)
        self._output_fd = -1
