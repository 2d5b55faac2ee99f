"""The worker shim: one environment, under the handler's own interpreter (Python 3.9+).

Of the standard library alone; `runtime.py` beside it is loaded by its path. `shim.py FD` is an
environment on the frame socket FD; the fork server calls `run_environment` in a fresh fork.
"""

from __future__ import annotations

import atexit
import importlib.util
import io
import logging
import os
import signal
import socket
import struct
import sys
import threading
import time
from json import loads as _loads
from typing import TYPE_CHECKING, Any, NoReturn


def load_neighbour(name: str) -> Any:
    """The module `name`.py beside this file, under a name that no handler's module has."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location("eventmesh_worker_" + name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from eventmesh.environments import runtime
else:
    runtime = load_neighbour("runtime")

runtime.MACHINERY.add(__file__)

# --- frames: agreed with eventmesh.environments.frames ---------------------------------------

PREFIX = struct.Struct(">BIII")  # kind, sequence, header length, body length
START, READY, INIT_ERROR, INVOKE, RESULT = 0xE1, 0xE2, 0xE3, 0xE4, 0xE5
MAX_HEADER_BYTES = 4 * 1024 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024

PROTOCOL_FD = 1000
MAX_OPEN_FILES = 1024
THREAD_STACK_BYTES = 2 * 1024 * 1024

Frame = tuple[int, int, bytes, bytes]

# What a handler may replace (`os.write = None`) must not reach the protocol: private references.
_getpid, _exit, _chdir, _umask = os.getpid, os._exit, os.chdir, os.umask
_pack, _unpack_from = PREFIX.pack, PREFIX.unpack_from
_CORE_MODULES = frozenset(sys.modules)


class Channel:
    """Frames over the private socket to the engine."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._recv, self._recv_into = connection.recv, connection.recv_into
        self._sendall = connection.sendall

    def read(self) -> Frame | None:
        """The next frame; None once the engine is gone. Waits."""
        data = self._recv(65536)
        while 0 < len(data) < PREFIX.size:
            data += self._recv(PREFIX.size) or _exit(0)
        if not data:
            return None
        kind, sequence, header_bytes, body_bytes = _unpack_from(data)
        if header_bytes > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
            return None
        body_at, end = PREFIX.size + header_bytes, PREFIX.size + header_bytes + body_bytes
        if len(data) < end:
            data = self._read_rest(data, end)
        return kind, sequence, data[PREFIX.size : body_at], data[body_at:end]

    def _read_rest(self, data: bytes, size: int) -> bytes:
        whole = bytearray(size)
        whole[: len(data)] = data
        view, filled = memoryview(whole), len(data)
        while filled < size:
            count = self._recv_into(view[filled:])
            if not count:
                _exit(0)
            filled += count
        return bytes(whole)

    def write(self, kind: int, sequence: int, header: bytes, body: bytes = b"") -> None:
        self._sendall(_pack(kind, sequence, len(header), len(body)) + header + body)


class _Stream(io.TextIOWrapper):
    """stdout and stderr: every write leaves the process, so that a killed handler loses none."""

    def write(self, text: str) -> int:
        count = super().write(text)
        self.flush()
        return count


# --- one environment --------------------------------------------------------------------------


