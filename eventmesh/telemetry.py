"""Named events. The engine emits them, logging and metrics (and later a console) subscribe; nobody
else listens.

Each class is one event; its name and fields are a public interface. Times are seconds. Subscribers
are plain functions
called at once, in order, on the event loop: they must not wait. One that raises is reported and
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


@dataclass(frozen=True, slots=True)
class LogText:
    """Text for a function's log: whole lines as written, platform lines (START, END, REPORT)
    included.

    `stream` is the environment's log stream name (semantics 1.8).
    """

    function: str
    stream: str
    request_id: str
    text: bytes


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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
