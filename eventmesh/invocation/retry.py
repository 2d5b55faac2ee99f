"""What becomes of an asynchronous event after an attempt: pure arithmetic (semantics 2.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from eventmesh.functions.function import AsyncInvokeConfig
from eventmesh.state.contract import QueuedEvent

RETRIES_EXHAUSTED = "RetriesExhausted"
EVENT_AGE_EXCEEDED = "EventAgeExceeded"
ZERO_RESERVED_CONCURRENCY = "ZeroReservedConcurrency"


@dataclass(frozen=True, slots=True)
class RetryDelays:
    """Seconds. AWS waits 60 before the first retry and twice that before the second; throttled
    events wait 1, 2, 4 ... 300."""

    after_error: float = 60.0
    after_throttle: float = 1.0
    longest_throttle: float = 300.0


@dataclass(frozen=True, slots=True)
class Again:
    """Put it back as `event`, due at its `due_at`."""

    event: QueuedEvent


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It ends here: `condition` is the destination record's, `event.attempts` its
    `approximateInvokeCount`."""

    event: QueuedEvent
    condition: str


def too_old(event: QueuedEvent, config: AsyncInvokeConfig, now: float) -> bool:
    """Whether the event may not be attempted any more."""
    return now - event.accepted_at >= config.maximum_event_age_seconds


def after_error(
    event: QueuedEvent, config: AsyncInvokeConfig, delays: RetryDelays, now: float
) -> Again | GiveUp:
    """The handler failed. Attempts are used up first; then the age is checked against the delayed
    retry."""
    tried = replace(event, attempts=event.attempts + 1, postponements=0)
    if tried.attempts > config.maximum_retry_attempts:
        return GiveUp(tried, RETRIES_EXHAUSTED)
    due = now + delays.after_error * 2 ** (tried.attempts - 1)
    if too_old(tried, config, due):
        return GiveUp(tried, EVENT_AGE_EXCEEDED)
    return Again(replace(tried, due_at=due))


def after_throttle(
    event: QueuedEvent, config: AsyncInvokeConfig, delays: RetryDelays, now: float
) -> Again | GiveUp:
    """Throttled, or the engine itself failed: no attempt is used, the delay doubles, the age still
    counts."""
    if too_old(event, config, now):
        return GiveUp(event, EVENT_AGE_EXCEEDED)
    doublings = min(event.postponements, 32)
    delay = min(delays.longest_throttle, delays.after_throttle * 2**doublings)
    oldest = event.accepted_at + config.maximum_event_age_seconds
    return Again(
        replace(event, due_at=min(now + delay, oldest), postponements=event.postponements + 1)
    )
