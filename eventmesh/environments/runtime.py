"""What AWS's Python runtime client does with a handler: load it, call it, marshal, report, log.

Of the standard library alone, for Python 3.9 and later: the worker shim loads this file by its path
under the handler's own interpreter, inline isolation imports it. One implementation serves both.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import secrets
import sys
import time
import traceback
from collections.abc import Callable
from decimal import Decimal
from json import loads as _loads
from types import TracebackType
from typing import Any

RESPONSE_LIMIT_BYTES = 6_291_556
TEXT_LIMIT_BYTES = 256 * 1024
HEADER_TEXT_CHARACTERS = 2048
NO_BREAK_SPACE = "\u00a0"
#: files whose frames are no part of a handler's stack trace
MACHINERY = {__file__}

Handler = Callable[[Any, Any], Any]

# What a handler may replace (`time.time = None`) must not reach the machinery: private references.
_time, _extract_tb, _format_list = time.time, traceback.extract_tb, traceback.format_list
_DECIMAL_MARK = "decimal-" + secrets.token_hex(16) + ":"
_DECIMAL_TEXT = re.compile('"' + _DECIMAL_MARK + '([^"]*)"')
#: like AWS's runtime client from Python 3.12 on, text is sent as UTF-8 and not as escapes
_ENSURE_ASCII = sys.version_info < (3, 12)


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


def import_path(code_directory: str, layers: list[str], variables: dict[str, str]) -> list[str]:
    """What goes before the interpreter's own path (semantics 9.5); a later layer wins."""
    site = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    latest_first = [os.path.join(layer, "python") for layer in reversed(layers)]
    found = [os.path.join(layer, site) for layer in latest_first] + latest_first
    given = [p for p in variables.get("PYTHONPATH", "").split(os.pathsep) if p]
    return [code_directory, *filter(os.path.isdir, found), *given]


class _Encoder(json.JSONEncoder):
    """JSON as AWS's runtime client writes it: Decimal as a number, bytes inside as text."""

    decimals = False
    encode = json.JSONEncoder.encode
    iterencode = json.JSONEncoder.iterencode

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
            # surrogates may stand in it; the engine's parser refuses them
            "error_message": self.message[:HEADER_TEXT_CHARACTERS]
            .encode("utf-8", "replace")
            .decode("utf-8"),
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


def set_trace_id(trace_id: str | None) -> None:
    """Set or remove the X-Ray variable of this process for one invocation."""
    if trace_id is not None:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)


try:
    from resource import RUSAGE_SELF, getrusage

    def peak_memory_kb() -> int:
        """The most memory this process has had resident, in KB."""
        peak = getrusage(RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak
except ImportError:

    def peak_memory_kb() -> int:
        return 0
