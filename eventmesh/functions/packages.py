"""Code packages and layers: a directory as it is, or a zip unpacked once (semantics 9.1, 9.2, 9.5).

A zip comes from outside, so whatever is not an ordinary file or directory with an ordinary name is
refused, never repaired, and limits count what was inflated rather than what the zip claims.
Unpacking reads and writes files: call it from a thread.
"""

from __future__ import annotations

import copy
import fcntl
import hashlib
import io
import os
import re
import shutil
import stat
import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from eventmesh.errors import EventMeshError
from eventmesh.functions.package_entries import Entry, PackageLimits, Refusal, checked_entries


class PackageError(EventMeshError):
    """A code package or layer cannot be used."""


LIMITS = PackageLimits()

#: 20,000 entries with names of 150 bytes take 7 MB; the standard library reads them all at once
_LARGEST_DIRECTORY_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_TEMPORARY = ".unpacking-"
_LOCK = ".lock"
_VERSION = re.compile(r"(?:python)?(\d+)\.(\d+)(?:\.\d+)?")
#: what `zipfile` raises on damaged input; OSError is not among them: the disk is not the zip
_DAMAGED = (
    BadZipFile,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)


def prepare_code(path: Path, directory: Path, limits: PackageLimits = LIMITS) -> Path:
    """Where the code of the package `path` lies: itself if a directory, else the zip unpacked.

    A zip is unpacked to `directory/<sha256 of the zip>`, once, also when several processes ask at
    the same time; the result is on the disk when this returns. Blocks. Raises PackageError, whose
    message starts with AWS's text where AWS has one and names the entry at fault; then nothing is
    left behind.
    """
    return _prepare(path, directory, limits)


def prepare_layer(path: Path, directory: Path, limits: PackageLimits = LIMITS) -> Path:
    """As `prepare_code`, for a layer: what a handler sees below `/opt` (semantics 9.5)."""
    return _prepare(path, directory, limits)


def python_paths(layers: Sequence[Path], python_version: str) -> list[Path]:
    """The search path for modules of unpacked `layers`, the later layer first (semantics 9.5).

    `python_version` is `3.12` or `python3.12`. Pure: directories that do not exist are listed too.
    Raises ValueError for anything else.
    """
    version = _VERSION.fullmatch(python_version)
    if version is None:
        raise ValueError(f"not a Python version: {python_version!r}; write 3.12 or python3.12")
    packages = Path("python", "lib", f"python{version[1]}.{version[2]}", "site-packages")
    # Lambda merges the layers first, so every site-packages comes before every plain python/
    return [layer / folder for folder in (packages, Path("python")) for layer in reversed(layers)]


def executable_paths(layers: Sequence[Path]) -> list[Path]:
    """The search path for programs of unpacked `layers`, the later layer first (semantics 9.5)."""
    return [layer / "bin" for layer in reversed(layers)]


def _prepare(path: Path, directory: Path, limits: PackageLimits) -> Path:
    try:
        if path.is_dir():
            return path
        with _BoundedReader(io.FileIO(_open_regular(path))) as file:
            return _unpack_once(file, directory, limits)
    except Refusal as refusal:
        raise PackageError(f"{refusal.text} ({path}: {refusal})") from refusal.__cause__
    except OSError as error:
        raise PackageError(f"Cannot use {path} as a package: {error}") from error


def _open_regular(path: Path) -> int:
    # without O_NONBLOCK a FIFO would wait for a writer
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refusal("it is neither a directory nor a regular file")
    return descriptor


