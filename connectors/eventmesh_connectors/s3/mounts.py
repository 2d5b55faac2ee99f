"""Which file systems tell of changes made elsewhere, read from /proc/self/mountinfo."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: inotify on these sees only what this machine does itself (or nothing)
_REMOTE = frozenset(
    "9p afs beegfs ceph cifs coda drvfs fakeowner gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2"
    " prl_fs smb2 smb3 smbfs vboxsf virtiofs vmhgfs".split()
)
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One mounted file system: where and of which type (`ext4`, `nfs4`, `fuse.sshfs`)."""

    point: str
    type: str


def is_remote(file_system: str) -> bool:
    """Whether files of this type change without inotify hearing of it."""
    return file_system in _REMOTE or file_system.startswith("fuse.")


def remote_mount(mountinfo: str, directory: str) -> Mount | None:
    """The mount that makes inotify useless for `directory` (absolute, no symlinks), or None.

    It is the one the directory lies on, or one mounted below it.
    """
    on, below = Mount("/", "unknown"), []
    for mount in _mounts(mountinfo):
        if _is_below(directory, mount.point):
            on = mount if len(mount.point) >= len(on.point) else on
        elif _is_below(mount.point, directory) and is_remote(mount.type):
            below.append(mount)
    if is_remote(on.type):
        return on
    return below[0] if below else None


def read_remote_mount(directory: str) -> Mount | None:
    """`remote_mount` of this machine; None where there is no mountinfo. Blocks."""
    try:
        text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return None
    return remote_mount(text, os.path.realpath(directory))


def _mounts(mountinfo: str) -> Iterator[Mount]:
    """Mounts in order; the last one on a point hides those before it."""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, types = before.split(" "), after.split(" ")
        if separator and len(fields) > 4:
            yield Mount(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]), types[0])


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
