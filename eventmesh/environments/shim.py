"""The worker shim: what runs beside a handler, under the handler's own interpreter (Python 3.9+).

One file of the standard library alone. `shim.py zygote FD` forks an environment for each request on
its control socket; `shim.py environment FD` is one environment, started directly where there is no
fork server. Its functions for loading, calling and marshalling also serve inline isolation.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import logging
import os
import re
import secrets
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from decimal import Decimal
from json import loads as _loads
from types import TracebackType
from typing import Any, NoReturn

# --- frames: agreed with eventmesh.environments.frames ---------------------------------------

PREFIX = struct.Struct(">BIII")  # kind, sequence, header length, body length
START, READY, INIT_ERROR, INVOKE, RESULT = 0xE1, 0xE2, 0xE3, 0xE4, 0xE5
MAX_HEADER_BYTES = 4 * 1024 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
RESPONSE_LIMIT_BYTES = 6_291_556
TEXT_LIMIT_BYTES = 256 * 1024
HEADER_TEXT_CHARACTERS = 2048

PROTOCOL_FD = 1000
MAX_OPEN_FILES = 1024
THREAD_STACK_BYTES = 2 * 1024 * 1024
NO_BREAK_SPACE = "\u00a0"

Frame = tuple[int, int, bytes, bytes]
Handler = Callable[[Any, Any], Any]

# What a handler may replace (`os.write = None`) must not reach the protocol: private references.
_getpid, _exit, _chdir, _umask = os.getpid, os._exit, os.chdir, os.umask
_time, _extract_tb, _format_list = time.time, traceback.extract_tb, traceback.format_list
_pack, _unpack_from = PREFIX.pack, PREFIX.unpack_from
_DECIMAL_MARK = "decimal-" + secrets.token_hex(16) + ":"
_DECIMAL_TEXT = re.compile('"' + _DECIMAL_MARK + '([^"]*)"')
#: like AWS's runtime client from Python 3.12 on, text is sent as UTF-8 and not as escapes
_ENSURE_ASCII = sys.version_info < (3, 12)


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


# --- the context object (semantics 1.7) -------------------------------------------------------


class _Fields:
    """An object whose attributes are `__slots__`, each None when not given."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, values: dict[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, values.get(name))

    def __repr__(self) -> str:
        inside = ",".join(f"{name}={getattr(self, name)}" for name in self.__slots__)
        return f"{type(self).__name__}([{inside}])"


class CognitoIdentity(_Fields):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class Client(_Fields):
    __slots__ = (
        "installation_id",
        "app_title",
        "app_version_name",
        "app_version_code",
        "app_package_name",
    )


class ClientContext(_Fields):
    __slots__ = ("custom", "env", "client")


_CONTEXT_REPR = (
    "aws_request_id",
    "log_group_name",
    "log_stream_name",
    "function_name",
    "memory_limit_in_mb",
    "function_version",
    "invoked_function_arn",
    "client_context",
    "identity",
    "tenant_id",
)


class LambdaContext:
    """The second argument of a handler."""

    def __init__(self, constants: dict[str, Any], header: dict[str, Any]) -> None:
        self.__dict__.update(constants)
        self.aws_request_id: str = header["request_id"]
        self.invoked_function_arn: str = header["arn"]
        self.tenant_id: str | None = header.get("tenant_id")
        self.client_context = _client_context(header.get("client_context"))
        self.identity = CognitoIdentity({})
        self._deadline_ms: int = header["deadline_ms"]

    def get_remaining_time_in_millis(self) -> int:
        return max(self._deadline_ms - int(_time() * 1000), 0)

    def log(self, msg: Any) -> None:
        sys.stdout.write(str(msg))

    def __repr__(self) -> str:
        inside = ",".join(f"{name}={getattr(self, name)}" for name in _CONTEXT_REPR)
        return f"{type(self).__name__}([{inside}])"


def context_constants(environment: dict[str, str]) -> dict[str, Any]:
    """The context's attributes that are the same for every invocation."""
    return {
        "function_name": environment.get("AWS_LAMBDA_FUNCTION_NAME"),
        "function_version": environment.get("AWS_LAMBDA_FUNCTION_VERSION"),
        "memory_limit_in_mb": environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        "log_group_name": environment.get("AWS_LAMBDA_LOG_GROUP_NAME"),
        "log_stream_name": environment.get("AWS_LAMBDA_LOG_STREAM_NAME"),
    }


