"""Starting a server so that it cannot outlive the harness, and ending all of it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.servers.recipe import LOOPBACK

# Below Linux's range for outgoing connections, so that no client takes a port between two starts.
PORTS = range(20_000, 32_000)
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "JAVA_HOME", "LD_LIBRARY_PATH")
POLL_SECONDS = 0.05
MARK = "EVENTMESH_TEST_SERVER"  # every process of a server inherits it: the instance's directory


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """`command`, killed by the kernel when its parent ends, where setpriv is there (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else list(command)


def child_environment(outer: Mapping[str, str], directory: Path) -> dict[str, str]:
    """What a server sees of the caller's variables: no AWS_, PYTEST_, PYTHON or proxy settings."""
    kept = {key: outer[key] for key in KEPT if key in outer}
    return {**kept, "TMPDIR": str(directory), MARK: str(directory)}


def spawn(
    command: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path
) -> subprocess.Popen[bytes]:
    """Start `command` in a process group of its own; what it says goes to the end of `log`.

    Call from a thread that lives as long as the server should: its end is the server's.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            dying_with_parent(command),
            env={**child_environment(os.environ, directory), **environment},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes], directory: Path, grace: float) -> None:
    """Ask the group to end, wait up to `grace` seconds, kill what is left. Blocks; 0: kill now.

    What the server started outside its group (LocalStack's Kinesis) is known by its mark.
    """
    if grace and process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            pass
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()
    kill_marked(lambda marked: marked == directory)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def kill_marked(chosen: Callable[[Path], bool], seconds: float = 2.0) -> None:
    """SIGKILL the processes whose mark is `chosen`, and wait until they are gone, ports and all."""
    deadline = time.monotonic() + seconds
    while left := [pid for pid, directory in marked() if chosen(directory)]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)


def marked() -> list[tuple[int, Path]]:
    """This user's processes that carry a mark, with the instance directory it names (Linux)."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        directory = marked_directory(_read(environment))
        if directory is not None:
            found.append((int(environment.parent.name), directory))
    return found


def marked_directory(environment: bytes) -> Path | None:
    """The directory the mark names in a process's environment as /proc has it."""
    start = f"{MARK}=".encode()
    for entry in environment.split(b"\0"):
        if entry.startswith(start):
            return Path(os.fsdecode(entry[len(start) :]))
    return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # gone, or another user's
        return b""


def free_ports(count: int) -> tuple[int, ...]:
    """Distinct loopback ports nobody listens on now."""
    chosen: list[int] = []
    for port in random.sample(PORTS, 500):
        if len(chosen) == count:
            break
        if is_free(port):
            chosen.append(port)
    return tuple(chosen)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def started_at(pid: int) -> str:
    """When process `pid` started, in a form that tells it from a later one with the same id.

    "0" where that cannot be told; "" for one that is gone.
    """
    if not Path("/proc/self/stat").exists():
        return "0" if _exists(pid) else ""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def log_tail(log: Path, lines: int = 25) -> str:
    """The last `lines` lines of `log`, or a word that it is empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"
