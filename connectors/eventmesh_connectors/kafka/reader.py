"""Reads one partition, and finds where to begin (semantics 3.1, 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from logging import Logger

from eventmesh.connectors import SourceContext
from eventmesh.errors import PositionExpired, SourceUnavailable
from eventmesh.records import Record

from .assignment import Assignment
from .client import GroupConsumer, KafkaError, OffsetOutOfRangeError, Partition
from .member import Member
from .options import KafkaOptions
from .problems import explain, explain_silence
from .records import RecordWriter

#: how long a read waits for records
_READ_SECONDS = 1.0
#: brokers answer every request for records within a second or so, with or without any
_SILENCE_SECONDS = 10.0


class PartitionReader:
    """One partition under one assignment."""

    def __init__(
        self,
        partition: Partition,
        member: Member,
        assignment: Assignment,
        options: KafkaOptions,
        context: SourceContext,
    ) -> None:
        self._partition = partition
        self._member = member
        self._assignment = assignment
        self._brokers = options.brokers
        self._clock = context.clock
        self._writer = RecordWriter(partition)
        self._opened_at = context.clock.now()

    async def read(self, limit: int) -> Sequence[Record]:
        """The next records; [] after a second without any.

        Raises PositionExpired, and SourceUnavailable: when brokers are silent, when the membership
        broke, and when the partition was taken away.
        """
        if not self._assignment.is_live:
            await self._clock.sleep(_READ_SECONDS)
            raise SourceUnavailable(f"{self._writer.shard} was taken away", retry_after_seconds=0)
        consumer = self._member.consumer
        try:
            messages = await consumer.read(self._partition, limit, _READ_SECONDS)
        except OffsetOutOfRangeError as error:
            self._assignment.unreadable |= error.args[0]
            raise PositionExpired(f"the brokers do not keep it any more: {error}") from error
        except UnicodeDecodeError as error:
            raise SourceUnavailable(
                f"{self._writer.shard}: a record cannot be read, since a header's name is not "
                f"UTF-8: {error} (hint: commit an offset behind it with Kafka's own tools)"
            ) from error
        except KafkaError as error:
            self._member.fail(error)
            raise SourceUnavailable(f"{self._writer.shard}: {explain(error)}") from error
        if not messages:
            self._check_silence(consumer)
            return ()
        return self._writer.write(messages, self._clock.now())

    async def close(self) -> None:
        """Nothing to release: the consumer is the member's."""

    def _check_silence(self, consumer: GroupConsumer) -> None:
        answered_at = consumer.answered_at(self._partition) or self._opened_at
        silent_seconds = self._clock.now() - max(answered_at, self._opened_at)
        if self._assignment.is_live and silent_seconds > _SILENCE_SECONDS:
            raise SourceUnavailable(explain_silence(self._brokers, _SILENCE_SECONDS))


async def find_start(
    consumer: GroupConsumer,
    partition: Partition,
    options: KafkaOptions,
    unreadable: int | None,
    log: Logger,
) -> int:
    """The offset to begin at: the group's own wins over the starting position (semantics 6.2),
    unless a fetch showed it to be `unreadable`.

    Waits for brokers. Raises KafkaError.
    """
    committed = await consumer.committed(partition)
    if committed is not None and committed != unreadable:
        return committed
    start = await _starting_offset(consumer, partition, options)
    if committed is not None:
        log.error(
            "%s-%d: the brokers do not keep the group's offset %d any more; records were LOST. "
            "Reading goes on at %d, by the starting position",
            *partition, committed, start,
        )  # fmt: skip
    elif options.starting_position == "latest":
        # else a restart before the first record is finished would skip what came meanwhile
        await consumer.commit({partition: start})
    return start


async def _starting_offset(
    consumer: GroupConsumer, partition: Partition, options: KafkaOptions
) -> int:
    if options.starting_position == "trim_horizon":
        return await consumer.first(partition)
    at = None
    if options.starting_position_timestamp is not None:
        at = await consumer.offset_at(partition, options.starting_position_timestamp)
    return await consumer.end(partition) if at is None else at
