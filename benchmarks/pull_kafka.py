"""Kafka: records of 1 KB in batches of 500, each batch handled in a process, offsets committed."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Any

from benchmarks.engine import Engine, workspace
from benchmarks.figures import Findings, Goal
from benchmarks.peers import PeerMissing, python
from benchmarks.pulling import (
    committed,
    drain_by_script,
    draining,
    explain_exactness,
    fill_topic,
    make_topic,
    wired,
    write_handlers,
)
from tests.servers import server

ROUNDS = 3
#: records by partitions
RECORDS = {4: 100_000, 1: 60_000}
BATCH = 500
BARE_LOOP = "bare aiokafka loop"
FASTSTREAM = "FastStream batch subscriber"

Rates = dict[str, list[float]]


def run() -> Findings:
    """A topic of four partitions and one of one; rounds of all three, each a group of its own."""
    findings = Findings()
    broker = server("kafka")
    try:
        peers = {BARE_LOOP: (Path(sys.executable), "bare_kafka.py")}
        peers[FASTSTREAM] = (python(), "faststream_kafka.py")
    except PeerMissing as error:
        findings.notes.append(f"{FASTSTREAM} skipped: {error}")
    for partitions in RECORDS:
        rates = _take_rounds(broker.address, partitions, peers, findings)
        _conclude(findings, partitions, rates)
    findings.notes.append(
        f"{broker.name}; {RECORDS[4]:,} and {RECORDS[1]:,} records that are there already, each"
        " handler decodes every value (base64, JSON; FastStream decodes before its handler); rates"
        " count from the end of the first batch to that of the last; each side commits after"
        " each batch"
    )
    return findings


def _take_rounds(
    brokers: str, partitions: int, peers: dict[str, tuple[Path, str]], findings: Findings
) -> Rates:
    topic, count = f"bench-{uuid.uuid4().hex[:8]}", RECORDS[partitions]
    make_topic(brokers, topic, partitions)
    fill_topic(brokers, topic, partitions, count)
    rates: Rates = {"eventmesh": [], **{name: [] for name in peers}}
    handled, commits = [], []
    with workspace() as directory:
        for number in range(ROUNDS):
            place, group = directory / f"ours-{number}", f"g-{uuid.uuid4().hex[:8]}"
            rate, found = _through_eventmesh(place, brokers, topic, group, count)
            rates["eventmesh"].append(rate)
            handled.append(found)
            commits.append(committed(brokers, topic, partitions, group))
            for name, (interpreter, script) in peers.items():
                place = directory / f"{script}-{number}"
                arguments = (brokers, topic, f"g-{uuid.uuid4().hex[:8]}", str(BATCH))
                rates[name].append(drain_by_script(interpreter, script, place, count, *arguments))
    title = f"{partitions} partition{'s' * (partitions > 1)}"
    findings.notes.append(explain_exactness(title, handled, count))
    findings.notes.append(explain_exactness(f"{title}, offsets committed", commits, count))
    return rates


def _through_eventmesh(
    directory: Path, brokers: str, topic: str, group: str, count: int
) -> tuple[float, int]:
    """The rate, and how many records were handled."""
    marks = write_handlers(directory)
    source: dict[str, Any] = {"brokers": brokers, "topics": topic, "group": group}
    source["batch_size"] = BATCH
    with draining(Engine(directory, wired("kafka", {"kafka": source}, marks))):
        marks.wait_for(count, "the last record")
    return marks.rate(), marks.total()


def _conclude(findings: Findings, partitions: int, rates: Rates) -> None:
    text = f"{partitions} partition{'s' * (partitions > 1)}, batch {BATCH}"
    goal = Goal("ratio", ">=", 0.9)
    ours = rates["eventmesh"]
    findings.add(text, "records/s", ours, goal, peer=BARE_LOOP, theirs=rates[BARE_LOOP])
    if FASTSTREAM in rates:
        findings.add(text, "records/s", ours, peer=FASTSTREAM, theirs=rates[FASTSTREAM])
