"""Kinesis: how throughput grows with shards, and with the parallelization factor."""

from __future__ import annotations

import statistics
import uuid
from pathlib import Path

from benchmarks.engine import Engine, workspace
from benchmarks.figures import Findings, Goal
from benchmarks.pulling import (
    draining,
    explain_exactness,
    fill_stream,
    make_stream,
    wired,
    write_handlers,
)
from tests.servers import server

ROUNDS = 2
BATCH = 100
SHARDS = (1, 4, 16)
FACTORS = (1, 4, 10)
FAST_RECORDS = 20_000
#: a batch of the slow handler takes so long: 500 records/s for each batch that runs at a time
SLOW_SECONDS = 0.2
SLOW_RECORDS = {1: 1_500, 4: 5_000, 10: 8_000, 16: 16_000}

Rates = dict[int, list[float]]


def run() -> Findings:
    """A stream of each size, filled once; rounds of new engines that read it from the start."""
    findings = Findings()
    endpoint = server("kinesalite").address
    with workspace() as directory:
        fast: Rates = {}
        slow: Rates = {}
        for shards in SHARDS:
            fast[shards] = _drain(directory, endpoint, shards, FAST_RECORDS, findings)
            count = SLOW_RECORDS[shards]
            slow[shards] = _drain(directory, endpoint, shards, count, findings, pause=SLOW_SECONDS)
        by_factor = {1: slow[1]}
        for factor in FACTORS[1:]:
            by_factor[factor] = _drain(
                directory, endpoint, 1, SLOW_RECORDS[factor], findings, factor, SLOW_SECONDS
            )
    each = f"handler of {SLOW_SECONDS:g} s"
    _conclude(findings, slow, f"{each}, {{}} shard(s)", "1 shard", 0.75)
    _conclude(findings, by_factor, f"{each}, 1 shard, factor {{}}", "factor 1", 0.75)
    _conclude(findings, fast, "fast handler, {} shard(s)", "1 shard", None)
    findings.notes.append(
        f"kinesalite, records of 1 KB, batches of at most {BATCH}; the peer is eventmesh itself"
        f" with one shard, or factor 1; {each}: at most {BATCH / SLOW_SECONDS:g} records/s for"
        " each batch that runs at a time; rates count from the end of the first batch to that of"
        " the last"
    )
    return findings


def _drain(
    directory: Path,
    endpoint: str,
    shards: int,
    count: int,
    findings: Findings,
    factor: int = 1,
    pause: float = 0.0,
) -> list[float]:
    """Rates of rounds."""
    stream = f"bench-{uuid.uuid4().hex[:8]}"
    make_stream(endpoint, stream, shards)
    fill_stream(endpoint, stream, count)
    rates, handled = [], []
    for number in range(ROUNDS):
        place = directory / f"{stream}-{number}"
        marks = write_handlers(place)
        source = {
            "stream": stream,
            "endpoint_url": endpoint,
            "batch_size": BATCH,
            "parallelization_factor": factor,
        }
        mappings = wired("kinesis", {"kinesis": source}, marks, {"PAUSE": str(pause)})
        with draining(Engine(place, mappings)):
            marks.wait_for(count, "the last record")
        rates.append(marks.rate())
        handled.append(marks.total())
    if any(found != count for found in handled):
        findings.notes.append(explain_exactness(f"{shards} shard(s)", handled, count))
    return rates


def _conclude(
    findings: Findings, rates: Rates, text: str, of: str, efficiency: float | None
) -> None:
    """Each against the smallest; the goal is a part of what would be perfect."""
    least = rates[min(rates)]
    if statistics.median(least) <= 0:
        return
    for many, found in rates.items():
        goals = [Goal("ratio", ">=", efficiency * many)] if efficiency and many > 1 else []
        peer = {"peer": of, "theirs": least} if many > 1 else {}
        findings.add(text.format(many), "records/s", found, *goals, **peer)  # type: ignore[arg-type]
