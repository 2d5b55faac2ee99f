"""What happens next to a batch of a stream: the state machine, without waiting."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from eventmesh.mappings.attempts import (
    BatchAttempts,
    Done,
    GiveUp,
    Invoke,
    Wait,
    retry_delay,
)
from eventmesh.mappings.policy import MappingPolicy
from tests.unit.mappings.harness import Steady, record


def attempts(count: int = 4, **policy: object) -> BatchAttempts:
    records = [record(number, arrived_at=100.0) for number in range(count)]
    return BatchAttempts(records, MappingPolicy(**policy), Steady())  # type: ignore[arg-type]


def next_ids(batch: BatchAttempts, monotonic: float = 0.0) -> str:
    decision = batch.next(100.0, monotonic)
    assert isinstance(decision, Invoke), decision
    return "".join(r.id.removeprefix("id-") for r in decision.records)


def test_success_finishes_everything() -> None:
    batch = attempts()
    assert next_ids(batch) == "0123"
    batch.succeeded()
    assert batch.finished == 4
    assert batch.next(100.0, 0.0) == Done()


def test_delays_double_to_a_minute_less_up_to_half() -> None:
    assert [retry_delay(n, Steady()) for n in (1, 2, 3, 6, 7, 1000)] == [1, 2, 4, 32, 60, 60]
    delays = {retry_delay(3, Random(seed)) for seed in range(50)}
    assert min(delays) >= 2
    assert max(delays) <= 4
    assert len(delays) > 40


def test_failures_wait_and_are_counted() -> None:
    batch = attempts(maximum_retries=1)
    assert batch.next(100.0, 0.0) == Invoke(batch.records, 1)
    assert batch.failed(0.0) is False
    assert batch.next(100.0, 0.0) == Wait(1.0)
    assert batch.next(100.0, 0.4) == Wait(0.6)
    assert batch.next(100.0, 1.0) == Invoke(batch.records, 2)
    batch.failed(1.0)
    decision = batch.next(100.0, 1.0)
    assert decision == GiveUp(batch.records, "RetryAttemptsExhausted", 2)
    batch.gave_up(decision)
    assert batch.next(100.0, 1.0) == Done()


def test_minus_one_is_for_ever() -> None:
    batch = attempts()
    for number in range(100):
        assert batch.next(100.0, number * 100.0) == Invoke(batch.records, number + 1)
        batch.failed(number * 100.0)


def test_throttles_are_not_counted() -> None:
    batch = attempts(maximum_retries=0)
    for number in range(5):
        batch.throttled(number * 100.0)
        assert isinstance(batch.next(100.0, number * 100.0), Wait)
    batch.hurry()
    assert batch.next(100.0, 400.0) == Invoke(batch.records, 1)


def test_a_report_that_moves_the_checkpoint_starts_the_count_over() -> None:
    batch = attempts(maximum_retries=1)
    batch.failed(0.0)
    batch.reported(2, 5.0)
    assert batch.finished == 2
    assert next_ids(batch, 5.0) == "23"
    batch.reported(0, 5.0)
    assert batch.next(100.0, 5.0) == Wait(1.0)
    assert next_ids(batch, 6.0) == "23"
    batch.reported(0, 6.0)
    assert isinstance(batch.next(100.0, 6.0), GiveUp)


def test_bisecting_takes_the_first_half_then_the_second() -> None:
    batch = attempts(5, bisect=True, maximum_retries=0)
    seen = []
    while not isinstance(decision := batch.next(100.0, 0.0), Done):
        if isinstance(decision, GiveUp):
            seen.append(f"up{len(decision.records)}x{decision.invoke_count}")
            batch.gave_up(decision)
            continue
        names = next_ids(batch)
        seen.append(names)
        if "3" in names:
            batch.failed(0.0)
        else:
            batch.succeeded()
    assert seen == ["01234", "012", "34", "3", "up1x1", "4"]


def test_bisecting_a_report_retries_the_tail_only() -> None:
    batch = attempts(6, bisect=True, maximum_retries=0)
    assert batch.reported(3, 0.0) is False
    assert next_ids(batch) == "345"
    assert batch.reported(0, 0.0) is True
    assert next_ids(batch) == "34"


def test_only_the_expired_prefix_is_given_up() -> None:
    ages = [10.0, 20.0, 90.0, 10.0]
    records = [record(n, arrived_at=at) for n, at in enumerate(ages)]
    batch = BatchAttempts(records, MappingPolicy(maximum_age_seconds=60), Steady())
    decision = batch.next(100.0, 0.0)
    assert decision == GiveUp(records[:2], "RecordAgeExceeded", 1)
    batch.gave_up(decision)
    assert batch.next(100.0, 0.0) == Invoke(records[2:], 1)


def test_giving_up_the_old_does_not_start_the_count_over() -> None:
    records = [record(0, arrived_at=0.0), record(1, arrived_at=50.0)]
    policy = MappingPolicy(maximum_age_seconds=60, maximum_retries=1)
    batch = BatchAttempts(records, policy, Steady())
    batch.failed(0.0)
    decision = batch.next(61.0, 0.0)
    assert decision == GiveUp(records[:1], "RecordAgeExceeded", 1)
    batch.gave_up(decision)
    assert batch.attempts == 1


def test_a_wait_ends_when_the_first_record_gets_too_old() -> None:
    batch = attempts(maximum_age_seconds=60)
    for _ in range(8):
        batch.failed(0.0)
    decision = batch.next(150.0, 0.0)
    assert isinstance(decision, Wait)
    assert 10.0 < decision.seconds < 10.01


@given(st.data())
def test_every_record_is_finished_once_in_order(data: st.DataObject) -> None:
    """Whatever the handler does: no record is passed over, none handled after a later one was."""
    count = data.draw(st.integers(1, 9))
    batch = attempts(
        count,
        bisect=data.draw(st.booleans()),
        maximum_retries=data.draw(st.integers(0, 2)),
    )
    ended: list[str] = []
    monotonic = 0.0
    for _ in range(500):
        decision = batch.next(100.0, monotonic)
        before = batch.finished
        match decision:
            case Done():
                break
            case Wait(seconds):
                monotonic += seconds
                continue
            case GiveUp():
                batch.gave_up(decision)
            case Invoke(records):
                assert list(records) == list(batch.records[before : before + len(records)])
                what = data.draw(st.sampled_from(["ok", "fail", "report", "throttle"]))
                if what == "ok":
                    batch.succeeded()
                elif what == "fail":
                    batch.failed(monotonic)
                elif what == "throttle":
                    batch.throttled(monotonic)
                else:
                    batch.reported(data.draw(st.integers(0, len(records) - 1)), monotonic)
        assert batch.finished >= before
        ended += [r.id for r in batch.records[before : batch.finished]]
    else:
        return  # the draw throttled for ever
    assert ended == [r.id for r in batch.records]