class Environment:
    """The child's side: settle in, load the handler, answer invocations one at a time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pid = _getpid()
        self._request_id = ""
        self._directory = "/"

    def run(self) -> NoReturn:
        try:
            self._start()
            while True:
                self._answer(self._expect(INVOKE))
        except SystemExit as error:
            _leave(error)
        except BaseException:
            _exit(70)

    def _start(self) -> None:
        _, _, header, _ = self._expect(START)
        settings = _loads(header)
        self._directory = settings["code_directory"]
        constants = runtime.context_constants(settings["environment"])
        try:
            settle_in(settings)
            logging.getLogger().addHandler(runtime.LogHandler(lambda: self._request_id))
            handler = runtime.load_handler(settings["handler"])
        except SystemExit:
            raise
        except BaseException as error:
            self._fail_start(runtime.Failure(error))
        self._caller = runtime.Caller(handler, constants, settings["strict_json"])
        flush_streams()
        self._channel.write(READY, 0, b'{"max_rss_kb":%d}' % runtime.peak_memory_kb())

    def _fail_start(self, failure: runtime.Failure) -> NoReturn:
        _print(failure.log_text())
        flush_streams()
        header = {**failure.header(), "max_rss_kb": runtime.peak_memory_kb()}
        self._channel.write(INIT_ERROR, 0, runtime.marshal(header), failure.payload(""))
        _exit(1)

    def _expect(self, kind: int) -> Frame:
        frame = self._channel.read()
        if frame is None or frame[0] != kind:
            _exit(0)
        return frame

    def _answer(self, frame: Frame) -> None:
        _, sequence, raw_header, body = frame
        header = _loads(raw_header)
        self._request_id = header["request_id"]
        runtime.set_trace_id(header.get("trace_id"))
        outcome = self._caller.call(header, body)
        if _getpid() != self._pid:
            _exit(0)  # a fork made by the handler came back through here
        if isinstance(outcome, bytes) and len(outcome) <= runtime.RESPONSE_LIMIT_BYTES:
            flush_streams()
            self._channel.write(
                RESULT, sequence, b'{"ok":true,"max_rss_kb":%d}' % runtime.peak_memory_kb(), outcome
            )
        else:
            self._answer_failure(sequence, outcome)
        _chdir(self._directory)
        _umask(0o022)

    def _answer_failure(self, sequence: int, outcome: Any) -> None:
        if isinstance(outcome, bytes):
            payload = runtime.size_fault()
            error = _loads(payload)
            header = {
                "ok": False,
                "error_type": error["errorType"],
                "error_message": error["errorMessage"],
            }
        else:
            header, payload = outcome.header(), outcome.payload(self._request_id)
            _print(outcome.log_text())
        flush_streams()
        header["max_rss_kb"] = runtime.peak_memory_kb()
        self._channel.write(RESULT, sequence, runtime.marshal(header), payload)


def _leave(error: SystemExit) -> NoReturn:
    """End the process as `sys.exit` does: text to stderr, exit functions, status."""
    code = error.code
    if code is not None and not isinstance(code, int):
        _print(f"{code}\n")
        code = 1
    try:
        atexit._run_exitfuncs()
        flush_streams()
    finally:
        _exit((code or 0) & 0xFF)


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
    except Exception:
        os.write(1, text.encode("utf-8", "backslashreplace"))


def flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


# --- settling in: what a fresh process becomes before it meets the handler --------------------


def settle_in(settings: dict[str, Any]) -> None:
    """Apply what the START frame says: directories, variables, import path, limits."""
    os.makedirs(settings["tmp_directory"], 0o700, exist_ok=True)
    private_tmp = bool(settings["private_tmp"]) and mount_tmp(settings["tmp_directory"])
    linux_call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    linux_call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    variables = dict(settings["environment"])
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    variables["AWS_EXECUTION_ENV"] = f"AWS_Lambda_python{version}"
    for name in ("TMPDIR", "TEMP", "TMP"):
        variables[name] = "/tmp" if private_tmp else settings["tmp_directory"]
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    os.umask(0o022)
    os.chdir(settings["code_directory"])
    sys.argv = [settings["handler"]]
    sys.path[:0] = runtime.import_path(settings["code_directory"], settings["layers"], variables)
    sys.dont_write_bytecode = True  # the code directory is read-only on Lambda
    drop_shadowed_modules(settings["code_directory"])
    threading.stack_size(THREAD_STACK_BYTES)
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_FSIZE", settings["file_bytes"])
    _limit("RLIMIT_DATA", settings["data_bytes"])


def drop_shadowed_modules(code_directory: str) -> None:
    """Forget preloaded modules whose name the code directory uses itself (`queue.py`)."""
    own = {entry.split(".")[0] for entry in os.listdir(code_directory)}
    for name in [n for n in sys.modules if n.split(".")[0] in own and n not in _CORE_MODULES]:
        del sys.modules[name]


def _limit(name: str, value: int) -> None:
    try:
        import resource

        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    except (ImportError, AttributeError, ValueError, OSError):
        pass  # the platform has no such limit


PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 1, 38, 36
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
_libc: Any = None


def linux_call(name: str, *arguments: Any) -> bool:
    global _libc
    if not sys.platform.startswith("linux"):
        return False
    if _libc is None:
        import ctypes

        _libc = ctypes.CDLL(None, use_errno=True)
    try:
        return bool(getattr(_libc, name)(*arguments) == 0)
    except AttributeError:
        return False


def mount_tmp(directory: str) -> bool:
    """Put `directory` over /tmp for this process and its children alone; whether it worked."""
    uid, gid = os.getuid(), os.getgid()
    if not linux_call("unshare", CLONE_NEWNS):
        if not linux_call("unshare", CLONE_NEWNS | CLONE_NEWUSER):
            return False
        maps = (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1"))
        for name, text in maps:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    if not linux_call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        return False
    return linux_call("mount", os.fsencode(directory), b"/tmp", None, MS_BIND, None)


def run_environment(protocol_fd: int, parent_pid: int | None = None) -> NoReturn:
    """Become an environment: stdout and stderr already lead to the engine.

    Ends with its parent, which is `parent_pid` unless that has died meanwhile.
    """
    if os.getpgrp() != os.getpid():
        os.setsid()
    linux_call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent_pid is not None and os.getppid() != parent_pid:
        _exit(0)
    linux_call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _limit("RLIMIT_NOFILE", MAX_OPEN_FILES)
    private_fd = _move_high(protocol_fd)
    os.closerange(3, private_fd)
    sys.stdout = sys.__stdout__ = _open_stream(1, "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _open_stream(2, "backslashreplace")  # type: ignore[misc]
    Environment(Channel(socket.socket(fileno=private_fd))).run()


def _move_high(fd: int) -> int:
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, PROTOCOL_FD)
    except OSError:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)


def _open_stream(fd: int, errors: str) -> _Stream:
    raw = io.FileIO(fd, "w", closefd=False)
    return _Stream(io.BufferedWriter(raw), encoding="utf-8", errors=errors, newline="\n")


if __name__ == "__main__":
    run_environment(int(sys.argv[1]))
