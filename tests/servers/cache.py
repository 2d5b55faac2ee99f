"""Installed servers, kept outside the checkout: each once, whole or not at all.

Several test workers and several checkouts share the cache. A directory is named after what went
into it, so two recipes never fight over one; it counts only once its `.complete` file is there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers.recipe import Unavailable

COMPLETE = ".complete"
LOCK_SECONDS = 900.0


def cache_root() -> Path:
    chosen = os.environ.get("EVENTMESH_TEST_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "eventmesh-tests"


def entry_name(name: str, version: str, ingredients: Sequence[str]) -> str:
    """NAME-VERSION-DIGEST; the digest tells apart installations of one version."""
    digest = hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:8]
    return f"{name}-{version}-{digest}"


def is_complete(entry: Path) -> bool:
    """Whether `entry` may be used: finished, and its Python, if it has one, still there."""
    python = entry / "bin" / "python"
    return (entry / COMPLETE).is_file() and (not python.is_symlink() or python.exists())


@contextmanager
def locked(path: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock file at `path`, waiting up to `seconds`; raises Unavailable after that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        _lock_within(lock.fileno(), path, seconds)
        yield


def _lock_within(descriptor: int, path: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable(f"{path} stayed locked for {seconds:.0f} s") from None
            time.sleep(0.2)
        else:
            return


def build_once(entry: Path, build: Callable[[Path], None]) -> Path:
    """`entry`, built by `build(entry)` unless it is complete already.

    Built in place, because a virtual environment holds its own path. What an interrupted build
    left is removed first.
    """
    if is_complete(entry):
        return entry
    with locked(entry.with_name(entry.name + ".lock")):
        if not is_complete(entry):
            shutil.rmtree(entry, ignore_errors=True)
            entry.mkdir(parents=True)
            build(entry)
            (entry / COMPLETE).touch()
    return entry
