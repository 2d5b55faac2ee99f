"""The source: topics as a stream of shards, positions kept by the brokers (semantics 6)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from eventmesh.connectors import SourceContext
from eventmesh.errors import SourceUnavailable
from eventmesh.records import Record

from .assignment import Assignment
from .client import GroupConsumer, KafkaError, Partition
from .commits import Commits
from .member import REBALANCE_MARGIN_SECONDS, Member
from .options import KafkaOptions
from .problems import explain, explain_missing, explain_silence, explain_unreachable
from .quiet import quieten
from .reader import PartitionReader, find_start
from .records import EnvelopeWriter, read_fields
from .security import build_client_settings

#: connecting, and looking up topics and offsets
_ANSWER_SECONDS = 30.0
_LEAVE_SECONDS = 5.0


class KafkaSource:
    """A stream of one shard a partition, named `topic-partition`. Positions are offsets.

    One consumer reads all partitions. It keeps, besides what the engine reads ahead, at most
    `max_partition_fetch_bytes` (or one record batch, if that is larger) a partition.
    """

    #: semantics 3.6: where value is no JSON, or a pattern asks for text, the rest of it counts
    filter_payload = ("value", "ignore")

    def __init__(self, options: KafkaOptions, context: SourceContext) -> None:
        self._options = options
        self._context = context
        self._group = options.group or default_group(context.mapping)
        self._envelope = EnvelopeWriter(options.brokers, options.event_source_arn)
        self._member: Member | None = None
        self._commits: Commits | None = None
        #: what the engine was shown last
        self._shown: Assignment | None = None

    async def shards(self) -> AsyncIterator[Mapping[str, Sequence[str]]]:
        """The partitions that the group gives us; none while it rebalances.

        Asking for the next set says that what left the last one is drained and committed: then
        the rebalance goes on. Raises SourceUnavailable.
        """
        if self._shown is not None:
            yield {}
            self._release()
        member = await self._join()
        while True:
            shown = self._shown
            if shown is not None and not (shown is member.current and shown.is_live):
                yield {}
                self._release()
            elif member.failure is not None:
                raise SourceUnavailable(explain(member.failure))
            elif shown is None and member.current is not None and member.current.is_live:
                self._show(member, member.current)
                yield member.current.shards
            else:
                await member.changed.wait()
                member.changed.clear()

    async def open_shard(self, shard: str, position: str | None) -> PartitionReader:
        """A reader after `position`; without one from the group's offset, and where there is none
        from the starting position. Raises SourceUnavailable."""
        member = self._member
        current = member.current if member is not None else None
        if member is None or current is None or not current.is_live:
            raise SourceUnavailable(f"{shard} is being handed over", retry_after_seconds=1.0)
        partition = current.named.get(shard)
        if partition is None:
            raise SourceUnavailable(f"{shard} belongs to another member", retry_after_seconds=1.0)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                if position is not None:
                    offset = int(position) + 1
                else:
                    offset = await self._find_start(member.consumer, partition, current)
            if current.is_live:
                member.consumer.seek(partition, offset)
        except TimeoutError:
            raise self._silence(_ANSWER_SECONDS) from None
        except KafkaError as error:
            raise SourceUnavailable(f"{shard}: {explain(error)}") from error
        current.opened.add(partition)
        return PartitionReader(partition, member, current, self._options, self._context)

    async def commit(self, positions: Mapping[str, str]) -> None:
        """Store, per shard, the offset after that of the last finished record.

        Synchronous: returns once a broker has it. Shards that are not ours any more are left out.
        """
        if self._commits is not None:
            await self._commits.commit(positions)

    def envelope(self, records: Sequence[Record]) -> bytes:
        """The event: `records` by shard."""
        return self._envelope.join(records)

    def fields(self, record: Record) -> Mapping[str, Any]:
        """The record with key, value and headers decoded."""
        return read_fields(record.event)

    def batch_info(self, records: Sequence[Record]) -> Mapping[str, Any]:
        """`KafkaBatchInfo`."""
        return self._envelope.describe(records)

    async def close(self) -> None:
        """Leave the group and close connections."""
        member, self._member = self._member, None
        if member is not None:
            await member.leave(_LEAVE_SECONDS)

    async def _join(self) -> Member:
        """Connect anew and join the group."""
        await self.close()
        quieten()
        consumer = GroupConsumer(
            await self._build_settings(),
            self._group,
            session_seconds=self._options.session_timeout,
            rebalance_seconds=self._options.rebalance_timeout + REBALANCE_MARGIN_SECONDS,
        )
        context = self._context
        member = Member(consumer, self._options.rebalance_timeout, context.clock, context.log)
        self._member = member
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await consumer.start()
                existing = await consumer.topics()
        except TimeoutError:
            raise self._silence(_ANSWER_SECONDS) from None
        except (KafkaError, OSError) as error:
            raise SourceUnavailable(explain_unreachable(self._options.brokers, error)) from error
        if missing := set(self._options.topics) - existing:
            raise SourceUnavailable(explain_missing(missing, existing))
        member.join(self._options.topics)
        return member

    async def _build_settings(self) -> dict[str, Any]:
        options = self._options
        try:
            settings = await asyncio.to_thread(build_client_settings, options)
        except (OSError, ssl.SSLError) as error:
            raise SourceUnavailable(f"tls: a certificate cannot be read: {error}") from error
        return settings | {
            "client_id": f"eventmesh-{self._context.mapping}",
            "isolation_level": options.isolation_level,
            "fetch_max_bytes": options.fetch_max_bytes,
            "max_partition_fetch_bytes": options.max_partition_fetch_bytes,
        }

    async def _find_start(
        self, consumer: GroupConsumer, partition: Partition, assignment: Assignment
    ) -> int:
        unreadable = assignment.unreadable.get(partition)
        return await find_start(consumer, partition, self._options, unreadable, self._context.log)

    def _show(self, member: Member, assignment: Assignment) -> None:
        context = self._context
        assignment.shown, self._shown = True, assignment
        self._commits = Commits(member.consumer, assignment, context.clock, context.log)

    def _release(self) -> None:
        if self._shown is not None:
            self._shown.released.set()
            self._shown = None

    def _silence(self, seconds: float) -> SourceUnavailable:
        return SourceUnavailable(explain_silence(self._options.brokers, seconds))


def default_group(mapping: str) -> str:
    """The group of a mapping that names none: the same at every start, and its own."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", mapping).strip("-")[:100]
    digest = hashlib.sha256(mapping.encode()).hexdigest()[:8]
    return f"eventmesh-{readable}-{digest}"
