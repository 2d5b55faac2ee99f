"""The state directory: made private, and refused where payloads would be exposed or locks do not
hold."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from eventmesh.errors import StateError

_REMOTE = {"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afs"}
_REMOTE_FUSE = {"fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.goofys"}
_MOUNTS = Path("/proc/self/mountinfo")


def prepare_directory(directory: Path) -> Path:
    """Make the directory (mode 0700) where it is missing, check it, and return its real path.

    Waits for the disk. Raises StateError when it cannot be made, is not ours, is writable by
    everyone or lies on a network file system.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"cannot make the state directory {directory}: {error.strerror}; set `state:` to a "
            "directory that this user may write"
        ) from error
    return check_directory(directory)


def check_directory(directory: Path) -> Path:
    """Check an existing state directory and return its real path. Raises as `prepare_directory`."""
    real = directory.resolve()
    try:
        status = real.stat()
    except OSError as error:
        raise StateError(f"no state directory at {directory}: {error.strerror}") from error
    _refuse_exposed(real, status)
    _refuse_remote(real)
    if not os.access(real, os.R_OK | os.W_OK | os.X_OK):
        raise StateError(f"{real} is not writable for this user; `chmod u+rwx {real}`")
    return real


def _refuse_exposed(real: Path, status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise StateError(f"{real} is not a directory; set `state:` to one")
    if status.st_uid != os.geteuid():
        raise StateError(
            f"{real} belongs to user {status.st_uid}, but eventmesh runs as user {os.geteuid()}; "
            "run as its owner, `chown` it, or set `state:` to a directory of your own"
        )
    if status.st_mode & stat.S_IWOTH:
        raise StateError(
            f"{real} is writable by everyone, who could then replace the state; "
            f"`chmod o-w {real}` or set `state:` to a private directory"
        )


def _refuse_remote(real: Path) -> None:
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    kind = find_file_system(real, mounts)
    if kind in _REMOTE or kind in _REMOTE_FUSE:
        raise StateError(
            f"{real} lies on a network file system ({kind}), where SQLite's locks do not hold; "
            "set `state:` to a directory on a local disk"
        )


def find_file_system(path: Path, mountinfo: str) -> str | None:
    """The type of the file system that holds the absolute `path`, from the text of
    /proc/self/mountinfo. A later mount hides an earlier one. None when nothing fits."""
    best, depth = None, 0
    for line in mountinfo.splitlines():
        mount, separator, source = line.partition(" - ")
        fields = mount.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = Path(_unescape(fields[4]))
        if len(point.parts) >= depth and path.is_relative_to(point):
            best, depth = source.split(" ")[0], len(point.parts)
    return best


def _unescape(text: str) -> str:
    """Spaces and such are written as octal `\\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def make_private_file(file: Path) -> None:
    """Create the file empty, or keep what is there, with mode 0600; never through a symlink.

    Waits for the disk. Raises StateError.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateError(
            f"cannot open {file} for writing: {error.strerror}; it must be a plain file of the "
            "user who runs eventmesh, on a writable file system"
        ) from error
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Put the names in a directory on the disk. Waits for it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