def _client_context(text: str | None) -> ClientContext | None:
    if not text:
        return None
    try:
        values = _loads(text)
        client = values.get("client")
        values["client"] = None if client is None else Client(client)
        return ClientContext(values)
    except Exception as error:
        raise Fault(
            "Runtime.LambdaContextUnmarshalError", f"Unable to parse Client Context JSON: {error}"
        ) from None


# --- loading, marshalling, failures (semantics 1.4) -------------------------------------------


class Fault(Exception):
    """A failure with a fixed type name."""

    def __init__(self, error_type: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_type, self.message, self.trace = error_type, message, trace or []


def load_handler(name: str) -> Handler:
    """Import the module part of `pkg.module.func` or `dir/module.func` and take its attribute.

    Raises Fault for what AWS names; anything else a module raises comes through.
    """
    try:
        module_name, attribute = name.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{name}': {error}") from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        text = f"Cannot use built-in module {module_name} as a handler module"
        raise Fault("Runtime.BuiltInModuleConflict", text)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        text = f"Unable to import module '{module_name}': {error}"
        raise Fault("Runtime.ImportModuleError", text) from None
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        text = f"Syntax error in module '{module_name}': {error}"
        raise Fault("Runtime.UserCodeSyntaxError", text, trace) from None
    try:
        return getattr(module, attribute)  # type: ignore[no-any-return]
    except AttributeError:
        text = f"Handler '{attribute}' missing on module '{module_name}'"
        raise Fault("Runtime.HandlerNotFound", text) from None


class _Encoder(json.JSONEncoder):
    """JSON as AWS's runtime client writes it: Decimal as a number, bytes inside as text."""

    decimals = False

    def default(self, o: Any) -> Any:
        if isinstance(o, Decimal):
            if not o.is_finite():
                return float("nan") if o.is_nan() else float(o)
            self.decimals = True
            return _DECIMAL_MARK + str(o)
        if isinstance(o, bytes):
            return o.decode("utf-8")
        return super().default(o)


def marshal(value: Any, *, strict: bool = False, ensure_ascii: bool = _ENSURE_ASCII) -> bytes:
    """The response body: `bytes` as they are, anything else as JSON. Raises Fault."""
    if isinstance(value, bytes):
        return value
    try:
        encoder = _Encoder(ensure_ascii=ensure_ascii, allow_nan=not strict)
        text = encoder.encode(value)
        if encoder.decimals:
            text = _DECIMAL_TEXT.sub(r"\1", text)
        return text.encode("utf-8")
    except Exception as error:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None


def unmarshal(body: bytes) -> Any:
    try:
        return _loads(body)
    except Exception as error:
        raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None


def size_fault() -> bytes:
    """The payload for a response over the limit (semantics 1.3)."""
    return (
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload size '
        b'(%d bytes).","errorType":"Function.ResponseSizeTooLarge"}' % RESPONSE_LIMIT_BYTES
    )


class Failure:
    """A handler's exception as AWS reports it: type, message, stack trace lines."""

    def __init__(self, error: BaseException) -> None:
        if isinstance(error, Fault):
            self.error_type, message, self.trace = error.error_type, error.message, error.trace
        else:
            self.error_type, message = type(error).__name__, _text_of(error)
            self.trace = _cap_lines(_trace_lines(error.__traceback__))
        self.message = _cap(message)

    def payload(self, request_id: str) -> bytes:
        """The error object; keys in AWS's order."""
        value = {
            "errorMessage": self.message,
            "errorType": self.error_type,
            "requestId": request_id,
            "stackTrace": self.trace,
        }
        try:
            return marshal(value)
        except Fault:
            return marshal(value, ensure_ascii=True)

    def log_text(self) -> str:
        """`[ERROR] Type: message` and the traceback, indented with no-break spaces (semantics
        1.8)."""
        first = f"[ERROR] {self.error_type}"
        lines = [f"{first}: {self.message}" if self.message else first]
        lines.append("Traceback (most recent call last):")
        for element in self.trace:
            lines.extend(map(_indent, element.splitlines()))
        return "\n".join(lines) + "\n"

    def header(self) -> dict[str, Any]:
        return {
            "ok": False,
            "error_type": self.error_type[:256],
            "error_message": self.message[:HEADER_TEXT_CHARACTERS],
        }


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "<the exception's text could not be had>"


def _trace_lines(trace: TracebackType | None) -> list[str]:
    frames = [(f.filename, f.lineno, f.name, f.line) for f in _extract_tb(trace)]
    while frames and _is_machinery(frames[0][0]):
        del frames[0]
    return _format_list(frames)  # type: ignore[arg-type]


#: files whose frames are no part of a handler's stack trace
MACHINERY = {__file__}


def _is_machinery(filename: str) -> bool:
    return filename in MACHINERY or os.path.basename(os.path.dirname(filename)) == "asyncio"


def _cap(text: str) -> str:
    if len(text) * 4 <= TEXT_LIMIT_BYTES:
        return text
    cut = text[:TEXT_LIMIT_BYTES].encode("utf-8", "surrogatepass")[:TEXT_LIMIT_BYTES]
    return cut.decode("utf-8", "ignore")


def _cap_lines(lines: list[str]) -> list[str]:
    room, kept = TEXT_LIMIT_BYTES, []
    for line in lines:
        room -= len(line)
        if room < 0:
            break
        kept.append(line)
    return kept


def _indent(line: str) -> str:
    stripped = line.lstrip(" ")
    return NO_BREAK_SPACE * (len(line) - len(stripped)) + stripped


# --- logging (semantics 1.8) ------------------------------------------------------------------


class LogHandler(logging.Handler):
    """Writes records to stdout in Lambda's text format."""

    def __init__(self, request_id: Callable[[], str]) -> None:
        super().__init__()
        self._request_id = request_id
        layout = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
        formatter = logging.Formatter(layout, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        record.aws_request_id = self._request_id()
        sys.stdout.write(self.format(record))


class _Stream(io.TextIOWrapper):
    """stdout and stderr: every write leaves the process, so that a killed handler loses none."""

    def write(self, text: str) -> int:
        count = super().write(text)
        self.flush()
        return count


# --- one environment --------------------------------------------------------------------------


class Caller:
    """Calls the handler; `async def` handlers run on one event loop that lasts."""

    def __init__(self, handler: Handler, constants: dict[str, Any], strict: bool) -> None:
        self._handler, self._constants, self._strict = handler, constants, strict
        self._loop: Any = None

    def call(self, header: dict[str, Any], body: bytes) -> Any:
        """The response body (bytes), or the Failure. SystemExit comes through."""
        try:
            context = LambdaContext(self._constants, header)
            value = self._handler(unmarshal(body), context)
            if hasattr(value, "__await__"):
                value = self._await(value)
            return marshal(value, strict=self._strict)
        except SystemExit:
            raise
        except BaseException as error:
            return Failure(error)

    def _await(self, awaitable: Any) -> Any:
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(awaitable)


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
        constants = context_constants(settings["environment"])
        began = time.perf_counter()
        try:
            private_tmp = settle_in(settings)
            logging.getLogger().addHandler(LogHandler(lambda: self._request_id))
            handler = load_handler(settings["handler"])
        except SystemExit:
            raise
        except BaseException as error:
            self._fail_start(Failure(error))
        self._caller = Caller(handler, constants, settings["strict_json"])
        flush_streams()
        ready = {"init_seconds": time.perf_counter() - began, "private_tmp": private_tmp}
        ready["max_rss_kb"] = _rss()
        self._channel.write(READY, 0, json.dumps(ready).encode())

    def _fail_start(self, failure: Failure) -> NoReturn:
        sys.stdout.write(failure.log_text())
        flush_streams()
        header = {**failure.header(), "max_rss_kb": _rss()}
        self._channel.write(INIT_ERROR, 0, _dump_header(header), failure.payload(""))
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
        _set_trace_id(header.get("trace_id"))
        outcome = self._caller.call(header, body)
        if _getpid() != self._pid:
            _exit(0)  # a fork made by the handler came back through here
        if isinstance(outcome, bytes) and len(outcome) <= RESPONSE_LIMIT_BYTES:
            flush_streams()
            self._channel.write(RESULT, sequence, b'{"ok":true,"max_rss_kb":%d}' % _rss(), outcome)
        else:
            self._answer_failure(sequence, outcome)
        _chdir(self._directory)
        _umask(0o022)

    def _answer_failure(self, sequence: int, outcome: Any) -> None:
        if isinstance(outcome, bytes):
            payload = size_fault()
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
        header["max_rss_kb"] = _rss()
        self._channel.write(RESULT, sequence, _dump_header(header), payload)


def _dump_header(header: dict[str, Any]) -> bytes:
    # surrogates may stand in an error's text; the engine's parser refuses them
    text = json.JSONEncoder(ensure_ascii=False).encode(header)
    return text.encode("utf-8", "replace")


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


def _set_trace_id(trace_id: str | None) -> None:
    if trace_id is not None:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)


try:
    from resource import RUSAGE_SELF, getrusage

    def _rss() -> int:
        peak = getrusage(RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak
except ImportError:

    def _rss() -> int:
        return 0


# --- settling in: what a fresh process becomes before it meets the handler --------------------


def settle_in(settings: dict[str, Any]) -> bool:
    """Apply limits, files, variables and import path; whether /tmp is private."""
    os.makedirs(settings["tmp_directory"], 0o700, exist_ok=True)
    private_tmp = bool(settings["private_tmp"]) and mount_tmp(settings["tmp_directory"])
    _linux_call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _linux_call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
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
    sys.path[:0] = import_path(settings["code_directory"], settings["layers"], variables)
    sys.dont_write_bytecode = True  # the code directory is read-only on Lambda
    drop_shadowed_modules(settings["code_directory"])
    threading.stack_size(THREAD_STACK_BYTES)
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_FSIZE", settings["file_bytes"])
    _limit("RLIMIT_DATA", settings["data_bytes"])
    return private_tmp


def import_path(code_directory: str, layers: list[str], variables: dict[str, str]) -> list[str]:
    """What goes before the interpreter's own path (semantics 9.5); a later layer wins."""
    site = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    latest_first = [os.path.join(layer, "python") for layer in reversed(layers)]
    found = [os.path.join(layer, site) for layer in latest_first] + latest_first
    given = [p for p in variables.get("PYTHONPATH", "").split(os.pathsep) if p]
    return [code_directory, *filter(os.path.isdir, found), *given]


_CORE_MODULES = frozenset(sys.modules)


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


def _linux_call(name: str, *arguments: Any) -> bool:
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
    if not _linux_call("unshare", CLONE_NEWNS):
        if not _linux_call("unshare", CLONE_NEWNS | CLONE_NEWUSER):
            return False
        maps = (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1"))
        for name, text in maps:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    if not _linux_call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        return False
    return _linux_call("mount", os.fsencode(directory), b"/tmp", None, MS_BIND, None)


def run_environment(protocol_fd: int) -> NoReturn:
    """Become an environment: stdout and stderr already lead to the engine."""
    os.setsid() if os.getpgrp() != os.getpid() else None
    _linux_call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _linux_call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
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


# --- the zygote: forks environments, buries them, leaves no orphan ----------------------------


class Zygote:
    """A single-threaded server on a SOCK_SEQPACKET control socket.

    Takes `start ID` with two descriptors (protocol, output) and `kill PID`; answers `started ID
    PID`, `failed ID TEXT`, `exited PID STATUS` (as waitpid gives it). Its end is the engine's.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._environments: set[int] = set()
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> NoReturn:
        _linux_call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
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
                _exit(71)
        self._environments.add(pid)
        self._send(f"started {name} {pid}")

    def _become_environment(self, protocol_fd: int, output_fd: int) -> None:
        signal.set_wakeup_fd(-1)
        for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(name, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(output_fd, 1)
        os.dup2(output_fd, 2)
        run_environment(protocol_fd)

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
                _exit(0)


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
            _exit(0 if mount_tmp("/tmp") else 1)
        finally:
            _exit(1)
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


def main() -> NoReturn:
    role, fd = sys.argv[1], int(sys.argv[2])
    if role == "zygote":
        Zygote(socket.socket(fileno=fd)).run()
    run_environment(fd)


if __name__ == "__main__":
    main()
