"""AWS's rules for single values of a function's configuration (semantics 9.1, 9.5).

Each check takes a value and returns it, or raises ValueError with a text fit for users.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_ENVIRONMENT_BYTES = 4096

_VARIABLE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
# the credentials, reserved on AWS for the function's role, are not: here nobody else sets them
_RESERVED = frozenset(
    {
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
    }
)
_SETTABLE = frozenset({"AWS_LAMBDA_EXEC_WRAPPER"})
_MAX_HANDLER_LENGTH = 128


def check_handler(handler: str) -> str:
    """`module.function`, as in Lambda; folders before it with `/`."""
    if ":" in handler:
        raise ValueError(f"a handler is written with a dot: {handler.replace(':', '.')}")
    module, dot, function = handler.rpartition(".")
    if not dot or not module.strip("./") or not function:
        raise ValueError("a handler is module.function, such as app.handler")
    if len(handler) > _MAX_HANDLER_LENGTH or re.search(r"\s", handler):
        raise ValueError(f"a handler has no blanks and at most {_MAX_HANDLER_LENGTH} characters")
    return handler


def check_variable_name(name: str) -> str:
    """The name of an environment variable a function may set."""
    if name in _RESERVED or (name.startswith("AWS_LAMBDA_") and name not in _SETTABLE):
        raise ValueError(f"{name} is set by Lambda itself and cannot be set here")
    if not _VARIABLE.fullmatch(name):
        raise ValueError("a variable's name is a letter, then letters, digits and '_'")
    return name


def check_environment(environment: dict[str, str]) -> dict[str, str]:
    """All variables together: at most 4 KB as JSON, no NUL."""
    for name, value in environment.items():
        if "\0" in value:
            raise ValueError(f"{name} has a NUL character in its value")
    size = len(json.dumps(environment, separators=(",", ":"), ensure_ascii=False).encode())
    if size > MAX_ENVIRONMENT_BYTES:
        raise ValueError(f"the variables take {size} bytes, Lambda allows {MAX_ENVIRONMENT_BYTES}")
    return environment


def check_path(path: str) -> str:
    """A path of the file system, which must still be looked up."""
    if not path or "\0" in path:
        raise ValueError("a path cannot be empty or contain NUL")
    return path


def check_state(path: str) -> str:
    """A directory for the state; databases elsewhere are not supported yet."""
    if "://" in path:
        raise ValueError("the state is a directory, such as ./.eventmesh")
    return check_path(path)


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8080`, `localhost:0` or `[::1]:8080`."""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or (":" in bare and bare == host) or re.search(r"[\s/]", text):
        raise ValueError("an address is host:port, such as 127.0.0.1:8080")
    if not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        raise ValueError("a port is a number from 0 (any free one) to 65535")
    return bare, int(port)


def check_address(value: Any) -> str | bool:
    """An address as text, or False."""
    if value is False:
        return False
    if not isinstance(value, str):
        raise ValueError("an address is host:port, such as 127.0.0.1:8080; false switches HTTP off")
    parse_address(value)
    return value
