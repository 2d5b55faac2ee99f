"""The zygote: a process that forks environments, buries them and leaves no orphan. Linux only.

Of the standard library alone, for Python 3.9 and later. `fork_server.py FD` serves the control
socket FD; the engine's end is `eventmesh.environments.zygote`.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import select
import signal
import socket
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from eventmesh.environments import shim
else:
    _directory = os.path.dirname(os.path.abspath(__file__))
    _spec = importlib.util.spec_from_file_location(
        "eventmesh_worker_shim", os.path.join(_directory, "shim.py")
    )
    shim = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(shim)


class Zygote:
    """A single-threaded server on a SOCK_SEQPACKET control socket.

    Takes `start ID` with two descriptors (protocol, output), `kill PID` and `ping`; answers
    `started ID PID`, `failed ID TEXT`, `exited PID STATUS` (as waitpid gives it) and `pong`.
    Ends with the engine.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pid = os.getpid()
        self._environments: set[int] = set()
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> NoReturn:
        shim.linux_call("prctl", shim.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        hello = {"version": list(sys.version_info[:3]), "private_tmp": probe_private_tmp()}
        hello["paths"] = sorted({sys.prefix, sys.base_prefix, *filter(None, sys.path)})
        preload()
        self._send("hello " + json.dumps(hello))
        while True:
            ready, _, _ = select.select([self._control.fileno(), self._wake_read], [], [])
            if self._wake_read in ready:
                self._drain_wakeups()
                self._bury()
            if self._control.fileno() in ready:
                self._serve()

    def _drain_wakeups(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    def _send(self, message: str) -> None:
        try:
            self._control.send(message.encode())
        except OSError:
            self._end()

    def _serve(self) -> None:
        try:
            message, fds, _, _ = socket.recv_fds(self._control, 4096, 2)
        except OSError:
            self._end()
        words = message.decode().split()
        if not words:
            self._end()
        if words[0] == "start" and len(fds) == 2:
            self._fork(words[1], fds[0], fds[1])
        elif words[0] == "kill":
            self._kill(int(words[1]))
        elif words[0] == "ping":
            self._send("pong")
        for fd in fds:
            os.close(fd)

    def _fork(self, name: str, protocol_fd: int, output_fd: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._send(f"failed {name} {error}")
            return
        if pid == 0:
            try:
                self._become_environment(protocol_fd, output_fd)
            finally:
                os._exit(71)
        self._environments.add(pid)
        self._send(f"started {name} {pid}")

    def _become_environment(self, protocol_fd: int, output_fd: int) -> None:
        signal.set_wakeup_fd(-1)
        for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(name, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(output_fd, 1)
        os.dup2(output_fd, 2)
        shim.run_environment(protocol_fd, self._pid)

    def _kill(self, pid: int) -> None:
        # only a child not yet waited for: its number cannot have been given to anyone else
        if pid in self._environments:
            _kill_group(pid)

    def _bury(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                break
            pid = found.si_pid
            known = pid in self._environments
            if known:
                _kill_group(pid)  # while the zombie still holds the number
            status = os.waitpid(pid, 0)[1]
            if known:
                self._environments.discard(pid)
                self._send(f"exited {pid} {status}")
        for orphan in set(children_of_self()) - self._environments:
            _kill(orphan)

    def _end(self) -> NoReturn:
        """The engine is gone: so is everything here."""
        for pid in self._environments:
            _kill_group(pid)
        while True:
            for pid in children_of_self():
                _kill(pid)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                os._exit(0)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass  # not a group leader yet
    _kill(pid)


def children_of_self() -> list[int]:
    """Process ids of this process's children, adopted ones included."""
    try:
        with open("/proc/thread-self/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return _children_by_scan(str(os.getpid()))


def _children_by_scan(parent: str) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                if file.read().rpartition(")")[2].split()[1] == parent:
                    found.append(int(name))
        except OSError:
            continue
    return found


def probe_private_tmp() -> bool:
    """Whether a child could have its own /tmp."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if shim.mount_tmp("/tmp") else 1)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def preload() -> None:
    """Import what most handlers import, once for all environments, and keep the pages shared."""
    import asyncio
    import concurrent.futures
    import datetime
    import uuid

    del asyncio, concurrent, datetime, uuid
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    Zygote(socket.socket(fileno=int(sys.argv[1]))).run()
