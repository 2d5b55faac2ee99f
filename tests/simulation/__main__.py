"""`python -m tests.simulation --seed 17 [--mutant NAME]`: replay one seed with its
trace; with `--seeds 1000`, run many and count."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.mutants import MUTANTS, no_mutant
from tests.simulation.run import run_seed


def main() -> int:
    """Exit status 1 when an invariant did not hold."""
    arguments = _parse()
    mutant = MUTANTS.get(arguments.mutant, no_mutant)
    with mutant():
        if arguments.seed is not None:
            return _replay(arguments.seed)
        return _run_many(arguments.first, arguments.seeds)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one, with its trace")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="plant this bug")
    return parser.parse_args()


def _replay(seed: int) -> int:
    findings = run_seed(seed, print)
    for name, detail in findings.violations.items():
        print(f"{name} BROKEN {detail}")
    return bool(findings.violations)


def _run_many(first: int, count: int) -> int:
    names: Counter[str] = Counter()
    failing, seconds, duplicates, refused = [], 0.0, 0, 0
    began = time.perf_counter()
    for seed in range(first, first + count):
        findings = run_seed(seed)
        seconds += findings.seconds
        duplicates += findings.duplicates
        refused += findings.refused
        if findings.violations:
            failing.append(seed)
            names.update(list(findings.violations))
    took = time.perf_counter() - began
    print(f"{count} seeds in {took:.1f} s: {count / took:.0f}/s, {seconds:.0f} virtual s")
    print(f"{duplicates} records delivered again, {refused} writes refused")
    print(f"{len(failing)} failing seeds: {failing[:20]} {dict(names)}")
    return bool(failing)


if __name__ == "__main__":
    sys.exit(main())
