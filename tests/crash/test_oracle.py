"""The oracle's verdicts on runs written by hand."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.crash.ledger import Answer, Ledger, parse
from tests.crash.oracle import Rules, Verdict, judge
from tests.crash.replicas import CheckpointWatch

RULES = Rules(ordered=True, repeated_per_kill=2, exact_failures=True)


def effect(identifier: str, boot: int = 1, inv: str = "") -> dict[str, Any]:
    return {"id": identifier, "boot": boot, "inv": inv or f"{boot}/{identifier}"}


def raised(identifier: str, inv: str) -> dict[str, Any]:
    return {"raised": identifier, "name": f"at-{identifier}", "boot": 1, "inv": inv}


def verdict(
    acknowledged: str,
    lines: list[dict[str, Any]],
    failures: tuple[str, ...] = (),
    kills: int = 0,
    **answers: Answer,
) -> Verdict:
    known: dict[str, Answer] = dict.fromkeys(acknowledged.split(), "ok")
    renamed = {name.replace("_", "-"): answer for name, answer in answers.items()}
    return judge(known | renamed, lines, failures, kills, RULES)


def effects(text: str, boot: int = 1) -> list[dict[str, Any]]:
    return [effect(identifier, boot) for identifier in text.split()]


def test_a_clean_run_has_no_problems() -> None:
    found = verdict("u0-1 u1-1 u0-2", effects("u0-1 u0-2 u1-1"))
    assert (found.problems, found.records, found.delivered) == ([], 3, 3)


def test_what_was_acknowledged_and_never_came_is_lost() -> None:
    assert verdict("u0-1 u0-2 u0-3", effects("u0-1 u0-2")).lost == ["u0-3"]


def test_what_nobody_answered_for_may_come_or_not() -> None:
    assert verdict("u0-1", effects("u0-1 u0-2"), u0_2="unknown", u0_3="unknown").problems == []


def test_what_was_refused_must_not_come() -> None:
    assert verdict("u0-1", effects("u0-1 u0-2"), u0_2="fail").phantom == ["u0-2"]


def test_what_was_never_written_must_not_come() -> None:
    assert verdict("u0-1", effects("u0-1 u7-9")).phantom == ["u7-9"]


@pytest.mark.parametrize(("kills", "problems"), [(1, []), (0, ["1 duplicates, at most 0"])])
def test_each_kill_allows_some_duplicates(kills: int, problems: list[str]) -> None:
    lines = [*effects("u0-1 u0-2"), *effects("u0-2 u0-3", boot=2)]
    assert verdict("u0-1 u0-2 u0-3", lines, kills=kills).problems == problems


def test_what_a_failing_invocation_did_is_repeated_rightly() -> None:
    lines = [effect("u0-1", inv="a"), raised("u0-2f", "a"), *effects("u0-1 u0-2f")]
    found = verdict("u0-1 u0-2f", lines)
    assert (found.problems, found.duplicates, found.most_deliveries) == ([], 0, 1)


def test_a_record_before_an_earlier_one_of_its_unit_is_out_of_order() -> None:
    found = verdict("u0-1 u0-2 u1-1", effects("u0-2 u0-1 u1-1"))
    assert found.out_of_order == ["u0-1"]
    assert found.skipped == ["u0-1 before 2"]


def test_a_gap_is_found_though_a_later_run_fills_it() -> None:
    lines = [*effects("u0-1 u0-3"), *effects("u0-1 u0-2 u0-3", boot=2)]
    assert verdict("u0-1 u0-2 u0-3", lines, kills=9).skipped == ["u0-2 before 3"]


def test_a_start_behind_something_undelivered_is_a_skip() -> None:
    lines = [*effects("u0-1"), *effects("u0-3 u0-4", boot=2)]
    assert verdict("u0-1 u0-2 u0-3 u0-4", lines).skipped == ["u0-2 before 3"]


def test_a_run_may_begin_where_the_one_before_was() -> None:
    lines = [*effects("u0-1 u0-2 u0-3"), *effects("u0-2 u0-3 u0-4", boot=2)]
    assert verdict("u0-1 u0-2 u0-3 u0-4", lines, kills=1).problems == []


def test_poison_is_left_out_and_recorded_once() -> None:
    lines = [effect("u0-1"), raised("u0-2p", "a"), effect("u0-3")]
    wanted = "u0-1 u0-2p u0-3"
    assert verdict(wanted, lines, ("at-u0-2p",)).problems == []
    assert verdict(wanted, lines).lost == ["u0-2p"]
    assert verdict(wanted, lines, ("at-u0-2p", "at-u0-2p")).badly_recorded == ["u0-2p"]


def test_nothing_but_poison_may_be_given_up() -> None:
    lines = [effect("u0-1"), raised("u0-2f", "a")]
    assert verdict("u0-1 u0-2f", lines, ("at-u0-2f",)).badly_recorded == ["u0-2f"]


def test_ids_rise_by_one_in_each_unit() -> None:
    ledger = Ledger(3, Random(1))
    parsed = [parse(identifier) for identifier in ledger.draw(200)]
    for unit in ("u0", "u1", "u2"):
        numbers = [number for name, number, _ in parsed if name == unit]
        assert numbers == list(range(1, len(numbers) + 1))
    assert set(ledger.answers.values()) == {"unknown"}


def test_a_checkpoint_that_moves_back_is_noted(tmp_path: Any) -> None:
    watch = CheckpointWatch(tmp_path / "state.sqlite3")
    for position, epoch in [(0, 1), (5, 1), (5, 2), (9, 2), (8, 2), (9, 1)]:
        watch.note("shard", position, epoch)
    assert watch.regressions == [
        "shard: (9, 2) became (8, 2)",
        "shard: (8, 2) became (9, 1)",
    ]
