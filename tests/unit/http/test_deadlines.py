from __future__ import annotations

import pytest

from eventmesh.http.deadlines import Deadline, Phase, Sight
from eventmesh.http.limits import Limits


def ticks_until_over(phase: Phase, limits: Limits, rate: int = 0) -> int:
    deadline = Deadline(limits)
    for tick in range(200):
        if deadline.is_over(1000.0 + tick, Sight(phase, 1, received=tick * rate)):
            return tick
    return -1


@pytest.mark.parametrize(
    ("phase", "seconds"),
    [
        (Phase.NEW, 9),
        (Phase.HEAD, 9),
        (Phase.BODY, 9),
        (Phase.IDLE, 74),
        (Phase.WRITING, 29),
        (Phase.CLOSING, 4),
        (Phase.BUSY, -1),
    ],
)
def test_time_counts_from_the_first_sweep_that_saw_it(phase: Phase, seconds: int) -> None:
    assert ticks_until_over(phase, Limits()) == seconds


def test_body_in_good_speed_is_ended_at_its_own_limit() -> None:
    assert ticks_until_over(Phase.BODY, Limits(), rate=1138) == 29


def test_body_too_slow_is_ended_early() -> None:
    assert ticks_until_over(Phase.BODY, Limits(), rate=1000) == 9


def test_body_that_stops_in_the_middle_is_ended_within_the_next_span() -> None:
    deadline = Deadline(Limits())
    received = [0, 50_000, *[60_000] * 60]
    over = [deadline.is_over(float(t), Sight(Phase.BODY, 1, r)) for t, r in enumerate(received)]
    assert over.index(True) == 18


def test_every_step_forward_resets_the_time() -> None:
    deadline = Deadline(Limits(keep_alive_seconds=3))
    marks = [1, 1, 2, 2, 3, 3, 3]
    over = [deadline.is_over(float(t), Sight(Phase.IDLE, m)) for t, m in enumerate(marks)]
    assert over == [False, False, False, False, False, False, True]


@pytest.mark.parametrize("name", ["head_seconds", "header_bytes", "connections"])
def test_limits_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be greater than 0"):
        Limits(**{name: 0})
