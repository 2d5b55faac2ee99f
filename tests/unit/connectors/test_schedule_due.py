"""Which slots fire, by the policy for missed runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh_connectors.schedule.due import (
    Decision,
    FiringRules,
    MissedRuns,
    Spread,
    decide,
    next_moment,
)
from eventmesh_connectors.schedule.expression import parse_expression
from eventmesh_connectors.schedule.slots import Timetable

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def rules(
    policy: MissedRuns = "one",
    text: str = "cron(* * * * ? *)",
    maximum: int = 100,
    window: timedelta = timedelta(),
) -> FiringRules:
    timetable = Timetable(parse_expression(text), UTC, NOON)
    return FiringRules(timetable, Spread(window, b"nightly"), policy, maximum)


def minutes(*numbers: int) -> tuple[datetime, ...]:
    return tuple(NOON + number * MINUTE for number in numbers)


def test_a_slot_fires_when_it_has_come_and_only_then() -> None:
    before = decide(rules(), NOON, NOON + MINUTE * 0.999, starting=False)
    assert before == Decision((), NOON)
    assert decide(rules(), NOON, NOON + MINUTE, starting=False) == Decision(minutes(1), *minutes(1))


def test_a_late_slot_is_still_fired_whatever_the_policy() -> None:
    policies: tuple[MissedRuns, ...] = ("none", "one", "all")
    for policy in policies:
        late = decide(rules(policy), NOON, NOON + 1.9 * MINUTE, starting=False)
        assert late == Decision(minutes(1), *minutes(1))


@pytest.mark.parametrize(
    ("policy", "starting", "fired", "passed_over"),
    [
        ("none", True, (), 3),
        ("one", True, minutes(3), 2),
        ("all", True, minutes(1, 2, 3), 0),
        ("none", False, minutes(3), 2),
        ("one", False, minutes(3), 2),
        ("all", False, minutes(1, 2, 3), 0),
    ],
)
def test_missed_runs_by_policy(
    policy: MissedRuns, starting: bool, fired: tuple[datetime, ...], passed_over: int
) -> None:
    decision = decide(rules(policy), NOON, NOON + 3.5 * MINUTE, starting=starting)
    assert decision == Decision(fired, NOON + 3 * MINUTE, passed_over)


def test_all_is_bounded_and_keeps_the_newest() -> None:
    decision = decide(rules("all", maximum=2), NOON, NOON + 5 * MINUTE, starting=True)
    assert decision == Decision(minutes(4, 5), NOON + 5 * MINUTE, 3)


def test_a_clock_set_back_fires_nothing() -> None:
    assert decide(rules("all"), NOON, NOON - 60 * MINUTE, starting=False) == Decision((), NOON)
    assert decide(rules("all"), NOON, NOON - 60 * MINUTE, starting=True) == Decision((), NOON)
    assert next_moment(rules(), NOON) == NOON + MINUTE


def test_years_of_missed_minutes_are_not_walked_through() -> None:
    later = NOON + timedelta(days=3650)
    decision = decide(rules("all", maximum=3), NOON, later, starting=True)
    assert decision == Decision((later - 2 * MINUTE, later - MINUTE, later), later, None)
    assert decide(rules("none"), NOON, later, starting=True) == Decision((), later, None)


def test_the_gap_of_an_expression_that_has_ended() -> None:
    ended = rules("all", "cron(0 0 1 1 ? 2027-2028)")
    decision = decide(ended, NOON, datetime(2040, 1, 1, tzinfo=UTC), starting=True)
    assert [slot.year for slot in decision.fire] == [2027, 2028]
    assert next_moment(ended, decision.decided_until) is None


def test_a_flexible_window_delays_each_slot_always_by_the_same() -> None:
    spread = Spread(timedelta(minutes=10), b"nightly")
    delays = [spread.moment(slot) - slot for slot in minutes(*range(500))]
    assert delays == [spread.moment(slot) - slot for slot in minutes(*range(500))]
    assert all(timedelta() <= delay < timedelta(minutes=10) for delay in delays)
    assert max(delays) - min(delays) > timedelta(minutes=9)
    other = Spread(timedelta(minutes=10), b"hourly")
    assert spread.moment(NOON) != other.moment(NOON)


def test_within_a_window_the_slot_waits_for_its_moment() -> None:
    daily = rules(text="cron(0 13 * * ? *)", window=timedelta(hours=1))
    slot = NOON + timedelta(hours=1)
    moment = next_moment(daily, NOON)
    assert moment is not None
    assert slot < moment < slot + timedelta(hours=1)
    early = decide(daily, NOON, moment - timedelta(seconds=1), starting=False)
    assert early == Decision((), NOON)
    assert decide(daily, NOON, moment, starting=False) == Decision((slot,), slot)


policies = st.sampled_from(["none", "one", "all"])
texts = st.sampled_from(
    ["cron(* * * * ? *)", "cron(0/7 * * * ? *)", "cron(0 9-17 ? * MON-FRI *)", "rate(3 minutes)"]
)
windows = st.sampled_from([timedelta(), timedelta(seconds=40), timedelta(minutes=5)])


@settings(max_examples=100, deadline=None)
@given(texts, windows, st.lists(st.integers(-7200, 7200), min_size=1, max_size=25))
def test_however_the_clock_moves_each_slot_fires_once_and_in_order(
    text: str, window: timedelta, steps: list[int]
) -> None:
    plan = rules("all", text, maximum=10_000, window=window)
    now = last_fire = latest = NOON
    fired: list[datetime] = []
    for step in steps:
        now += timedelta(seconds=step)
        latest = max(latest, now)
        decision = decide(plan, last_fire, now, starting=step % 2 == 0)
        fired += decision.fire
        last_fire = decision.decided_until
    expected = []
    for slot in plan.timetable.after(NOON):
        if plan.spread.moment(slot) > latest:
            break
        expected.append(slot)
    assert fired == expected


@settings(max_examples=100, deadline=None)
@given(policies, texts, windows, st.integers(0, 10**7), st.integers(1, 30), st.booleans())
def test_looking_back_over_a_gap_finds_what_counting_finds(
    policy: MissedRuns, text: str, window: timedelta, seconds: int, maximum: int, starting: bool
) -> None:
    plan = rules(policy, text, maximum, window)
    now = NOON + timedelta(seconds=seconds)
    decision = decide(plan, NOON, now, starting=starting)
    due: list[datetime] = []
    slot = plan.timetable.next_after(max(NOON, now - timedelta(days=9)))
    while slot is not None and plan.spread.moment(slot) <= now:
        due.append(slot)
        slot = plan.timetable.next_after(slot)
    limit = {"all": maximum, "one": 1, "none": 0 if starting else 1}[policy]
    assert list(decision.fire) == (due[-limit:] if limit else [])
    assert decision.decided_until == (due[-1] if due else NOON)
