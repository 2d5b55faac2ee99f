"""The client library, typed: the only module that knows aiokafka."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)

__all__ = [
    "CommitFailedError",
    "GroupConsumer",
    "IllegalStateError",
    "KafkaConnectionError",
    "KafkaError",
    "Message",
    "OffsetOutOfRangeError",
    "Partition",
    "Producer",
    "TopicAuthorizationFailedError",
]

#: topic and number
Partition = tuple[str, int]
#: given the partitions that are taken away or given
Rebalanced = Callable[[frozenset[Partition]], Awaitable[None]]

#: the most the client may be idle between reads; the engine decides how long a handler runs
_NEVER_MILLISECONDS = 2**31 - 1
#: one request at a time goes to a broker: a partition that has run dry waits for that of the others
_LONG_POLL_MILLISECONDS = 100
_METADATA_MILLISECONDS = 60_000
_REQUEST_MILLISECONDS = 30_000
#: no partition has this number; waiting for it is waiting for errors
_NO_PARTITION = -1


class Message(Protocol):
    """One record as the client library gives it."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int | None:
        """Milliseconds; -1 or None when it was written without."""
        ...

    @property
    def timestamp_type(self) -> int | None:
        """0: set by the producer, 1: by the broker."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Hands rebalances on; the client waits for both before it goes on."""

    def __init__(self, revoked: Rebalanced, assigned: Rebalanced) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        await self._revoked(frozenset(revoked))

    async def on_partitions_assigned(self, assigned: set[Any]) -> None:
        await self._assigned(frozenset(assigned))


class GroupConsumer:
    """A member of a consumer group. Every method that waits may be cancelled and raises
    KafkaError; several may run at once."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        group: str,
        *,
        session_seconds: float,
        rebalance_seconds: float,
    ) -> None:
        self._consumer = AIOKafkaConsumer(
            **settings,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=int(session_seconds * 1000),
            heartbeat_interval_ms=int(min(3.0, session_seconds / 3) * 1000),
            rebalance_timeout_ms=int(rebalance_seconds * 1000),
            max_poll_interval_ms=_NEVER_MILLISECONDS,
            fetch_max_wait_ms=_LONG_POLL_MILLISECONDS,
            metadata_max_age_ms=_METADATA_MILLISECONDS,
            request_timeout_ms=_REQUEST_MILLISECONDS,
        )
        self._client = self._consumer._client
        self._started = False

    @property
    def is_member(self) -> bool:
        """Whether the group knows us; False once it has thrown us out."""
        coordinator = self._consumer._coordinator
        return coordinator is not None and coordinator.generation >= 0

    async def start(self) -> None:
        """Connect to a broker."""
        self._started = True
        await self._consumer.start()

    async def stop(self, seconds: float) -> None:
        """Leave the group and close connections; after `seconds` close them without leaving."""
        if not self._started:
            self._consumer._closed = True
            await self._client.close()
            return
        stopping = asyncio.ensure_future(self._consumer.stop())
        try:
            done, _ = await asyncio.wait([stopping], timeout=seconds)
            if not done:
                # a member that waits for a rebalance to end can be stopped only like this
                await self._client.close()
                await asyncio.wait([stopping], timeout=seconds)
        finally:
            stopping.cancel()
            await asyncio.wait([stopping])

    def subscribe(self, topics: Sequence[str], revoked: Rebalanced, assigned: Rebalanced) -> None:
        """Join the group, in the background."""
        self._consumer.subscribe(list(topics), listener=_Listener(revoked, assigned))

    async def topics(self) -> frozenset[str]:
        """All topics there are."""
        return frozenset(await self._consumer.topics())

    async def committed(self, partition: Partition) -> int | None:
        """The group's offset: of the next record to read."""
        offset: int | None = await self._consumer.committed(TopicPartition(*partition))
        return offset

    async def first(self, partition: Partition) -> int:
        """The first offset there is."""
        one = TopicPartition(*partition)
        return int((await self._consumer.beginning_offsets([one]))[one])

    async def end(self, partition: Partition) -> int:
        """The next offset that will be written."""
        one = TopicPartition(*partition)
        return int((await self._consumer.end_offsets([one]))[one])

    async def offset_at(self, partition: Partition, epoch_seconds: float) -> int | None:
        """The first record of that time or later."""
        one = TopicPartition(*partition)
        found = (await self._consumer.offsets_for_times({one: int(epoch_seconds * 1000)}))[one]
        return None if found is None else int(found.offset)

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from `offset`. Raises IllegalStateError when the partition is not ours."""
        self._consumer.seek(TopicPartition(*partition), offset)

    async def read(self, partition: Partition, limit: int, seconds: float) -> Sequence[Message]:
        """The next records; [] when none came in that time. Cancelling loses none."""
        one = TopicPartition(*partition)
        found: Mapping[Any, Sequence[Message]] = await self._consumer.getmany(
            one, timeout_ms=int(seconds * 1000), max_records=limit
        )
        return found.get(one, ())

    async def watch(self, topic: str) -> None:
        """Wait until the membership breaks, which raises KafkaError."""
        nothing = TopicPartition(topic, _NO_PARTITION)
        while True:
            await self._consumer.getmany(nothing, timeout_ms=60_000)

    def answered_at(self, partition: Partition) -> float | None:
        """When (epoch seconds) a broker last answered a request for the partition's records."""
        one = TopicPartition(*partition)
        if one not in self._consumer.assignment():
            return None
        milliseconds = self._consumer.last_poll_timestamp(one)
        return None if milliseconds is None else milliseconds / 1000

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Store the group's offsets. Tries again by itself for as long as brokers are away.

        Raises CommitFailedError or IllegalStateError when the partitions are not ours any more.
        """
        await self._consumer.commit({TopicPartition(*one): at for one, at in offsets.items()})


class Producer:
    """Writes records that are acknowledged by all replicas."""

    def __init__(
        self, settings: Mapping[str, Any], *, maximum_bytes: int, idempotent: bool = True
    ) -> None:
        self._producer = AIOKafkaProducer(
            **settings,
            acks="all",
            enable_idempotence=idempotent,
            max_request_size=maximum_bytes,
            request_timeout_ms=_REQUEST_MILLISECONDS,
        )

    async def start(self) -> None:
        """Connect to a broker."""
        await self._producer.start()

    async def send(self, topic: str, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
        """Write one record; returns once all replicas have it."""
        await self._producer.send_and_wait(topic, value, headers=list(headers))

    async def stop(self) -> None:
        """Close connections."""
        await self._producer.stop()
