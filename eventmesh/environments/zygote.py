"""The engine's end of a zygote: the fork server of one interpreter (Linux).

Messages travel on a SOCK_SEQPACKET pair, so each is one datagram; descriptors go along with
`start`. The zygote outlives nothing: when our end closes, however we die, it kills everything.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
from collections import deque
from pathlib import Path

import orjson

from eventmesh.environments.launchers import (
    Child,
    Interpreter,
    command,
    explain_start_failure,
    refuse_launch,
)
from eventmesh.environments.specification import FORK_SERVER, clean_variables
from eventmesh.errors import InitializationError

HELLO_SECONDS = 15.0
#: a zygote answers within milliseconds; one that is stopped never does
ANSWER_SECONDS = 1.0
_MESSAGE_BYTES = 65536

_Message = tuple[bytes, tuple[socket.socket, int] | None]


class ZygoteLauncher:
    """Forks environments. Built by `open`; closed by itself when the zygote dies (`lost`)."""

    interpreter: Interpreter

    def __init__(self, python: Path, control: socket.socket) -> None:
        self._python = python
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._process: subprocess.Popen[bytes] | None = None
        self._hello: asyncio.Future[Interpreter] = self._loop.create_future()
        self._numbers = itertools.count()
        self._starting: dict[str, Child] = {}
        self._children: dict[int, Child] = {}
        self._unsent: deque[_Message] = deque()
        self._patience: asyncio.TimerHandle | None = None
        self.lost = False

    @classmethod
    async def open(cls, python: Path) -> ZygoteLauncher:
        """Start the zygote and wait until it says hello. Raises InitializationError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        launcher = cls(python, ours)
        try:
            launcher._process = await asyncio.to_thread(_spawn, python, theirs)
            launcher.interpreter = await launcher._wait_for_hello()
        except (OSError, InitializationError) as error:
            complaint = await launcher._stop()
            raise explain_start_failure(python, complaint or error) from None
        except BaseException:
            launcher._lose()  # cancelled: the zygote ends by itself once its socket is closed
            raise
        return launcher

    async def _wait_for_hello(self) -> Interpreter:
        self._loop.add_reader(self._control.fileno(), self._readable)
        timer = self._loop.call_later(HELLO_SECONDS, self._refuse, "it does not answer")
        try:
            return await self._hello
        finally:
            timer.cancel()

    def _refuse(self, reason: str) -> None:
        if not self._hello.done():
            self._hello.set_exception(InitializationError(reason))
            self._hello.exception()  # looked at: nobody may be waiting

    def launch(self, child: Child, connection: socket.socket, output_fd: int) -> None:
        if self.lost:
            refuse_launch(child, connection, output_fd)
            return
        name = str(next(self._numbers))
        self._starting[name] = child
        self._send(f"start {name}".encode(), (connection, output_fd))

    def kill(self, pid: int) -> None:
        if pid in self._children:
            self._send(f"kill {pid}".encode())

    def _send(self, message: bytes, passed: tuple[socket.socket, int] | None = None) -> None:
        self._unsent.append((message, passed))
        if len(self._unsent) == 1 and not self._flush():
            self._loop.add_writer(self._control.fileno(), self._writable)

    def _writable(self) -> None:
        if self._flush():
            self._loop.remove_writer(self._control.fileno())

    def _flush(self) -> bool:
        while self._unsent and not self.lost:
            message, passed = self._unsent[0]
            fds = [] if passed is None else [passed[0].fileno(), passed[1]]
            try:
                socket.send_fds(self._control, [message], fds)
            except BlockingIOError:
                return False
            except OSError:
                self._lose()
                break
            self._unsent.popleft()
            _close_passed(passed)
        return True

    def _readable(self) -> None:
        # every message at hand: bursts of starts and exits cost one wake-up
        while not self.lost:
            try:
                message = self._control.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._lose()
                return
            self._take(message.decode())

    def _take(self, message: str) -> None:
        word, _, rest = message.partition(" ")
        first, _, second = rest.partition(" ")
        if word == "started":
            child = self._starting.pop(first)
            self._children[int(second)] = child
            child.launched(int(second))
        elif word == "exited":
            self._children.pop(int(first)).exited(int(second))
        elif word == "failed":
            self._starting.pop(first).launch_failed(second)
        elif word == "pong":
            self._reassure()
        elif word == "hello":
            self._welcome(rest)

    def _welcome(self, text: str) -> None:
        facts = orjson.loads(text)
        version, paths = tuple(facts["version"]), tuple(facts["paths"])
        if not self._hello.done():
            self._hello.set_result(Interpreter(version, facts["private_tmp"], paths))

    def suspect(self) -> None:
        """Ask it for a sign of life; without one (a handler stopped it, say) end it, and with it
        its environments."""
        if self._patience is None and not self.lost:
            self._patience = self._loop.call_later(ANSWER_SECONDS, self._end_silent)
            self._send(b"ping")

    def _end_silent(self) -> None:
        if self._process is not None and not self.lost:
            self._process.send_signal(signal.SIGKILL)
            self._lose()

    def _reassure(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose(self) -> None:
        if self.lost:
            return
        self.lost = True
        self._reassure()
        self._loop.remove_reader(self._control.fileno())
        self._loop.remove_writer(self._control.fileno())
        self._control.close()
        for _, passed in self._unsent:
            _close_passed(passed)
        self._unsent.clear()
        for child in self._starting.values():
            child.launch_failed("its fork server ended")
        for child in self._children.values():
            child.exited(None)
        self._starting.clear()
        self._children.clear()
        self._refuse("it ended at once")

    async def close(self) -> None:
        """Let the zygote kill everything and wait for its end. Idempotent."""
        await self._stop()

    async def _stop(self) -> str:
        self._lose()
        process, self._process = self._process, None
        return "" if process is None else await asyncio.to_thread(_wait_or_kill, process)


def _spawn(python: Path, theirs: socket.socket) -> subprocess.Popen[bytes]:
    with theirs:
        fd = theirs.fileno()
        return subprocess.Popen(
            command(python, FORK_SERVER, fd),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[fd],
            env=clean_variables(),
            cwd="/",
            start_new_session=True,
        )


def _wait_or_kill(process: subprocess.Popen[bytes]) -> str:
    """Wait for the zygote's end; the last line it wrote to stderr."""
    try:
        _, stderr = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        _, stderr = process.communicate()
    lines = stderr.decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")


def _close_passed(passed: tuple[socket.socket, int] | None) -> None:
    if passed is not None:
        passed[0].close()
        os.close(passed[1])
