"""The pull half of the connector contract: queues, whose records are settled one by one, and
streams, whose shards
have a position each.

A source only fetches and settles. The engine filters, batches, retries, bisects, checkpoints.
Building a source opens
nothing: `receive` and `shards` connect when first called. Three signals go up: SourceUnavailable
(again later), SourceExhausted (a
finite source is done), PositionExpired (apply the starting position again). Any other exception is
a bug in the
connector and stops its mapping alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import AliasChoices, Field, model_validator

from eventmesh.connectors import Options, SourceContext
from eventmesh.records import Outcome, Record
from eventmesh.units import Duration

StartingPosition = Literal["trim_horizon", "latest", "at_timestamp"]


class PullOptions(Options):
    """Settings every event source mapping has (semantics 3.1). AWS's defaults; bisect, retries,
    age and partial
    responses work for every source, also where AWS has them for streams only."""

    batch_size: int = Field(default=100, ge=1, le=10_000, description="Most records of one batch.")
    maximum_batching_window: Annotated[Duration, Field(ge=0, le=300)] = Field(
        default=0.0,
        validation_alias=AliasChoices("maximum_batching_window", "batch_window"),
        description="How long to gather records for a batch, 0 to 300s.",
    )
    filters: tuple[dict[str, Any], ...] = Field(
        default=(), max_length=10, description="Event patterns; a record passes when one matches."
    )
    report_batch_item_failures: bool = Field(
        default=False, description="The handler's batchItemFailures name the records that failed."
    )
    bisect_batch_on_function_error: bool = Field(
        default=False,
        validation_alias=AliasChoices("bisect_batch_on_function_error", "bisect_on_error"),
        description="Halve a failing batch until the failing record is alone.",
    )
    maximum_retry_attempts: int = Field(
        default=-1,
        ge=-1,
        le=10_000,
        validation_alias=AliasChoices("maximum_retry_attempts", "max_retries"),
        description="Retries of a failing batch before it is given up; -1 is for ever.",
    )
    maximum_record_age: Duration | Literal[-1] = Field(
        default=-1,
        validation_alias=AliasChoices("maximum_record_age", "max_record_age"),
        description="Records older than this are given up, 60s to 7d; -1 keeps them for ever.",
    )


class QueueOptions(PullOptions):
    """Settings of a mapping whose source is a queue."""

    maximum_concurrency: int | None = Field(
        default=None, ge=1, le=1000, description="Most batches in flight at a time."
    )


class StreamOptions(PullOptions):
    """Settings of a mapping whose source is a stream."""

    parallelization_factor: int = Field(
        default=1, ge=1, le=10, description="Batches in flight per shard; order holds per key."
    )
    tumbling_window: Annotated[Duration, Field(ge=0, le=900)] = Field(
        default=0.0,
        validation_alias=AliasChoices("tumbling_window", "tumbling_window_in_seconds"),
        description="Aggregate over windows of this length, with state; 0 is off.",
    )
    starting_position: StartingPosition = Field(
        default="trim_horizon", description="Where a shard without a checkpoint begins."
    )
    starting_position_timestamp: float | None = Field(
        default=None, description="Epoch seconds, with at_timestamp."
    )

    @model_validator(mode="after")
    def _consistent(self) -> StreamOptions:
        stamped = self.starting_position_timestamp is not None
        if stamped != (self.starting_position == "at_timestamp"):
            raise ValueError(
                "starting_position_timestamp goes with starting_position: at_timestamp"
            )
        if self.tumbling_window and self.parallelization_factor > 1:
            raise ValueError("a tumbling window needs parallelization_factor: 1")
        return self


class PullSource(Protocol):
    """What queues and streams have in common. Called from one event loop; only `close` may wait."""

    def envelope(self, records: Sequence[Record]) -> bytes:
        """The event's JSON for these records (at least one), joined from their bytes: one JSON
        object."""
        ...

    def fields(self, record: Record) -> Mapping[str, Any]:
        """What filter patterns are matched against (semantics 3.6): the record with its payload
        decoded.

        Called once a record, only where there are filters. The payload that is no JSON stays text,
        undecodable payloads are left out.
        """
        ...

    def batch_info(self, records: Sequence[Record]) -> Mapping[str, Any]:
        """The source's part of an on-failure record (semantics 4.7, 6.3): `{"KinesisBatchInfo":
        {...}}`."""
        ...

    async def close(self) -> None:
        """Release connections. Called once; records not settled go back to the source by
        themselves."""
        ...


@runtime_checkable
class QueueSource(PullSource, Protocol):
    """A queue: every record is settled."""

    async def receive(self, limit: int) -> Sequence[Record]:
        """Up to `limit` records (`limit` >= 1); waits until there is at least one, or returns []
        after a while.

        Several calls may run at once. Cancelled at stop: what it was about to return is given back
        to the queue.
        Raises SourceUnavailable, SourceExhausted.
        """
        ...

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Remove records that succeeded, give back those that did not. Each record is settled once.

        Returns once the queue has confirmed. May run concurrently. Raises SourceUnavailable: then
        the engine settles again.
        """
        ...


@runtime_checkable
class Extendable(Protocol):
    """Optional for queues that hide records for a limited time."""

    #: seconds a received record stays hidden by itself
    visibility_seconds: float

    async def extend(self, records: Sequence[Record], seconds: float) -> None:
        """Keep records hidden for `seconds` from now while the handler works. Failures are only
        logged."""
        ...


class ShardReader(Protocol):
    """Reads one shard in order, from where it was opened."""

    async def read(self, limit: int) -> Sequence[Record]:
        """The next records in order, at most `limit`; may be empty after waiting a while; never
        re-reads.

        Not called concurrently; may be cancelled, and is then not called again. Raises
        SourceUnavailable,
        SourceExhausted (the shard is closed and fully read), PositionExpired.
        """
        ...

    async def close(self) -> None:
        """Release what reading opened. Called once."""
        ...


@runtime_checkable
class HasStart(Protocol):
    """Optional for shard readers opened without a position: where they begin, as a position.

    The engine stores it, so that `latest` means the same moment after a restart before the first
    record.
    """

    #: a position that `open_shard` takes; "" when the starting position says it all
    start_position: str


@runtime_checkable
class StreamSource(PullSource, Protocol):
    """A stream: ordered shards with a position each."""

    def shards(self) -> AsyncIterator[Mapping[str, Sequence[str]]]:
        """The shards to read now, each with its parents' ids; again at every change, for ever.

        A shard is read after its parents are finished or gone. What left the set is drained and
        released first, before the
        iterator is asked for the next set (a rebalance waits for that). Raises SourceUnavailable.
        """
        ...

    async def open_shard(self, shard: str, position: str | None) -> ShardReader:
        """A reader after `position` (a record's), or from the starting position when None.

        A shard with parents that were read starts at its beginning. Raises SourceUnavailable,
        PositionExpired.
        """
        ...


@runtime_checkable
class KeepsCheckpoints(Protocol):
    """Optional for streams whose broker holds the positions (Kafka consumer groups)."""

    async def commit(self, positions: Mapping[str, str]) -> None:
        """Store, per shard, the position of the last finished record. Raises SourceUnavailable.

        Shards that are not this reader's any more are ignored."""
        ...


class PullSourceFactory(Protocol):
    def __call__(self, options: Any, context: SourceContext) -> QueueSource | StreamSource: ...
