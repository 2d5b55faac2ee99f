"""The recorded outcomes of semantics 2.1 as arithmetic."""

import pytest

from eventmesh.functions.function import AsyncInvokeConfig
from eventmesh.invocation import retry
from eventmesh.state.contract import QueuedEvent

DELAYS = retry.RetryDelays()


def event(attempts: int = 0, postponements: int = 0) -> QueuedEvent:
    return QueuedEvent("id", "f", b"{}", 0.0, 0.0, attempts=attempts, postponements=postponements)


def outcome_of_failing(config: AsyncInvokeConfig) -> tuple[str, int, list[float]]:
    """Fail an event at once each time it is due; where it ends, and when it was retried."""
    current, now, retried_at = event(), 0.0, []
    while True:
        decision = retry.after_error(current, config, DELAYS, now)
        if isinstance(decision, retry.GiveUp):
            return decision.condition, decision.event.attempts, retried_at
        current = decision.event
        now = current.due_at
        retried_at.append(now)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (AsyncInvokeConfig(), ("RetriesExhausted", 3, [60.0, 180.0])),
        (AsyncInvokeConfig(maximum_retry_attempts=1), ("RetriesExhausted", 2, [60.0])),
        (AsyncInvokeConfig(maximum_retry_attempts=0), ("RetriesExhausted", 1, [])),
        (AsyncInvokeConfig(maximum_event_age_seconds=60), ("EventAgeExceeded", 1, [])),
        (AsyncInvokeConfig(maximum_event_age_seconds=90), ("EventAgeExceeded", 2, [60.0])),
    ],
)
def test_a_failing_event_ends_as_recorded(
    config: AsyncInvokeConfig, expected: tuple[str, int, list[float]]
) -> None:
    assert outcome_of_failing(config) == expected


def test_throttles_use_no_attempt_and_wait_one_second_to_five_minutes() -> None:
    current, now, waits = event(attempts=1), 0.0, []
    for _ in range(11):
        decision = retry.after_throttle(current, AsyncInvokeConfig(), DELAYS, now)
        assert isinstance(decision, retry.Again)
        current = decision.event
        waits.append(current.due_at - now)
        now = current.due_at
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert current.attempts == 1


def test_a_throttled_event_is_looked_at_once_more_when_its_age_ends() -> None:
    config = AsyncInvokeConfig(maximum_event_age_seconds=100)
    decision = retry.after_throttle(event(postponements=9), config, DELAYS, 90)
    assert isinstance(decision, retry.Again)
    assert decision.event.due_at == 100
    assert retry.after_throttle(decision.event, config, DELAYS, 100) == retry.GiveUp(
        decision.event, "EventAgeExceeded"
    )


def test_a_failure_after_throttles_starts_the_throttle_delays_anew() -> None:
    decision = retry.after_error(event(postponements=5), AsyncInvokeConfig(), DELAYS, 0)
    assert isinstance(decision, retry.Again)
    assert decision.event.postponements == 0
