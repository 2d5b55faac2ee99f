"""Walking a bucket's directories."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from eventmesh_connectors.s3.catalogue import Listing, stamp_of
from eventmesh_connectors.s3.keys import KeyFilter

_KINDS = {
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class BucketGone(Exception):
    """The bucket's directory is not there any more."""


def walk(
    root: bytes,
    start: bytes,
    key_filter: KeyFilter,
    enter: Callable[[bytes], None] | None = None,
) -> Listing:
    """List the matching files at and below `start` (ends in `/`; b"" is all of the bucket).

    `enter` is called with each directory before it is read, so that a watch placed there misses
    nothing. Symlinks are not followed. A directory that vanishes meanwhile is left out; raises
    BucketGone when it is the bucket itself. Blocks.
    """
    listing = Listing()
    waiting = [start]
    while waiting:
        directory = waiting.pop()
        try:
            if enter is not None:
                enter(directory)
            _list(root, directory, key_filter, listing, waiting)
        except (FileNotFoundError, NotADirectoryError) as error:
            if not directory:
                raise BucketGone(os.strerror(error.errno or 0)) from error
        except OSError as error:
            if not directory:
                raise BucketGone(os.strerror(error.errno or 0)) from error
            listing.unreadable.append(directory)
    return listing


def _list(
    root: bytes, directory: bytes, key_filter: KeyFilter, listing: Listing, waiting: list[bytes]
) -> None:
    with os.scandir(os.path.join(root, directory)) as entries:
        for entry in entries:
            key = directory + entry.name
            if entry.is_dir(follow_symlinks=False):
                if key_filter.may_hold(key + b"/"):
                    waiting.append(key + b"/")
            elif key_filter.matches(key):
                _add(key, entry, listing)


def _add(key: bytes, entry: os.DirEntry[bytes], listing: Listing) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        listing.files[key] = stamp_of(status)
    else:
        name = _KINDS.get(kind, "other")
        listing.ignored[name] = listing.ignored.get(name, 0) + 1
