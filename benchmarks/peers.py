"""The peers, in a virtual environment of their own: `.venv-peers` at the repository's root."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from benchmarks.engine import ROOT, accepts, end, free_port, wait_until
from benchmarks.load import Request

#: aws-sam-cli for the emulator's binary alone, hence nothing of what it needs itself
PINNED = (
    "aiokafka==0.14.0",
    "annotated-types==0.8.0",
    "anyio==4.16.0",
    "async-timeout==5.0.1",
    "asyncinotify==4.4.4",
    "aws-sam-cli==1.170.0",
    "awslambdaric==4.2.2",
    "click==8.5.1",
    "fast-depends==3.0.9",
    "faststream==0.7.8",
    "h11==0.16.0",
    "httptools==0.9.0",
    "idna==3.20",
    "packaging==26.3",
    "pydantic==2.14.3",
    "pydantic-core==2.50.4",
    "simplejson==4.3.0",
    "snapshot-restore-py==1.0.0",
    "typing-extensions==4.16.0",
    "typing-inspection==0.4.5",
    "uvicorn==0.54.0",
)
_VENV = ROOT / ".venv-peers"
_PYTHON = _VENV / "bin" / "python"
_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
EMULATOR = "AWS RIE + awslambdaric"
BARE_APP = "bare uvicorn"


class PeerMissing(Exception):
    """A peer cannot be had; says why."""


def prepare() -> None:
    """Make the virtual environment unless it is there. Raises PeerMissing."""
    marker, wanted = _VENV / ".pinned", "\n".join(PINNED)
    if marker.exists() and marker.read_text() == wanted:
        return
    print(f"installing the peers into {_VENV} ...", file=sys.stderr)
    _run(sys.executable, "-m", "venv", "--clear", str(_VENV))
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
    _run(str(_PYTHON), *install, *PINNED)
    marker.write_text(wanted)


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=180)
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines() or ["no reason given"]
        raise PeerMissing(f"the peers cannot be installed: {lines[-1]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(f"the peers cannot be installed: {error}") from None


def python() -> Path:
    """The peers' interpreter. Raises PeerMissing."""
    prepare()
    return _PYTHON


def emulator_binary() -> Path:
    """AWS's runtime interface emulator. Raises PeerMissing."""
    prepare()
    name = f"aws-lambda-rie-{_MACHINES.get(platform.machine().lower(), 'unknown')}"
    for found in _VENV.glob(f"lib/python*/site-packages/samcli/local/rapid/{name}"):
        return found
    raise PeerMissing(f"there is no emulator for this machine ({name})")


class Server:
    """A peer that listens on a port: a context manager."""

    def __init__(self, command: list[str], port: int, directory: Path, env: Mapping[str, str]):
        self.port = port
        self._command = command
        self._directory = directory
        self._environment = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", **env}

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: accepts(self.port), f"{self._command[0]}'s start")
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the emulator leaves its runtime behind

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Request:
        return Request(self.port, path, body, dict(headers or {}))


class Emulator(Server):
    """The emulator around `handler` of the code in `directory`, logging errors only."""

    def __init__(self, directory: Path, handler: str) -> None:
        port = free_port()
        addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
        addresses += ["--runtime-api-address", f"127.0.0.1:{free_port()}"]
        command = [str(emulator_binary()), *addresses, "--log-level", "error"]
        command += [str(python()), "-m", "awslambdaric", handler]
        variables = {
            "LAMBDA_TASK_ROOT": str(directory),
            "AWS_LAMBDA_FUNCTION_NAME": "function",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": "30",
            "AWS_REGION": "us-east-1",
        }
        super().__init__(command, port, directory, variables)

    def invocation(self, event: bytes = b"{}") -> Request:
        return self.post("/2015-03-31/functions/function/invocations", event)


class BareApp(Server):
    """uvicorn with httptools and an app that answers `answer` to everything."""

    def __init__(self, answer: Mapping[str, object]) -> None:
        port = free_port()
        options = ["--http", "httptools", "--loop", "asyncio", "--no-access-log"]
        options += ["--no-server-header", "--log-level", "warning", "--lifespan", "off"]
        command = [str(python()), "-m", "uvicorn", *options, "--port", str(port), "bare_app:app"]
        super().__init__(command, port, Path(__file__).parent, {"ANSWER": json.dumps(answer)})
