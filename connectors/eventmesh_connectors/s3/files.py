"""Looking at one file of a bucket: what it looks like, whether someone still writes it, its MD5.

Nothing outside the bucket is ever reached: every directory on the way and the file itself are
opened without following symlinks, and only regular files are opened at all. Everything here blocks
and belongs in a thread.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import stat
from collections.abc import Callable
from enum import Enum

_BLOCK = 1 << 20
_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Stopped(Exception):
    """Reading was given up because the source stops."""


class Writers(Enum):
    """Whether a process has the file open for writing; UNKNOWN where the kernel does not tell."""

    NONE = "none"
    SOME = "some"
    UNKNOWN = "unknown"


class OpenFile:
    """A regular file open for reading."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def status(self) -> os.stat_result:
        return os.fstat(self._descriptor)

    def writers(self) -> Writers:
        """Probe with a read lease: the kernel refuses it (EAGAIN) while a writer has the file."""
        try:
            # a writer arriving just now breaks the lease: SIGIO, the default, would end the process
            fcntl.fcntl(self._descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            return Writers.SOME if error.errno == errno.EAGAIN else Writers.UNKNOWN
        except AttributeError:  # not Linux
            return Writers.UNKNOWN
        return Writers.NONE

    def md5(self, size: int, stopping: Callable[[], bool]) -> bytes:
        """The MD5 of the content. Raises Stopped between blocks once `stopping()`; OSError."""
        digest = hashlib.md5(usedforsecurity=False)
        read, asked = 0, min(size + 1, _BLOCK)
        while block := os.read(self._descriptor, asked):
            digest.update(block)
            read += len(block)
            if read == size and len(block) < asked:
                break
            if stopping():
                raise Stopped
        return digest.digest()

    def close(self) -> None:
        os.close(self._descriptor)


class BucketDirectory:
    """The files of one bucket by key. Holds the bucket's directory open, so it is this very
    directory even when another takes its name."""

    def __init__(self, path: bytes) -> None:
        """Open `path`, following symlinks here only. Raises OSError."""
        self.path = path
        self._root = os.open(path, _DIRECTORY & ~os.O_NOFOLLOW)
        self._parent: tuple[bytes, int] | None = None

    def is_current(self) -> bool:
        """Whether `path` still names this directory."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._root))
        except OSError:
            return False

    def status(self, key: bytes) -> os.stat_result | None:
        """What the regular file `key` looks like; None when there is none. Raises OSError when that
        cannot be told."""
        try:
            parent, name = self._locate(key)
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        return found if stat.S_ISREG(found.st_mode) else None

    def open(self, key: bytes) -> OpenFile | None:
        """Open the regular file `key` for reading; None when there is none. Raises OSError, as
        PermissionError."""
        try:
            parent, name = self._locate(key)
            descriptor = os.open(name, _FILE, dir_fd=parent)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return OpenFile(descriptor)
        os.close(descriptor)
        return None

    def forget_parent(self) -> None:
        """Look directories up anew from now on."""
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def close(self) -> None:
        self.forget_parent()
        os.close(self._root)

    def _locate(self, key: bytes) -> tuple[int, bytes]:
        directory, _, name = key.rpartition(b"/")
        if not directory:
            return self._root, name
        if self._parent is None or self._parent[0] != directory:
            self.forget_parent()
            self._parent = (directory, self._descend(directory.split(b"/")))
        return self._parent[1], name

    def _descend(self, names: list[bytes]) -> int:
        descriptor = self._root
        for name in names:
            try:
                below = os.open(name, _DIRECTORY, dir_fd=descriptor)
            finally:
                if descriptor != self._root:
                    os.close(descriptor)
            descriptor = below
        return descriptor
