"""Membership of a consumer group: rebalances wait until what runs is finished and committed."""

from __future__ import annotations

import asyncio
from logging import Logger

from eventmesh.clock import Clock

from .assignment import Assignment
from .client import GroupConsumer, KafkaError, Partition

#: beyond the time to drain: for the last commits, and for members that hear of it late
REBALANCE_MARGIN_SECONDS = 10.0


class Member:
    """We in the group. `current` changes at every rebalance; `changed` says so.

    The protocol is the eager one: a rebalance takes all partitions from all members first.
    """

    def __init__(
        self, consumer: GroupConsumer, drain_seconds: float, clock: Clock, log: Logger
    ) -> None:
        self.consumer = consumer
        self.current: Assignment | None = None
        self.failure: KafkaError | None = None
        self.changed = asyncio.Event()
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._log = log
        self._watcher: asyncio.Task[None] | None = None

    def join(self, topics: tuple[str, ...]) -> None:
        """Join the group, in the background."""
        self.consumer.subscribe(topics, self.revoked, self.assigned)
        self._watcher = asyncio.create_task(self._watch(topics[0]))

    async def leave(self, seconds: float) -> None:
        """Leave the group, so that others get our partitions at once."""
        self._end()
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        await self.consumer.stop(seconds)

    def fail(self, error: KafkaError) -> None:
        """The membership is broken for good; nothing is committed any more."""
        if self.failure is None:
            self.failure = error
            self._end()

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """The group rebalances: wait, not for ever, until the engine has finished what runs.

        Called by the client, which goes on sending heartbeats meanwhile. A member that was thrown
        out does not wait: its partitions are others' already.
        """
        current = self.current
        if current is None or current.ended.is_set():
            return
        current.revoked = True
        self.changed.set()
        if current.shown and partitions and self.consumer.is_member:
            await self._drain(current)
        elif partitions and not self.consumer.is_member:
            self._log.warning("thrown out of the consumer group; what runs will be read again")
        self._end()

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """The rebalance is over."""
        self._end()
        self.current = Assignment(partitions)
        self.changed.set()

    async def _drain(self, current: Assignment) -> None:
        """Until it is released, ended from elsewhere, or the time is over."""
        waiting = [
            asyncio.create_task(self._clock.wait(current.released, self._drain_seconds)),
            asyncio.create_task(current.ended.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
        if not current.released.is_set() and not current.ended.is_set():
            self._log.warning(
                "a rebalance did not wait longer than rebalance_timeout, %g s: records that are "
                "still being handled will be read again",
                self._drain_seconds,
            )

    def _end(self) -> None:
        if self.current is not None:
            self.current.ended.set()
        self.changed.set()

    async def _watch(self, topic: str) -> None:
        """Notice a broken membership also when there is nothing to read."""
        try:
            await self.consumer.watch(topic)
        except KafkaError as error:
            self.fail(error)
