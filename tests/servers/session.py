"""What tests ask: a shared server, started once a run, or a private one to be broken.

A run is a pytest process with its xdist workers. The first to need a server starts the run's
supervisor; all others find it in the run's directory, which is named after the main process.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.cache import locked
from tests.servers.catalogue import recipe_named
from tests.servers.installers import ROOT
from tests.servers.processes import log_tail, started_at
from tests.servers.recipe import StartFailed, Unavailable

ASK_SECONDS = 900.0
SUPERVISOR_SECONDS = 15.0
KEPT = "kept"
KINDS = {"Unavailable": Unavailable, "LookupError": LookupError}


@dataclass(frozen=True)
class Server:
    """A server that answers. `name` is what really runs: "tansu" where Kafka could not be had.

    `port` is the server's own on 127.0.0.1, 0 for one given by a variable; `address` is what a
    client takes (an URL, or HOST:PORT).
    """

    name: str
    address: str
    port: int = 0
    log: str = ""

    def log_tail(self, lines: int = 25) -> str:
        return log_tail(Path(self.log), lines)


@dataclass(frozen=True)
class PrivateServer(Server):
    """A server of the caller's own. Its ports stay the same; Kafka and the brokers keep their data.

    Every method blocks until done: in a coroutine use `await asyncio.to_thread(it.restart)`.
    """

    key: str = ""

    def stop(self) -> None:
        """Ask it to end (SIGTERM); killed after 15 s."""
        ask({"do": "stop", "key": self.key})

    def kill(self) -> None:
        """SIGKILL to it and all its children, as a power cut would."""
        ask({"do": "kill", "key": self.key})

    def start(self) -> None:
        """Start it again after stop or kill; raises StartFailed."""
        ask({"do": "start", "key": self.key})

    def restart(self) -> None:
        ask({"do": "restart", "key": self.key})


def server(name: str) -> Server:
    """The run's shared server `name`, installed and started if need be.

    Where the recipe's variable is set, that address is taken and nothing is started. May take
    minutes on a cold cache. Raises Unavailable, StartFailed.
    """
    given = os.environ.get(recipe_named(name).variable)
    if given:
        return Server(name, given)
    reply = ask({"do": "acquire", "key": name, "name": name})
    return Server(reply["name"], reply["address"], reply["port"], reply["log"])


@contextmanager
def private_server(name: str, advertised: int | None = None) -> Iterator[PrivateServer]:
    """A server of one's own, gone with its data at the end.

    `advertised` is the port clients are told to come to: a proxy's. Raises Unavailable,
    StartFailed.
    """
    recipe_named(name)
    key = f"{name}-{uuid.uuid4().hex[:8]}"
    reply = ask({"do": "acquire", "key": key, "name": name, "advertised": advertised})
    try:
        yield PrivateServer(reply["name"], reply["address"], reply["port"], reply["log"], key)
    finally:
        ask({"do": "discard", "key": key})


def main_process(environment: Mapping[str, str], pid: int, parent: int) -> int:
    """The run's main process: the parent, in an xdist worker."""
    return parent if "PYTEST_XDIST_WORKER" in environment else pid


def runs_directory() -> Path:
    """Where this user's runs have their directories; nobody else may look into it."""
    directory = Path(tempfile.gettempdir()) / f"eventmesh-servers-{os.getuid()}"
    if len(str(directory)) > 60:  # a Unix socket's path must stay under 104 characters
        directory = Path("/tmp") / directory.name
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid() or directory.is_symlink():
        raise Unavailable(f"{directory} belongs to somebody else; set TMPDIR")
    return directory


def run_directory(main: int) -> Path:
    return runs_directory() / f"{main}-{started_at(main)}"


def ask(request: Mapping[str, Any]) -> Any:
    """Put one request to this run's supervisor, starting it first if need be. Blocks."""
    main = main_process(os.environ, os.getpid(), os.getppid())
    directory = run_directory(main)
    if not _answering(directory):
        with locked(runs_directory() / f"{directory.name}.lock", SUPERVISOR_SECONDS * 2):
            if not _answering(directory):
                _start_supervisor(directory, main)
    return put(directory, request)


def put(directory: Path, request: Mapping[str, Any]) -> Any:
    """One request to the supervisor in `directory`; its errors are raised here."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(ASK_SECONDS)
        link.connect(str(directory / "socket"))
        link.sendall(json.dumps(request).encode() + b"\n")
        with link.makefile("rb") as lines:
            text = lines.readline()
    if not text:
        raise StartFailed(f"the supervisor ended; its log:\n{log_tail(_log_of(directory))}")
    reply = json.loads(text)
    if "error" in reply:
        raise KINDS.get(reply["kind"], StartFailed)(reply["error"])
    return reply["ok"]


def _answering(directory: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(str(directory / "socket"))
        except OSError:
            return False
    return True


def _log_of(directory: Path) -> Path:
    return directory / "supervisor.log"


def _start_supervisor(directory: Path, main: int) -> None:
    """A process apart from the run's terminal and process group, so that it can clean up."""
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / "socket").unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.servers.supervisor", str(directory), str(main)]
    with _log_of(directory).open("ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    process.returncode = 0  # not ours to wait for: it outlives us by design
    deadline = time.monotonic() + SUPERVISOR_SECONDS
    while not _answering(directory):
        if time.monotonic() > deadline:
            said = log_tail(_log_of(directory))
            raise StartFailed(f"the servers' supervisor does not answer; its log:\n{said}")
        time.sleep(0.02)


def keep_for_others() -> None:
    """Let `kept_runs` in other processes find this run; call once a server has started."""
    (run_directory(os.getpid()) / KEPT).touch()


def kept_runs() -> list[Path]:
    """Directories of the runs that a shell keeps for others and whose supervisor answers now."""
    found = sorted(runs_directory().glob(f"*/{KEPT}"))
    return [path.parent for path in found if _answering(path.parent)]
