"""What a fresh environment is told: its variables, directories and limits (semantics 9.5)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from eventmesh.environments import limits, logs
from eventmesh.functions.function import Function

SHIM = Path(__file__).with_name("shim.py")
FORK_SERVER = Path(__file__).with_name("fork_server.py")
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What outlives a process that timed out or crashed (semantics 1.9): log stream and /tmp."""

    name: str
    stream: str
    directory: Path


def new_sandbox(function: Function, work_directory: Path, now: float) -> Sandbox:
    """A sandbox with a name of its own; its directory is made by the environment."""
    name = secrets.token_hex(16)
    stream = logs.stream_name(now, function.version, name)
    # short: paths of Unix sockets made in it must stay below 108 bytes
    return Sandbox(name, stream, work_directory / "tmp" / name[:12])


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the engine adds to every function's variables, and how its /tmp is made."""

    variables: Mapping[str, str]
    private_tmp: bool = False
    provisioned: bool = False


def clean_variables() -> dict[str, str]:
    """The only variables of the engine's own that environments get to see."""
    return {
        "PATH": os.environ.get("PATH", DEFAULT_PATH),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": os.environ.get("LANG", "en_US.UTF-8"),
    }


def variables(function: Function, sandbox: Sandbox, around: Surroundings) -> dict[str, str]:
    """The environment variables of one environment. The function's own win over the engine's,
    the reserved ones over both."""
    return {
        **clean_variables(),
        "PATH": _search_path(function),
        "TZ": ":UTC",
        **around.variables,
        **function.environment,
        **_reserved(function, sandbox, around.provisioned),
    }


def _reserved(function: Function, sandbox: Sandbox, provisioned: bool) -> dict[str, str]:
    code_directory = str(function.code_directory)
    return {
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": logs.log_group_name(function.name),
        "AWS_LAMBDA_LOG_STREAM_NAME": sandbox.stream,
        "AWS_LAMBDA_INITIALIZATION_TYPE": (
            "provisioned-concurrency" if provisioned else "on-demand"
        ),
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "_HANDLER": function.handler,
        "LAMBDA_TASK_ROOT": code_directory,
        "LAMBDA_RUNTIME_DIR": str(SHIM.parent),
        "PWD": code_directory,
    }


def _search_path(function: Function) -> str:
    engine = os.environ.get("PATH", DEFAULT_PATH)
    layers = [str(layer / "bin") for layer in reversed(function.layers)]
    return os.pathsep.join([str(function.python.parent), engine, *layers])


def encode_specification(function: Function, sandbox: Sandbox, around: Surroundings) -> bytes:
    """The header of the START frame."""
    return orjson.dumps(
        {
            "handler": function.handler,
            "code_directory": str(function.code_directory),
            "layers": [str(layer) for layer in function.layers],
            "environment": variables(function, sandbox, around),
            "tmp_directory": str(sandbox.directory),
            "private_tmp": around.private_tmp,
            "strict_json": function.strict_json,
            "file_bytes": function.ephemeral_storage_mb * limits.MEGABYTE,
            "data_bytes": limits.data_limit_bytes(function.memory_mb),
        }
    )
