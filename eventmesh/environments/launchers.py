"""How a process comes to be: the contract of launchers, and the one that starts each by itself.

`ZygoteLauncher` (Linux) forks in milliseconds; `SpawnLauncher` works everywhere, start by start.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Protocol

from eventmesh.environments.specification import SHIM, clean_variables
from eventmesh.errors import InitializationError


class Child(Protocol):
    """What a launcher tells of a process it was asked for. Called on the event loop."""

    def launched(self, pid: int) -> None: ...

    def launch_failed(self, reason: str) -> None:
        """No process was started. The last call."""
        ...

    def exited(self, wait_status: int | None) -> None:
        """The process is gone, its status as waitpid gives it or None. The last call."""
        ...


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What a launcher knows of the interpreter it starts."""

    version: tuple[int, ...]
    #: whether environments could have a /tmp of their own
    private_tmp: bool
    #: directories it needs to be able to read
    paths: tuple[str, ...]


class Launcher(Protocol):
    """Starts environments of one interpreter. Only `close` waits."""

    interpreter: Interpreter
    #: it ended; nothing can be launched any more
    lost: bool

    def launch(self, child: Child, connection: socket.socket, output_fd: int) -> None:
        """Start an environment on these ends of its frame socket and output pipe, and close them
        here."""
        ...

    def kill(self, pid: int) -> None:
        """Kill a launched process and its group; `exited` follows."""
        ...

    def suspect(self) -> None:
        """A kill had no effect in time: make sure that this launcher still does as told."""
        ...

    async def close(self) -> None:
        """Kill all and wait until they are gone."""
        ...


def command(python: Path, script: Path, fd: int) -> list[str]:
    """How a script of ours is run. Isolated: no PYTHON* variables, no user site."""
    return [str(python), "-I", "-B", str(script), str(fd)]


def refuse_launch(child: Child, connection: socket.socket, output_fd: int) -> None:
    """What `launch` does once the launcher has ended."""
    connection.close()
    os.close(output_fd)
    asyncio.get_running_loop().call_soon(child.launch_failed, "its fork server ended")


def explain_start_failure(python: Path, error: object) -> InitializationError:
    return InitializationError(
        f"cannot start the Python interpreter {python}: {error}. "
        "Point the function's `python` to an interpreter of version 3.9 or later."
    )


class SpawnLauncher:
    """One interpreter start per environment; a thread waits for each to end."""

    def __init__(self, python: Path, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self._python = python
        self._loop = asyncio.get_running_loop()
        self._starter = ThreadPoolExecutor(1, "eventmesh-spawn")
        self._running: dict[int, asyncio.Event] = {}
        self.lost = False

    @classmethod
    async def open(cls, python: Path) -> SpawnLauncher:
        """Ask the interpreter for its version. Raises InitializationError."""
        return cls(python, await asyncio.to_thread(_describe, python))

    def launch(self, child: Child, connection: socket.socket, output_fd: int) -> None:
        if self.lost:
            refuse_launch(child, connection, output_fd)
        else:
            self._starter.submit(self._spawn, child, connection, output_fd)

    def _spawn(self, child: Child, connection: socket.socket, output_fd: int) -> None:
        fd = connection.fileno()
        try:
            process = subprocess.Popen(
                command(self._python, SHIM, fd),
                stdin=subprocess.DEVNULL,
                stdout=output_fd,
                stderr=output_fd,
                pass_fds=[fd],
                env=clean_variables(),
                start_new_session=True,
            )
        except OSError as error:
            self._loop.call_soon_threadsafe(child.launch_failed, str(error))
        else:
            self._loop.call_soon_threadsafe(self._launched, child, process.pid)
            Thread(target=self._wait, args=(child, process), daemon=True).start()
        finally:
            connection.close()
            os.close(output_fd)

    def _launched(self, child: Child, pid: int) -> None:
        self._running[pid] = asyncio.Event()
        child.launched(pid)

    def _wait(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        _kill_group(process.pid)  # what it left behind, while the zombie holds the number
        code = process.wait()
        status = -code if code < 0 else code << 8
        try:
            self._loop.call_soon_threadsafe(self._exited, child, process.pid, status)
        except RuntimeError:
            pass  # the loop was closed without closing the pool

    def _exited(self, child: Child, pid: int, status: int) -> None:
        gone = self._running.pop(pid, None)
        if gone is not None:
            gone.set()
        child.exited(status)

    def kill(self, pid: int) -> None:
        if pid in self._running:
            _kill_group(pid)

    def suspect(self) -> None:
        pass  # it kills by itself, no one else can fail to

    async def close(self) -> None:
        self.lost = True
        await asyncio.to_thread(self._starter.shutdown)
        for pid, gone in list(self._running.items()):
            self.kill(pid)
            await gone.wait()


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except OSError:
            continue


def _describe(python: Path) -> Interpreter:
    code = "import sys; print(*sys.version_info[:3]); print(sys.prefix); print(sys.base_prefix)"
    try:
        lines = _output([str(python), "-I", "-c", code])
        version = tuple(map(int, lines[0].split()))
        return Interpreter(version, False, tuple(lines[1:]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise explain_start_failure(python, error) from None


def _output(arguments: Sequence[str]) -> list[str]:
    result = subprocess.run(
        arguments, capture_output=True, text=True, timeout=10, check=True, env=clean_variables()
    )
    return result.stdout.splitlines()
