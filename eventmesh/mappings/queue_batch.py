"""One batch of a queue: invoked, halved where wanted, and what becomes of each record (semantics
5.3)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from eventmesh.connectors import InvocationResult
from eventmesh.mappings.attempts import (
    PAYLOAD_SIZE_EXCEEDED,
    RECORD_AGE_EXCEEDED,
    RETRY_ATTEMPTS_EXHAUSTED,
    retry_delay,
)
from eventmesh.mappings.batcher import Batch
from eventmesh.mappings.failure_records import Failure
from eventmesh.mappings.host import Asked, Attempted, PollerHost
from eventmesh.mappings.invoking import first_of
from eventmesh.mappings.policy import MappingPolicy
from eventmesh.mappings.responses import with_followers
from eventmesh.pulling import QueueSource
from eventmesh.records import Record
from eventmesh.telemetry import BatchBisected

#: record ids whose failures are remembered
REMEMBERED = 100_000


class FailureCounts:
    """Failed deliveries by record id, in memory: a restart forgets them. Pure."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, int] = OrderedDict()

    def add(self, record_id: str) -> int:
        """One more failure; returns how many there were."""
        count = self._counts.pop(record_id, 0) + 1
        self._counts[record_id] = count
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        return count

    def of(self, record_id: str) -> int:
        return self._counts.get(record_id, 0)

    def forget(self, record_id: str) -> None:
        self._counts.pop(record_id, None)

    def __bool__(self) -> bool:
        return bool(self._counts)


@dataclass(slots=True)
class QueueVerdict:
    """What became of a batch: indexes of records to give back, and what is given up (removed once
    it is recorded)."""

    returned: set[int] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    #: given back because a handler failed, not because we stop
    failed: bool = False


class QueueBatch:
    """Handles one batch after the other for a poller; several at a time. Keeps no state of its
    own but the failure counts."""

    def __init__(
        self,
        source: QueueSource,
        host: PollerHost,
        policy: MappingPolicy,
        counts: FailureCounts,
        stopping: asyncio.Event,
    ) -> None:
        self._source = source
        self._host = host
        self._policy = policy
        self._counts = counts
        self._stopping = stopping

    async def handle(self, batch: Batch) -> QueueVerdict:
        """Invoke until every record has succeeded, failed or was given up. Cancelling kills the
        handler."""
        records, verdict = batch.records, QueueVerdict()
        if batch.reason == "oversize":
            verdict.failures.append(Failure(records, PAYLOAD_SIZE_EXCEEDED, 1))
            return verdict
        expired = self._expired(records)
        verdict.failures += self._outdated(records, expired)
        results: dict[int, InvocationResult | None] = {}
        parts = [[index for index in range(len(records)) if index not in expired]]
        while parts:
            part = self._unblocked(parts.pop(), records, results)
            if part:
                parts += await self._attempt(batch, part, results)
        self._judge(records, results, verdict)
        return verdict

    async def _attempt(
        self, batch: Batch, part: list[int], results: dict[int, InvocationResult | None]
    ) -> list[list[int]]:
        """Invoke the records of `part`; returns the halves to go on with, nearest last."""
        whole = len(part) == len(batch.records)
        records = batch.records if whole else [batch.records[index] for index in part]
        attempted = await self._invoke(batch, records)
        if attempted is None:
            results.update(dict.fromkeys(part))
        elif attempted.is_error and self._policy.bisect and len(part) > 1:
            self._host.telemetry.emit(BatchBisected(self._host.mapping, "", len(part)))
            middle = (len(part) + 1) // 2
            return [part[middle:], part[:middle]]
        else:
            # later records of a failed one's group go back too, but have not failed themselves
            followers = with_followers(attempted.failed, records)
            results.update((part[index], None) for index in followers)
            results.update((part[index], attempted.result) for index in attempted.failed)
        return []

    async def _invoke(self, batch: Batch, records: Sequence[Record]) -> Attempted | None:
        """One attempt; throttled ones are repeated, uncounted, while the records stay hidden.
        None when stopping comes first."""
        throttles, attempt = 0, 1 + self._earlier_failures(records)
        event = self._source.envelope(records)
        asked = Asked("", records, event, batch.reason, attempt)
        while not self._stopping.is_set():
            attempted = await self._host.attempt(self._policy, asked)
            if not attempted.is_throttled:
                return attempted
            throttles += 1
            delay = retry_delay(throttles, self._host.random)
            target, clock = self._host.target, self._host.clock
            wait = target.wait_for_room if attempted.no_room else clock.sleep
            await first_of(self._stopping.wait(), wait(delay))
        return None

    def _earlier_failures(self, records: Sequence[Record]) -> int:
        return self._counts.of(records[0].id) if self._counts else 0

    def _expired(self, records: Sequence[Record]) -> set[int]:
        limit = self._policy.maximum_age_seconds
        if limit < 0:
            return set()
        oldest = self._host.clock.now() - limit
        return {index for index, record in enumerate(records) if record.arrived_at < oldest}

    def _outdated(self, records: Sequence[Record], expired: set[int]) -> list[Failure]:
        if not expired:
            return []
        gone = [records[index] for index in sorted(expired)]
        for record in gone:
            self._counts.forget(record.id)
        return [Failure(gone, RECORD_AGE_EXCEEDED, 1)]

    def _unblocked(
        self,
        part: list[int],
        records: Sequence[Record],
        results: dict[int, InvocationResult | None],
    ) -> list[int]:
        """What of `part` does not come after a failed record of its group; the rest fails too.
        Nothing of it when stopping."""
        if self._stopping.is_set():
            results.update(dict.fromkeys(part))
            return []
        blocked = {records[index].key for index in results if records[index].key}
        if not blocked:
            return part
        results.update((index, None) for index in part if records[index].key in blocked)
        return [index for index in part if index not in results]

    def _judge(
        self,
        records: Sequence[Record],
        results: dict[int, InvocationResult | None],
        verdict: QueueVerdict,
    ) -> None:
        """Give failed records back, or up when they failed too often (by `results`: a record
        without a result was not tried)."""
        if self._counts:
            for index, record in enumerate(records):
                if index not in results:
                    self._counts.forget(record.id)
        exhausted: dict[int, list[int]] = {}
        for index, result in sorted(results.items()):
            count = self._count(records[index]) if result is not None else 0
            verdict.failed |= result is not None
            if count > self._policy.maximum_retries >= 0:
                exhausted.setdefault(count, []).append(index)
            else:
                verdict.returned.add(index)
        for count, indexes in exhausted.items():
            gone = [records[index] for index in indexes]
            for record in gone:
                self._counts.forget(record.id)
            result = results[indexes[0]]
            verdict.failures.append(Failure(gone, RETRY_ATTEMPTS_EXHAUSTED, count, result))

    def _count(self, record: Record) -> int:
        return self._counts.add(record.id) if self._policy.maximum_retries >= 0 else 0
