"""Named events. The engine emits them, logging and metrics (and later a console) subscribe; nobody
else listens.

Each class is one event; its name and fields are a public interface. Times are seconds. Subscribers
are plain functions
called at once, in order, on the event loop: they must not wait, and change no event.
The frequent ones are not frozen: that would double what they cost. One that raises is reported and
dropped, never the engine's problem.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from eventmesh.connectors import InvocationResult

logger = logging.getLogger("eventmesh.telemetry")


@dataclass(frozen=True, slots=True)
class SourceReady:
    """A mapping's source runs; `detail` says how."""

    mapping: str
    connector: str
    resource: str
    detail: str


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """A source stopped by itself. `retry_seconds` is None when it will not be started again."""

    mapping: str
    error: BaseException
    retry_seconds: float | None


@dataclass(frozen=True, slots=True)
class EnvironmentStarted:
    function: str
    version: str
    environment: str
    init_seconds: float
    pid: int


@dataclass(frozen=True, slots=True)
class EnvironmentStopped:
    """`reason` is one of idle, timeout, exit, memory, storage, protocol, error, retired,
    cancelled, closing."""

    function: str
    environment: str
    reason: str


@dataclass(slots=True)
class LogText:
    """Text for a function's log: whole lines as written, platform lines (START, END, REPORT)
    included.

    `stream` is the environment's log stream name (semantics 1.8).
    """

    function: str
    stream: str
    request_id: str
    text: bytes


@dataclass(slots=True)
class InvocationEnded:
    """One attempt of one invocation ended, well or not. `result.function_error` tells. `attempt`
    counts from 1."""

    function: str
    mode: Literal["RequestResponse", "Event"]
    source: str
    attempt: int
    result: InvocationResult


@dataclass(frozen=True, slots=True)
class InvocationThrottled:
    function: str
    mode: Literal["RequestResponse", "Event"]
    reason: str


@dataclass(slots=True)
class EventsAccepted:
    """Asynchronous events were stored."""

    function: str
    source: str
    count: int


@dataclass(frozen=True, slots=True)
class EventRetried:
    """An asynchronous event failed and waits `delay_seconds` for its next attempt."""

    function: str
    request_id: str
    attempts: int
    delay_seconds: float
    error_type: str
    error_message: str


@dataclass(frozen=True, slots=True)
class EventFailed:
    """An asynchronous event ended in failure. `sent_to` names where its record goes, "" when only
    to `eventmesh dlq`."""

    function: str
    request_id: str
    condition: str
    attempts: int
    error_type: str
    error_message: str
    sent_to: str


@dataclass(frozen=True, slots=True)
class DeliverySent:
    function: str
    destination: str


@dataclass(frozen=True, slots=True)
class DeliveryFailed:
    function: str
    destination: str
    error: str
    retry_seconds: float


@dataclass(frozen=True, slots=True)
class RecordsRead:
    """A poller got records from its source; `filtered` of them passed no filter and are finished.
    `shard` is "" for queues, here and below.

    Per mapping, received = handled + filtered + given up + returned + those still in memory
    (invariant I7).
    """

    mapping: str
    shard: str
    received: int
    filtered: int


@dataclass(frozen=True, slots=True)
class BatchInvoked:
    """One attempt of one batch ended. `handled` of its `records` are finished by it.

    `fill_reason` says why the batch had closed (size, window, bytes, drain); `outcome` is ok,
    partial (a partial batch response), failed (function error) or throttled (no handler ran).
    `size_bytes` is the event's.
    """

    mapping: str
    shard: str
    records: int
    handled: int
    fill_reason: str
    size_bytes: int
    attempt: int
    outcome: Literal["ok", "partial", "failed", "throttled"]


@dataclass(frozen=True, slots=True)
class BatchRetried:
    """A batch failed and is invoked again after `delay_seconds`; `attempts` failed so far."""

    mapping: str
    shard: str
    records: int
    attempts: int
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class BatchBisected:
    """A failing batch of `records` was halved."""

    mapping: str
    shard: str
    records: int


@dataclass(frozen=True, slots=True)
class RecordsGivenUp:
    """Records go no further. `condition` is that of their failure record; `sent_to` names where it
    goes, "" when nowhere."""

    mapping: str
    shard: str
    records: int
    condition: str
    attempts: int
    sent_to: str


@dataclass(frozen=True, slots=True)
class RecordsReturned:
    """Records left unfinished: given back to the queue, or to be read again from the checkpoint.
    `reason` is one of failed, stopping, cancelled, lease lost."""

    mapping: str
    shard: str
    records: int
    reason: str


@dataclass(frozen=True, slots=True)
class ShardOpened:
    """A shard is read from after `position`, "" for its starting position."""

    mapping: str
    shard: str
    position: str


@dataclass(frozen=True, slots=True)
class ShardProgressed:
    """A shard's checkpoint moved; at most one a second and shard. `age_seconds` is how long ago
    the newest finished record had arrived at the source, `pending` how many wait in memory."""

    mapping: str
    shard: str
    position: str
    age_seconds: float
    pending: int


@dataclass(frozen=True, slots=True)
class ShardClosed:
    """A shard is not read any more. `reason` is one of finished, stopping, lease lost, cancelled,
    failed."""

    mapping: str
    shard: str
    reason: str


TelemetryEvent = (
    SourceReady
    | SourceFailed
    | EnvironmentStarted
    | EnvironmentStopped
    | LogText
    | InvocationEnded
    | InvocationThrottled
    | EventsAccepted
    | EventRetried
    | EventFailed
    | DeliverySent
    | DeliveryFailed
    | RecordsRead
    | BatchInvoked
    | BatchRetried
    | BatchBisected
    | RecordsGivenUp
    | RecordsReturned
    | ShardOpened
    | ShardProgressed
    | ShardClosed
)
Subscriber = Callable[[TelemetryEvent], None]


class Telemetry:
    """Hands each emitted event to every subscriber."""

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers = (*self._subscribers, subscriber)

    def emit(self, event: TelemetryEvent) -> None:
        """Never waits, never raises."""
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:
                logger.exception("a telemetry subscriber failed on %s", type(event).__name__)
