"""`python -m tests.crash --source NAME --kills N --seed S`: long runs, a JSON line each."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.crash.adapters import ADAPTERS
from tests.crash.harness import Plan, run
from tests.crash.mutant import MUTANTS


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--source", choices=[*ADAPTERS], action="append", help="all without it")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--mutant", choices=[*MUTANTS], help="a planted bug instead of the engine")
    parser.add_argument(
        "--keep", type=Path, help="where to run; otherwise removed when all is well"
    )
    given = parser.parse_args(arguments)
    place = given.keep or Path(tempfile.mkdtemp(prefix="eventmesh-crash-"))
    bad = 0
    for source in given.source or ADAPTERS:
        plan = Plan(source, given.kills, given.seed, given.mutant)
        report = asyncio.run(run(plan, place / source))
        print(report.line(), flush=True)
        if report.verdict.problems:
            bad += 1
            print(f"see {place / source}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
