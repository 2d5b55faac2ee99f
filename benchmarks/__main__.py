"""`python -m benchmarks [NAME ...] [--json]`: run benchmarks, print one table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable

from benchmarks import (
    accept,
    back_pressure,
    burst,
    cold_start,
    invoke,
    memory,
    pull_kafka,
    pull_kinesis,
    pull_sqs,
)
from benchmarks.figures import Findings, render_table

BENCHMARKS: dict[str, Callable[[], Findings]] = {
    "invoke": invoke.run,
    "cold_start": cold_start.run,
    "accept": accept.run,
    "burst": burst.run,
    "memory": memory.run,
    "pull_kafka": pull_kafka.run,
    "pull_sqs": pull_sqs.run,
    "pull_kinesis": pull_kinesis.run,
    "back_pressure": back_pressure.run,
}


def main() -> int:
    """Exit code 0 also when a goal is missed: the table says so; 1 when a benchmark failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    choices = ", ".join(BENCHMARKS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{choices}; all when none")
    parser.add_argument("--json", action="store_true", help="print every sample as JSON")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {choices}")
    found, failed = _run(options.names or list(BENCHMARKS))
    if options.json:
        figures = {name: one.as_json() for name, one in found.items()}
        print(json.dumps({"machine": _machine(), "benchmarks": figures}, indent=2))
    else:
        print(f"{_machine()}\n\n{render_table(found)}")
    return 1 if failed else 0


def _run(names: list[str]) -> tuple[dict[str, Findings], bool]:
    found: dict[str, Findings] = {}
    failed = False
    for name in names:
        began = time.monotonic()
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        try:
            found[name] = BENCHMARKS[name]()
        except Exception as error:
            failed = True
            found[name] = Findings(notes=[f"FAILED: {type(error).__name__}: {error}"])
        print(f" {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found, failed


def _machine() -> str:
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    day = time.strftime("%Y-%m-%d %H:%M")
    return (
        f"{day}  {os.cpu_count()} cores  {platform.machine()}  Python {platform.python_version()}"
        f"  load average {load}"
    )


if __name__ == "__main__":
    sys.exit(main())
