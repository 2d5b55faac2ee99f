"""What a poller works with: its mapping's function, where failures go, whom it tells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from eventmesh import failpoints
from eventmesh.clock import Clock
from eventmesh.connectors import InvocationResult
from eventmesh.errors import InvocationError, TooManyRequests
from eventmesh.invocation.invoker import new_request_id
from eventmesh.mappings.failure_records import (
    Failure,
    FailureOrigin,
    failure_delivery,
    failure_record,
)
from eventmesh.mappings.invoking import BatchTarget
from eventmesh.mappings.policy import MappingPolicy
from eventmesh.mappings.responses import failed_indexes
from eventmesh.pulling import KeepsCheckpoints, PullSource
from eventmesh.records import Record
from eventmesh.state.contract import CheckpointStore, Delivery, DeliveryStore
from eventmesh.state.invariants import check
from eventmesh.telemetry import (
    BatchInvoked,
    RecordsGivenUp,
    RecordsRead,
    RecordsReturned,
    Telemetry,
)

logger = logging.getLogger("eventmesh.mappings")

CONSERVATION = "conservation"
#: decides on the fields of a record whether the handler gets it
Predicate = Callable[[Mapping[str, Any]], bool]


class Reporter(Protocol):
    """Whom a poller tells how it is going: its event source mapping."""

    def announce(self, detail: str) -> None:
        """The source works."""
        ...

    def problem(self, error: Exception, retry_seconds: float) -> None:
        """The source is unavailable and is asked again after `retry_seconds`."""
        ...

    def processed(self, result: str) -> None:
        """What the last batch came to: `OK` or `PROBLEM: ...`."""
        ...


@dataclass(slots=True)
class Counts:
    """Where a mapping's records are (invariant I7 Conservation)."""

    received: int = 0
    filtered: int = 0
    handled: int = 0
    given_up: int = 0
    returned: int = 0

    @property
    def pending(self) -> int:
        """Records in memory: read, and neither finished nor returned."""
        return self.received - self.filtered - self.handled - self.given_up - self.returned

    def check_pending(self, pending: int) -> None:
        """Raise InvariantBroken unless `pending` records are in memory."""
        check(CONSERVATION, self.pending == pending, f"{self} but {pending} are in memory")


@dataclass(frozen=True, slots=True)
class Attempted:
    """What one attempt came to. `failed` are indexes of the records; `result` is None when no
    handler ran."""

    failed: Sequence[int]
    result: InvocationResult | None
    #: no room (then waiting for room helps), as opposed to other refusals
    no_room: bool = False

    @property
    def is_throttled(self) -> bool:
        return self.result is None

    @property
    def is_error(self) -> bool:
        return self.result is not None and self.result.function_error is not None


@dataclass(frozen=True, slots=True)
class Asked:
    """One attempt to be made: the records and their event, and why their batch had closed."""

    shard: str
    records: Sequence[Record]
    event: bytes
    fill_reason: str
    attempt: int
    #: judges a result that is no error: indexes of failed records
    judge: Callable[[InvocationResult], Sequence[int]] | None = None


@dataclass(slots=True)
class PollerHost:
    """One mapping's collaborators. Built by the composition root, or by a test from fakes."""

    mapping: str
    function: str
    clock: Clock
    telemetry: Telemetry
    reporter: Reporter
    target: BatchTarget
    checkpoints: CheckpointStore
    deliveries: DeliveryStore
    #: where failure records go, for people; "" when there is no on-failure destination
    sent_to: str = ""
    #: called when deliveries were stored, so that they are sent soon
    wake_relay: Callable[[], None] = lambda: None
    #: who holds this engine's leases
    owner: str = "engine"
    random: Random = field(default_factory=Random)
    counts: Counts = field(default_factory=Counts)

    async def attempt(self, policy: MappingPolicy, asked: Asked) -> Attempted:
        """Make one attempt and judge it. Cancelling kills the handler."""
        failpoints.reach("before_invoke")
        attempted = await self._invoke(policy, asked)
        failpoints.reach("after_invoke")
        count = len(asked.records)
        handled = 0 if attempted.is_throttled else count - len(attempted.failed)
        self.telemetry.emit(
            BatchInvoked(
                self.mapping,
                asked.shard,
                count,
                handled,
                asked.fill_reason,
                len(asked.event),
                asked.attempt,
                _outcome(attempted),
            )
        )
        if not attempted.is_throttled:
            failed = attempted.failed or attempted.is_error
            self.reporter.processed("PROBLEM: Function call failed" if failed else "OK")
        return attempted

    def read(self, shard: str, received: int, filtered: int) -> None:
        """Count records that came in."""
        self.counts.received += received
        self.counts.filtered += filtered
        self.telemetry.emit(RecordsRead(self.mapping, shard, received, filtered))

    def returned(self, shard: str, records: int, reason: str) -> None:
        """Count records that were left unfinished."""
        if records:
            self.counts.returned += records
            self.telemetry.emit(RecordsReturned(self.mapping, shard, records, reason))

    def given_up(self, failure: Failure) -> None:
        """Count records that go no further."""
        self.counts.given_up += len(failure.records)
        shard = failure.records[0].shard
        count, attempts = len(failure.records), failure.invoke_count
        self.telemetry.emit(
            RecordsGivenUp(self.mapping, shard, count, failure.condition, attempts, self.sent_to)
        )

    def failure_deliveries(
        self, failure: Failure, source: PullSource, policy: MappingPolicy
    ) -> list[Delivery]:
        """The failure record on its way to the on-failure destination; [] when there is none."""
        if not self.sent_to:
            return []
        now = self.clock.now()
        origin = FailureOrigin(
            self.mapping, self.function, self.target.function_arn, new_request_id()
        )
        info = source.batch_info(failure.records)
        payload: bytes | str | None = None
        if policy.payload_in_failure_records:
            payload = source.envelope(failure.records)
            payload = payload.decode() if isinstance(source, KeepsCheckpoints) else payload
        record = failure_record(failure, origin, info, now, payload)
        return [failure_delivery(failure, origin, record, now)]

    async def _invoke(self, policy: MappingPolicy, asked: Asked) -> Attempted:
        whole = range(len(asked.records))
        try:
            result = await self.target.invoke(asked.event, asked.attempt)
        except TooManyRequests:
            return Attempted(whole, None, no_room=True)
        except InvocationError as error:
            logger.warning("%s: %s was not invoked: %s", self.mapping, self.function, error)
            return Attempted(whole, None)
        if result.function_error is not None:
            return Attempted(whole, result)
        if asked.judge is not None:
            return Attempted(asked.judge(result), result)
        failed = failed_indexes(result.payload, asked.records) if policy.report_failures else ()
        return Attempted(failed, result)


def keep_passing(
    records: Sequence[Record], source: PullSource, passes: Predicate | None
) -> Sequence[int]:
    """Indexes of the records that pass the filter, rising. Without one it is not asked."""
    if passes is None:
        return range(len(records))
    fields = source.fields
    return [index for index, record in enumerate(records) if passes(fields(record))]


def _outcome(attempted: Attempted) -> Any:
    if attempted.is_throttled:
        return "throttled"
    if attempted.is_error:
        return "failed"
    return "partial" if attempted.failed else "ok"
