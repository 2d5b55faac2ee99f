"""Noticing changes with inotify: the kernel tells when a writer closes a file."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from asyncinotify import Event, Inotify, Mask, Watch

from eventmesh.clock import Clock
from eventmesh_connectors.s3 import hints
from eventmesh_connectors.s3.catalogue import Listing
from eventmesh_connectors.s3.hints import Hints, WatchesExhausted
from eventmesh_connectors.s3.keys import KeyFilter
from eventmesh_connectors.s3.tree import walk

_MASK = (
    Mask.CLOSE_WRITE
    | Mask.MOVED_FROM
    | Mask.MOVED_TO
    | Mask.CREATE
    | Mask.DELETE
    | Mask.DELETE_SELF
    | Mask.MOVE_SELF
    | Mask.ONLYDIR
    | Mask.EXCL_UNLINK
)
# plain numbers: testing an IntFlag costs more than all the rest of an event
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = (
    int(m) for m in (Mask.CLOSE_WRITE, Mask.MOVED_FROM, Mask.MOVED_TO)
)
_CREATE, _DELETE, _ISDIR = int(Mask.CREATE), int(Mask.DELETE), int(Mask.ISDIR)
_OVERFLOW, _IGNORED = int(Mask.Q_OVERFLOW), int(Mask.IGNORED)
_SELF = int(Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT)
#: notifications taken in at once: two for a file written
_LIMIT = 1024
#: the two halves of a rename are queued one after the other, not as one
_PAIR_SECONDS = 0.01
_LIMITS = {
    errno.ENOSPC: ("watches", "max_user_watches", 1048576),
    errno.EMFILE: ("instances", "max_user_instances", 1024),
}


class Notifier(Protocol):
    """What is used of `asyncinotify.Inotify`."""

    sync_timeout: float | None

    @property
    def fd(self) -> int: ...
    def add_watch(self, path: bytes, mask: Mask) -> Watch: ...
    def rm_watch(self, watch: Watch) -> None: ...
    def sync_get(self) -> Event | None: ...
    def close(self) -> None: ...


def open_inotify() -> Notifier:
    """An inotify instance that never waits. Raises WatchesExhausted."""
    try:
        return Inotify(cache_size=64, sync_timeout=0.0)
    except OSError as error:
        raise _explain(error) or error from error


class InotifyWatcher:
    """Watches the directories of one bucket that may hold matching keys."""

    sees_closing = True

    def __init__(
        self,
        root: bytes,
        key_filter: KeyFilter,
        clock: Clock,
        opener: Callable[[], Notifier] = open_inotify,
    ) -> None:
        self._root = root
        self._filter = key_filter
        self._clock = clock
        self._inotify = opener()
        #: watch and directory by watch descriptor
        self._watches: dict[int, tuple[Watch, bytes]] = {}
        #: first halves of renames by cookie: where from, and whether it is a directory
        self._departures: dict[int, tuple[bytes, bool]] = {}

        real = os.path.realpath(root)
        self._name = os.path.basename(real)
        self._above = self._watch_above(os.path.dirname(real))

    def scan(self) -> Listing:
        return walk(self._root, b"", self._filter, self._watch)

    def collect(self) -> Hints:
        found = Hints()
        for _ in range(_LIMIT):
            self._inotify.sync_timeout = _PAIR_SECONDS if self._departures else 0.0
            event = self._inotify.sync_get()
            if event is None:
                self._settle_departures(found)
                break
            self._interpret(event, found)
        return found

    async def wait(self, seconds: float) -> None:
        loop, descriptor, readable = asyncio.get_running_loop(), self._inotify.fd, asyncio.Event()
        loop.add_reader(descriptor, readable.set)
        try:
            await self._clock.wait(readable, seconds)
        finally:
            loop.remove_reader(descriptor)

    async def close(self) -> None:
        await asyncio.to_thread(self._inotify.close)

    def _watch_above(self, parent: bytes) -> int:
        """Watch for the bucket's own removal. A removed directory tells nothing itself as long as
        someone has it open, and eventmesh does."""
        with suppress(OSError):
            if not self._name:
                return -1  # the whole file system is the bucket
            mask = Mask.DELETE | Mask.MOVED_FROM | Mask.ONLYDIR
            return self._inotify.add_watch(parent, mask).wd
        return -1  # not allowed to: the next scan will see it

    def _watch(self, directory: bytes) -> None:
        mask = _MASK | Mask.DONT_FOLLOW if directory else _MASK
        try:
            watch = self._inotify.add_watch(os.path.join(self._root, directory), mask)
        except OSError as error:
            raise _explain(error) or error from error
        # a directory already watched keeps its descriptor and may have got another name
        self._watches[watch.wd] = (watch, directory)

    def _interpret(self, event: Event, found: Hints) -> None:
        mask = int(event.mask)
        if mask & _OVERFLOW:
            found.rescan = True
        watch = event.watch
        if watch is not None and watch.wd == self._above:
            name = event.name
            found.bucket_touched |= name is not None and os.fsencode(name) == self._name
            return
        _, directory = self._watches.get(watch.wd, (None, None)) if watch else (None, None)
        if watch is None or directory is None:
            return
        if mask & _IGNORED:
            del self._watches[watch.wd]
        elif event.name is None:
            found.bucket_touched |= bool(mask & _SELF) and not directory
        else:
            key = directory + os.fsencode(event.name)
            interpret = self._interpret_directory if mask & _ISDIR else self._interpret_file
            interpret(mask, event.cookie, key, found)

    def _interpret_file(self, mask: int, cookie: int, key: bytes, found: Hints) -> None:
        if not self._filter.matches(key):
            return
        if mask & _CLOSE_WRITE:
            found.add(key, hints.CLOSED)
        elif mask & _CREATE:
            found.add(key, hints.LINKED)
        elif mask & _DELETE:
            found.add(key, hints.GONE)
        elif mask & _MOVED_FROM:
            self._departures[cookie] = (key, False)
        elif mask & _MOVED_TO:
            origin, _ = self._departures.pop(cookie, (None, False))
            found.add(key, hints.MOVED, origin)
            if origin is not None:
                found.add(origin, hints.GONE)

    def _interpret_directory(self, mask: int, cookie: int, key: bytes, found: Hints) -> None:
        directory = key + b"/"
        if mask & _MOVED_FROM:
            self._departures[cookie] = (directory, True)
        elif mask & (_CREATE | _MOVED_TO):
            origin, _ = self._departures.pop(cookie, (None, False)) if cookie else (None, False)
            if origin is not None:
                self._empty(origin, found)
            if self._filter.may_hold(directory):
                self._explore(directory, origin, found)

    def _explore(self, directory: bytes, origin: bytes | None, found: Hints) -> None:
        """Watch a directory that appeared, then see what is in it already."""
        listing = walk(self._root, directory, self._filter, self._watch)
        for key in listing.files:
            if origin is None:
                found.add(key, hints.FOUND)
            else:
                found.add(key, hints.MOVED, origin + key[len(directory) :])

    def _settle_departures(self, found: Hints) -> None:
        """What was renamed and did not arrive is outside now."""
        for origin, is_directory in self._departures.values():
            if is_directory:
                self._empty(origin, found)
            else:
                found.add(origin, hints.GONE)
        self._departures.clear()

    def _empty(self, directory: bytes, found: Hints) -> None:
        found.emptied.append(directory)
        for descriptor, (watch, path) in list(self._watches.items()):
            if path.startswith(directory):
                del self._watches[descriptor]
                with suppress(OSError):
                    self._inotify.rm_watch(watch)


def _explain(error: OSError) -> Exception | None:
    if error.errno not in _LIMITS:
        return None
    what, name, limit = _LIMITS[error.errno]
    return WatchesExhausted(
        f"this machine's limit of inotify {what} is reached;"
        f" raise it: sudo sysctl fs.inotify.{name}={limit}"
    )
