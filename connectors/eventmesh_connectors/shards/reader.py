"""Reads one shard page by page: paced, patient with throttling, unharmed by iterators that
expire."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from eventmesh.clock import Clock
from eventmesh.errors import SourceExhausted, SourceUnavailable
from eventmesh.records import Record
from eventmesh_connectors.lineage import is_before
from eventmesh_connectors.shards.api import (
    Iterator,
    IteratorExpired,
    Page,
    ShardApi,
    ShardGone,
    Start,
    Throttled,
    start_since,
)

_LONGEST_BACKOFF_SECONDS = 30.0
#: AWS answers five reads a second of a shard
_READS_PER_SECOND = 5
_MOST_RENEWALS = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """How a shard is read: `interval_seconds` apart once caught up, so many records at a time."""

    interval_seconds: float
    records_per_read: int


@dataclass(frozen=True, slots=True)
class Place:
    """A shard, and where in it reading starts."""

    shard: str
    start: Start


class Watch(Protocol):
    """Whom a reader asks about its stream, and tells that its shard ended."""

    def check(self) -> None:
        """Raise SourceUnavailable when the stream is not the one that was opened."""
        ...

    def ended(self, shard: str) -> None:
        """The shard is closed and read to its end: its children are next."""
        ...

    async def confirm_gone(self, shard: str) -> None:
        """Return when the stream is still there, without the shard. Raises SourceUnavailable."""
        ...


def backoff(failures: int, interval_seconds: float, random: Random) -> float:
    """Seconds to wait after `failures` throttled calls in a row: doubling from the interval up to
    half a minute, less up to half of it at random."""
    longest = min(_LONGEST_BACKOFF_SECONDS, interval_seconds * 2.0 ** min(failures, 16))
    return longest * random.uniform(0.5, 1.0)


class SequenceReader:
    """A `ShardReader`. A read that fails or is throttled leaves it where it was.

    Records are read ahead, a page at a time, whatever the batch size is: AWS limits the reads of a
    shard.
    """

    def __init__(
        self,
        api: ShardApi,
        place: Place,
        clock: Clock,
        pace: Pace,
        watch: Watch,
    ) -> None:
        self._api = api
        self._shard = place.shard
        self._start = place.start
        self._clock = clock
        self._pace = pace
        self._watch = watch
        self._random = Random()
        self._unread: deque[Record] = deque()
        self._token: str | None = None
        #: what to keep as the shard's checkpoint until a record is handled; "" where the starting
        #: position finds the same place again
        self.start_position = ""
        self._last_read = ""
        #: set once an iterator was found by a time, not for those found at the latest record
        self._not_before: float | None = None
        self._due = float("-inf")
        self._throttles = 0
        self._renewals = 0

    async def open(self) -> float:
        """Find the start; returns when that was, by the service's clock. Raises as
        `ShardApi.find_iterator` does."""
        iterator = await self._find(self._start)
        if self._start.kind == "LATEST":
            # latest is now: an iterator that replaces this one must not skip what came since
            self._start = start_since(iterator.found_at)
        elif self._start.kind == "AFTER_SEQUENCE_NUMBER":
            self._last_read = self._start.sequence_number
        return iterator.found_at

    async def read(self, limit: int) -> Sequence[Record]:
        """The next records. Waits for the poll interval, or until a throttled call is due; then
        one call, which may find nothing."""
        if not self._unread:
            await self._fill()
        if len(self._unread) <= limit:
            records: Sequence[Record] = list(self._unread)
            self._unread.clear()
            return records
        return [self._unread.popleft() for _ in range(limit)]

    async def close(self) -> None:
        self._unread.clear()

    async def _fill(self) -> None:
        if self._token is None:
            self._watch.ended(self._shard)
            raise SourceExhausted(f"shard {self._shard} is closed and read to its end")
        wait = self._due - self._clock.monotonic()
        if wait > 0:
            await self._clock.sleep(wait)
        self._watch.check()
        try:
            page = await self._get(self._token)
        except Throttled:
            self._slow_down()
        except ShardGone:
            # what was left of it was trimmed while it was read
            await self._watch.confirm_gone(self._shard)
            self._token = None
        else:
            if page is not None:
                self._take(page)

    async def _get(self, token: str) -> Page | None:
        """The next page; None when there is a new iterator to get it with."""
        try:
            return await self._api.get_records(self._shard, token, self._pace.records_per_read)
        except IteratorExpired as error:
            await self._renew(error)
            return None

    def _take(self, page: Page) -> None:
        self._unread.extend(self._new(page.records))
        if page.records:
            self._last_read = page.records[-1].position
        self._token = page.next_token
        self._throttles = self._renewals = 0
        self._due = self._clock.monotonic() + self._pause(page)

    def _new(self, records: Sequence[Record]) -> Sequence[Record]:
        """Without what was read before, and what is before the start: services find a time by
        whole seconds."""
        if records and self._last_read and not is_before(self._last_read, records[0].position):
            records = [r for r in records if not _is_known(r, self._last_read)]
        if self._not_before is not None:
            records = [r for r in records if r.arrived_at >= self._not_before]
        return records

    def _pause(self, page: Page) -> float:
        if not page.is_behind:
            return self._pace.interval_seconds
        if page.records:
            return 0.0
        return min(self._pace.interval_seconds, 1 / _READS_PER_SECOND)

    def _slow_down(self) -> None:
        self._throttles += 1
        wait = backoff(self._throttles, self._pace.interval_seconds, self._random)
        self._due = self._clock.monotonic() + wait

    async def _renew(self, error: IteratorExpired) -> None:
        """A new iterator behind the last record that was read, which need not be handled yet."""
        self._renewals += 1
        if self._renewals > _MOST_RENEWALS:
            self._renewals = 0
            raise SourceUnavailable(
                f"shard {self._shard}: every iterator is refused ({error}); check the endpoint"
            )
        start = self._start
        if self._last_read:
            start = Start("AFTER_SEQUENCE_NUMBER", self._last_read)
        await self._find(start)

    async def _find(self, start: Start) -> Iterator:
        iterator = await self._api.find_iterator(self._shard, start)
        if start.kind == "AT_TIMESTAMP":
            self._not_before = start.at
        self._token = iterator.token
        return iterator


def _is_known(record: Record, last_read: str) -> bool:
    return record.position == last_read or is_before(record.position, last_read)
