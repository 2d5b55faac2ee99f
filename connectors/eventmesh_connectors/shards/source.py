"""The stream source of sharded AWS streams: follows the shard tree, opens shards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from eventmesh.connectors import SourceContext
from eventmesh.errors import PositionExpired, SourceUnavailable
from eventmesh.pulling import StreamOptions
from eventmesh.records import Record
from eventmesh_connectors.lineage import Ancestry, is_before
from eventmesh_connectors.shards.api import (
    Listing,
    ShardApi,
    ShardGone,
    Start,
    Throttled,
    start_since,
)
from eventmesh_connectors.shards.events import join_records
from eventmesh_connectors.shards.reader import Pace, Place, SequenceReader

#: how often the shards are listed
LISTING_SECONDS = 5.0
_THROTTLED_SECONDS = 2.0
#: a position that is a time: where a shard of which nothing was read yet starts
_TIME_MARK = "@"


class ShardedSource:
    """Built from the stream's API; subclasses add `fields` and `batch_info`.

    Positions are sequence numbers, or `@` and a time in epoch seconds.
    """

    #: how it comes that the stream is another one, and what to do next
    remedy = (
        "It was deleted and created again, and checkpoints of the old one do not count for the new"
        " one. Name the stream by its ARN instead of its name, or the other way round, and start"
        " again: the mapping then has no checkpoints"
    )

    def __init__(
        self, api: ShardApi, options: StreamOptions, context: SourceContext, pace: Pace
    ) -> None:
        self._api = api
        self._options = options
        self._context = context
        self._pace = pace
        self._ancestry = Ancestry()
        self._stream: Listing | None = None
        self._replaced = ""
        #: by the service's clock and by ours
        self._first_listed = (0.0, 0.0)
        self._list_again = asyncio.Event()
        #: where shards began that had no position
        self._starts: dict[str, Start] = {}

    @property
    def arn(self) -> str:
        """The stream's ARN; "" before the first listing."""
        return self._stream.arn if self._stream else ""

    async def shards(self) -> AsyncIterator[Mapping[str, Sequence[str]]]:
        """The listed shards, again whenever they or their parents change."""
        known: Mapping[str, Sequence[str]] | None = None
        while True:
            self._list_again.clear()
            family = await self._list()
            if family != known:
                known = family
                yield dict(family)
            await self._context.clock.wait(self._list_again, LISTING_SECONDS)

    async def open_shard(self, shard: str, position: str | None) -> SequenceReader:
        """A reader behind `position`. Raises SourceUnavailable, PositionExpired."""
        if self._stream is None:
            await self._list()
        self.check()
        start = self._resume(shard, position) if position else self._begin(shard)
        place = Place(shard, start)
        reader = SequenceReader(self._api, place, self._context.clock, self._pace, self)
        try:
            found_at = await reader.open()
        except Throttled as error:
            raise SourceUnavailable(str(error), _THROTTLED_SECONDS) from error
        except ShardGone as error:
            await self.confirm_gone(shard)
            if position:
                raise PositionExpired(f"shard {shard} has no records any more") from error
        else:
            if start.kind == "LATEST":
                since = self._starts[shard] = start_since(found_at)
                reader.start_position = f"{_TIME_MARK}{since.at}"
        return reader

    def envelope(self, records: Sequence[Record]) -> bytes:
        return join_records(records)

    async def close(self) -> None:
        await self._api.close()

    # what readers ask and tell

    def check(self) -> None:
        """Raise SourceUnavailable when the stream was replaced by another of its name."""
        if self._replaced:
            raise SourceUnavailable(self._replaced)

    def ended(self, shard: str) -> None:
        """Look for the children of `shard` now."""
        self._list_again.set()

    async def confirm_gone(self, shard: str) -> None:
        """Return when the stream is the same and lists no such shard. Raises SourceUnavailable."""
        await self._list()
        self._list_again.set()
        if self._ancestry.listed(shard) is not None:
            raise SourceUnavailable(f"shard {shard} is listed, but cannot be read now")

    async def _list(self) -> Mapping[str, Sequence[str]]:
        self.check()
        try:
            listing = await self._api.list_shards()
        except Throttled as error:
            raise SourceUnavailable(str(error), _THROTTLED_SECONDS) from error
        self._compare(listing)
        if self._stream is None:
            self._first_listed = listing.listed_at, self._context.clock.monotonic()
        self._stream = listing
        return self._ancestry.observe(listing.shards)

    def _compare(self, listing: Listing) -> None:
        """Stop for good when the stream is another one of the same name: its shards have the same
        names too."""
        known = self._stream
        if known and (known.arn, known.created) != (listing.arn, listing.created):
            self._replaced = self._another("")
        self.check()

    def _another(self, finding: str) -> str:
        return f"{finding}{self._options.resource} is another stream than before. {self.remedy}"

    def _resume(self, shard: str, position: str) -> Start:
        self._ancestry.resumed(shard)
        if position.startswith(_TIME_MARK):
            return Start("AT_TIMESTAMP", at=_time_of(position))
        listed = self._ancestry.listed(shard)
        if listed and is_before(position, listed.first):
            raise SourceUnavailable(
                self._another(f"the checkpoint {position} of {shard} is older than the shard: ")
            )
        return Start("AFTER_SEQUENCE_NUMBER", position)

    def _begin(self, shard: str) -> Start:
        """Where a shard without a position starts, also when it is opened once more."""
        if shard in self._starts:
            return self._starts[shard]
        if self._ancestry.begins_at_its_beginning(shard):
            return Start("TRIM_HORIZON")
        self._ancestry.placed(shard)
        options = self._options
        if options.starting_position == "latest":
            return self._latest()
        if options.starting_position == "at_timestamp":
            return Start("AT_TIMESTAMP", at=options.starting_position_timestamp or 0.0)
        return Start("TRIM_HORIZON")

    def _latest(self) -> Start:
        """Now; for a shard that was not opened at once, when another engine held it or its parents
        took long, the time at which it would have been."""
        listed_at, monotonic = self._first_listed
        if self._context.clock.monotonic() - monotonic < LISTING_SECONDS:
            return Start("LATEST")
        return start_since(listed_at)


def _time_of(position: str) -> float:
    try:
        return float(position.removeprefix(_TIME_MARK))
    except ValueError:
        raise PositionExpired(f"{position!r} is not a position of this stream") from None
