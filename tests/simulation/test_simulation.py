"""Ten thousand simulated schedules of the lease and checkpoint protocol, and planted bugs that must
not get through."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.oracle import DEADLINE, FENCE, FINISHED, MONOTONE, NO_SKIP, SINGLE_FLIGHT
from tests.simulation.run import run_seed

SEEDS = 10_000
CHUNK = 250
MUTANT_SEEDS = 1000

#: what each planted bug breaks
BROKEN = {
    "checkpoint-before-handler": {NO_SKIP},
    "unfenced-checkpoint": {MONOTONE},
    "lost-take": {FINISHED},
    "no-local-deadline": {DEADLINE},
    "callers-clock": {DEADLINE, SINGLE_FLIGHT},
    "epoch-not-raised": {FENCE},
}


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_invariants_hold_whatever_happens(first: int) -> None:
    broken = {}
    for seed in range(first, first + CHUNK):
        violations = run_seed(seed).violations
        if violations:
            broken[seed] = violations
    assert not broken, f"replay: python -m tests.simulation --seed {min(broken)}"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_planted_bugs_are_caught(name: str) -> None:
    with MUTANTS[name]():
        seeds = range(MUTANT_SEEDS)
        caught = any(BROKEN[name] & run_seed(seed).violations.keys() for seed in seeds)
    assert caught


def test_a_seed_is_the_same_run_every_time() -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        run_seed(7, trace.append)
    assert traces[0] == traces[1]
    assert len(traces[0]) > 100


def test_another_seed_is_another_run() -> None:
    traces: list[list[str]] = [[], []]
    for seed, trace in enumerate(traces):
        run_seed(seed, trace.append)
    assert traces[0] != traces[1]
