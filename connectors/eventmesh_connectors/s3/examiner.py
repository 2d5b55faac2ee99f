"""Examining files: what each is now, against what the catalogue says of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from logging import Logger

from eventmesh.clock import Clock
from eventmesh_connectors.s3 import hints
from eventmesh_connectors.s3.catalogue import (
    UNREAD,
    Catalogue,
    Change,
    ChangeKind,
    digest_of,
    is_same,
    is_same_but_inode,
    stamp_of,
)
from eventmesh_connectors.s3.files import BucketDirectory, OpenFile, Stopped, Writers
from eventmesh_connectors.s3.hints import Watcher
from eventmesh_connectors.s3.keys import encode_key
from eventmesh_connectors.s3.waiting import WaitingFiles


@dataclass(frozen=True, slots=True)
class OpenBucket:
    """A bucket while it is followed."""

    directory: BucketDirectory
    watcher: Watcher
    catalogue: Catalogue


class Examiner:
    """Examines keys of one bucket. Blocks, and belongs in a thread; the catalogue is only read."""

    def __init__(
        self,
        bucket: OpenBucket,
        settle_seconds: float,
        clock: Clock,
        log: Logger,
        stopping: Callable[[], bool],
    ) -> None:
        self._directory = bucket.directory
        self._sees_closing = bucket.watcher.sees_closing
        self._catalogue = bucket.catalogue
        self._clock = clock
        self._log = log
        self._stopping = stopping
        #: files that are not complete yet
        self.waiting = WaitingFiles(settle_seconds)

    def examine(self, keys: Mapping[bytes, int], origins: dict[bytes, bytes]) -> list[Change]:
        """The changes that make `keys` (and why to look at each) what they are now.

        `origins` names the key that renamed ones had before. At most one change for a key. Raises
        Stopped.
        """
        self._directory.forget_parent()
        changes: dict[bytes, Change] = {}
        # renamed ones first, so that a rename is seen before its old key is gone
        for key in dict.fromkeys([*(key for key in keys if key in origins), *keys]):
            if self._stopping():
                raise Stopped
            for change in self._examine(key, keys, origins.pop(key, None)):
                changes.setdefault(change.key, change)
        return list(changes.values())

    def _examine(self, key: bytes, keys: Mapping[bytes, int], origin: bytes | None) -> list[Change]:
        reasons = keys[key]
        known = self._catalogue.entries.get(key)
        try:
            status = self._directory.status(key)
        except OSError as error:
            self._log.warning("cannot look at %s: %s", encode_key(key), error.strerror)
            self.waiting.take(key)
            return []
        if status is None:
            self.waiting.take(key)
            return [Change(key, ChangeKind.DELETE, None)] if known is not None else []
        stamp = stamp_of(status)
        if known is not None and is_same(known, stamp) and not reasons & hints.CLOSED:
            self.waiting.take(key)
            return []
        if reasons == hints.LINKED:
            # just made: its writer's close will be told, but a second name for a file has none
            self.waiting.postpone(key, hints.FOUND, self._clock.monotonic())
            return []
        if origin is not None and self._is_renamed(origin, stamp):
            return self._rename(key, origin, stamp, keys)
        return self._read(key, reasons, stamp)

    def _is_renamed(self, origin: bytes, stamp: bytes) -> bool:
        """Whether the file with this stamp is the one delivered as `origin`, which is no more."""
        known = self._catalogue.entries.get(origin)
        if known is None or not is_same(known, stamp):
            return False
        try:
            return self._directory.status(origin) is None
        except OSError:
            return False

    def _rename(
        self, key: bytes, origin: bytes, stamp: bytes, keys: Mapping[bytes, int]
    ) -> list[Change]:
        digest = digest_of(self._catalogue.entries[origin])
        told = keys[key] & hints.MOVED and not keys.get(origin, 0) & hints.CLOSED
        if not told or digest == UNREAD:
            # only its looks say that it is the same file
            changes = self._read(key, hints.MOVED, stamp)
            if not changes or digest not in (UNREAD, digest_of(changes[0].entry or b"")):
                return changes
            return [
                changes[0]._replace(kind=ChangeKind.COPY),
                Change(origin, ChangeKind.DELETE, None),
            ]
        self.waiting.take(key)
        return [
            Change(key, ChangeKind.COPY, stamp + digest),
            Change(origin, ChangeKind.DELETE, None),
        ]

    def _read(self, key: bytes, reasons: int, stamp: bytes) -> list[Change]:
        """The change that makes `key` what it is now; none as long as it is not complete."""
        try:
            file = self._directory.open(key)
        except OSError:
            return self._conclude_unreadable(key, reasons, stamp)
        if file is None:  # vanished just now; that will be told too
            self.waiting.take(key)
            return []
        try:
            return self._read_open(key, file, reasons)
        except OSError as error:
            self._log.warning("cannot read %s: %s", encode_key(key), error.strerror)
            self.waiting.postpone(key, reasons, self._clock.monotonic())
            return []
        finally:
            file.close()

    def _read_open(self, key: bytes, file: OpenFile, reasons: int) -> list[Change]:
        now, writers, status = self._clock.monotonic(), file.writers(), file.status()
        stamp = stamp_of(status)
        if writers is Writers.SOME:
            self.waiting.postpone(key, reasons, now)
            return []
        if self._must_settle(reasons, writers) and not self.waiting.is_settled(
            key, stamp, reasons, now
        ):
            return []
        digest = file.md5(status.st_size, self._stopping)
        if stamp_of(file.status()) != stamp or file.writers() is Writers.SOME:
            self.waiting.postpone(key, reasons, now)
            return []
        return self._conclude(key, reasons, stamp, digest)

    def _must_settle(self, reasons: int, writers: Writers) -> bool:
        if reasons & hints.MOVED:
            return False
        if not self._sees_closing:
            return True
        return writers is Writers.UNKNOWN and not reasons & hints.CLOSED

    def _conclude_unreadable(self, key: bytes, reasons: int, stamp: bytes) -> list[Change]:
        """Deliver all the same: the handler may be allowed what eventmesh is not."""
        now = self._clock.monotonic()
        if self._must_settle(reasons, Writers.UNKNOWN) and not self.waiting.is_settled(
            key, stamp, reasons, now
        ):
            return []
        digest = hashlib.md5(stamp, usedforsecurity=False).digest()
        return self._conclude(key, reasons, stamp, digest)

    def _conclude(self, key: bytes, reasons: int, stamp: bytes, digest: bytes) -> list[Change]:
        self.waiting.take(key)
        known = self._catalogue.entries.get(key)
        kind = ChangeKind.PUT
        if known is not None and digest_of(known) == digest:
            if is_same(known, stamp):
                return []  # closed without a change
            if is_same_but_inode(known, stamp) and reasons == hints.FOUND:
                kind = ChangeKind.RESTAMPED
        return [Change(key, kind, stamp + digest)]
