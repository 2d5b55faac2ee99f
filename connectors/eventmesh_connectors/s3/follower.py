"""Following a bucket: which files to look at next.

A follower runs in a thread, one call at a time. It changes nothing but what it waits for: the
catalogue changes in `commit`, once the batch is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from logging import Logger

from eventmesh.clock import Clock
from eventmesh_connectors.s3 import hints
from eventmesh_connectors.s3.catalogue import (
    FILTER,
    UNREAD,
    Change,
    ChangeKind,
    Difference,
    Listing,
    compare,
)
from eventmesh_connectors.s3.examiner import Examiner, OpenBucket
from eventmesh_connectors.s3.hints import Hints
from eventmesh_connectors.s3.keys import KeyFilter, encode_key
from eventmesh_connectors.s3.tree import BucketGone

#: files looked at between two enqueues: those just notified, and in all
_URGENT, _BATCH = 400, 500
#: a scan takes at most this part of the time
_SCAN_SHARE = 1 / 20


@dataclass(frozen=True, slots=True)
class Follow:
    """How a bucket is followed."""

    key_filter: KeyFilter
    scan_seconds: float
    settle_seconds: float
    #: at the very first start, take what is there as known already
    adopt: bool


@dataclass(slots=True)
class Batch:
    """Changes to be stored together; `positions` holds more than they say."""

    changes: list[Change] = field(default_factory=list)
    positions: dict[str, str | None] = field(default_factory=dict)


class Follower:
    """Finds the changes of one open bucket."""

    def __init__(
        self,
        bucket: OpenBucket,
        follow: Follow,
        clock: Clock,
        log: Logger,
        stopping: Callable[[], bool],
    ) -> None:
        self._directory = bucket.directory
        self._watcher = bucket.watcher
        self._catalogue = bucket.catalogue
        self._follow = follow
        self._clock = clock
        self._log = log
        self._examiner = Examiner(bucket, follow.settle_seconds, clock, log, stopping)
        self._waiting = self._examiner.waiting
        self._urgent: dict[bytes, int] = {}
        self._backlog: dict[bytes, int] = {}
        self._origins: dict[bytes, bytes] = {}
        self._next_scan = 0.0
        self._oddities: tuple[object, ...] = ({}, [])

    def begin(self) -> tuple[Batch, str]:
        """Scan for the first time: what to store before anything else, and how many files there
        are, for people. Raises BucketGone, WatchesExhausted."""
        listing, found = self._scan()
        adopted = [key for key in found.new if self._is_adopted(key)]
        for key in adopted:
            self._backlog.pop(key, None)
        changes = [Change(key, ChangeKind.ADOPTED, listing.files[key] + UNREAD) for key in adopted]
        batch = Batch(changes)
        if adopted or self._catalogue.stored_filter != self._follow.key_filter:
            batch.positions[FILTER] = self._follow.key_filter.text()
        return batch, f"{len(listing.files)} files, {len(found.new) - len(adopted)} new"

    def step(self) -> Batch:
        """Look at up to a batch of files. Raises BucketGone, WatchesExhausted, Stopped."""
        self._notice(self._watcher.collect())
        now = self._clock.monotonic()
        if now >= self._next_scan and not self._backlog:
            self._scan()
        for key, reasons in self._waiting.due(now).items():
            self._urgent[key] = self._urgent.get(key, 0) | reasons
        return Batch(self._examiner.examine(self._take(), self._origins))

    def pause_seconds(self) -> float:
        """How long nothing is to be done, unless the watcher notices something; 0 when there is
        work now."""
        if self._urgent or self._backlog:
            return 0.0
        due = self._waiting.next_due()
        wake = self._next_scan if due is None else min(due, self._next_scan)
        return max(0.0, wake - self._clock.monotonic())

    def commit(self, batch: Batch) -> None:
        """`batch` is stored: the catalogue takes it in."""
        self._catalogue.apply(batch.changes)
        if FILTER in batch.positions:
            self._catalogue.stored_filter = self._follow.key_filter

    def _is_adopted(self, key: bytes) -> bool:
        stored = self._catalogue.stored_filter
        return self._follow.adopt and (stored is None or not stored.matches(key))

    def _notice(self, found: Hints) -> None:
        if found.bucket_touched and not self._directory.is_current():
            raise BucketGone("removed or renamed")
        if found.rescan:
            self._next_scan = 0.0
            self._backlog.clear()
        if found.emptied:
            below = self._catalogue.below(tuple(found.emptied))
            found.keys.update((key, found.keys.get(key, 0) | hints.GONE) for key in below)
        self._origins.update(found.origins)
        for key, reasons in found.keys.items():
            # told anew: what it waited for until now starts from here
            reasons |= self._waiting.take(key)
            self._urgent[key] = self._urgent.get(key, 0) | reasons

    def _scan(self) -> tuple[Listing, Difference]:
        started = self._clock.monotonic()
        listing = self._watcher.scan()
        if not self._directory.is_current():
            raise BucketGone("replaced by another directory")
        found = compare(self._catalogue.entries, listing)
        for key in sorted(found.new) + found.changed + found.missing:
            if key not in self._waiting:
                self._backlog[key] = hints.FOUND
        self._origins.update(found.renamed)
        self._report(listing)
        ended = self._clock.monotonic()
        pause = max(self._follow.scan_seconds, (ended - started) / _SCAN_SHARE)
        self._next_scan = ended + pause
        return listing, found

    def _report(self, listing: Listing) -> None:
        """Log what cannot be delivered, when it is not what was logged last."""
        oddities = (listing.ignored, listing.unreadable)
        if oddities == self._oddities:
            return
        self._oddities = oddities
        if listing.ignored:
            counts = ", ".join(
                f"{name}: {count}" for name, count in sorted(listing.ignored.items())
            )
            self._log.warning("ignored what is not a regular file (%s)", counts)
        for directory in listing.unreadable[:10]:
            self._log.warning("cannot read directory %s", encode_key(directory))

    def _take(self) -> dict[bytes, int]:
        """The next files to look at: notified ones first, yet never all of them."""
        taken: dict[bytes, int] = {}
        for waiting, limit in ((self._urgent, _URGENT), (self._backlog, _BATCH)):
            while waiting and len(taken) < limit:
                key = next(iter(waiting))
                taken[key] = taken.get(key, 0) | waiting.pop(key)
        return taken