class _BoundedReader(io.BufferedReader):
    """The zip's file. `ZipFile` reads the whole list of entries in one call: this bounds it."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LARGEST_DIRECTORY_BYTES:
            raise Refusal(f"its list of entries is larger than {_LARGEST_DIRECTORY_BYTES} bytes")
        return super().read(size)


def _unpack_once(file: io.BufferedReader, directory: Path, limits: PackageLimits) -> Path:
    before = _identity(file)
    if before.size > limits.total_bytes + 2 * _LARGEST_DIRECTORY_BYTES:
        raise _too_large(limits, f"the zip itself has {before.size} bytes")
    target = directory / hashlib.file_digest(file, "sha256").hexdigest()
    if not target.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory), _temporary_sibling(target) as temporary:
            if not target.is_dir():
                _unpack(file, temporary, limits)
                if _identity(file) != before:
                    raise Refusal("it changed while it was unpacked; try again")
                _publish(temporary, target)
    return target


@dataclass(frozen=True, slots=True)
class _Identity:
    size: int
    modified_ns: int
    changed_ns: int


def _identity(file: io.BufferedReader) -> _Identity:
    status = os.fstat(file.fileno())
    return _Identity(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let one process at a time unpack into `directory`; the kernel lets go when it dies."""
    with (directory / _LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _temporary_sibling(target: Path) -> Iterator[Path]:
    """A new directory beside `target`, removed afterwards unless renamed. Needs the lock."""
    for abandoned in target.parent.glob(f"{_TEMPORARY}*"):  # by a process that was killed
        shutil.rmtree(abandoned, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=target.parent))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, target: Path) -> None:
    """Give the finished tree its name: with everything in it on the disk, or not at all."""
    for folder, _, names in os.walk(temporary, topdown=False):
        for name in names:
            _synchronize(os.path.join(folder, name))
        _synchronize(folder)
    temporary.chmod(0o755)
    temporary.rename(target)
    _synchronize(target.parent)


def _synchronize(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unpack(file: io.BufferedReader, root: Path, limits: PackageLimits) -> None:
    """Write every entry of the zip below `root`, which is empty. Raises Refusal."""
    left = limits.total_bytes
    with _opened(file) as archive:
        for entry in checked_entries(archive.infolist(), archive.start_dir, limits):
            target = root / entry.path
            _make_directories(target if entry.is_directory else target.parent, root)
            if not entry.is_directory:
                left -= _inflate(archive, entry, target, left, limits)


def _opened(file: io.BufferedReader) -> ZipFile:
    try:
        return ZipFile(file)
    except UnicodeDecodeError as error:
        raise Refusal(f"entry {ascii(error.object)[1:]}: its name is not UTF-8") from error
    except _DAMAGED as error:
        raise Refusal(str(error) or "it is not a zip file") from error


def _make_directories(folder: Path, root: Path) -> None:
    missing = []
    while folder != root and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir()
        path.chmod(0o755)  # whatever the umask


def _inflate(archive: ZipFile, entry: Entry, target: Path, left: int, limits: PackageLimits) -> int:
    """Write the content of `entry` to `target`, a new file; return its size, at most `left`."""
    claimed, written = entry.info.file_size, 0
    info = copy.copy(entry.info)
    info.file_size = limits.total_bytes + 1  # else content ends unnoticed at the claimed size
    try:
        with archive.open(info) as source, target.open("xb") as output:
            while chunk := source.read(_CHUNK_BYTES):
                written += len(chunk)
                _check_size(entry, written, left, limits)
                output.write(chunk)
            os.fchmod(output.fileno(), entry.mode)
    except _DAMAGED as error:
        raise Refusal(f"entry {entry.shown}: {error or 'damaged'}") from error
    if written != claimed:
        raise Refusal(f"entry {entry.shown}: claims {claimed} bytes but has {written}")
    return written


def _check_size(entry: Entry, written: int, left: int, limits: PackageLimits) -> None:
    if written > left:
        raise _too_large(limits, f"entry {entry.shown} goes beyond it")
    if written > max(limits.ratio_floor_bytes, limits.ratio * entry.info.compress_size):
        raise Refusal(
            f"entry {entry.shown}: inflates to more than {limits.ratio} times its compressed size"
        )


def _too_large(limits: PackageLimits, reason: str) -> Refusal:
    return Refusal(reason, f"Unzipped size must be smaller than {limits.total_bytes} bytes")
