"""Memory while a handler is stopped and its source is full: bounded, as stated."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine import Engine, workspace
from benchmarks.figures import Findings, Goal
from benchmarks.memory import read_memory
from benchmarks.pulling import (
    Marks,
    aws_client,
    draining,
    fill_stream,
    fill_topic,
    make_stream,
    make_topic,
    now_and_then,
    payload,
    wired,
    write_handlers,
)
from tests.servers import server

HELD_SECONDS = 12.0
WARM_RECORDS = 400
PARTITIONS = 4
READ_AHEAD = 1000
LOOPS = 4
_MB = 1024 * 1024
#: a record of 1 KB as its part of the event (base64, fields) and as an object, both in memory
_RECORD_BYTES = 2_300
#: SQS holds the text and Python's own objects beside
_MESSAGE_BYTES = 3_500


@dataclass(frozen=True, slots=True)
class Load:
    """A source under full load, and how much memory the engine may take for it."""

    name: str
    handler: str
    source: Mapping[str, Any]
    #: write so many records
    fill: Callable[[int], None]
    records: int
    bound_mb: float
    formula: str


def run() -> Findings:
    """Each source in an engine of its own: warm it, stop its handler, load it, watch its memory."""
    findings = Findings()
    for load in (_kafka(), _kinesis(), _sqs()):
        with workspace() as directory:
            grown, after = _hold(directory, load)
        text = f"{load.name}: engine's growth"
        findings.add(text, "MB", [grown], Goal("median", "<=", round(load.bound_mb, 1)))
        findings.notes.append(
            f"{load.name}: bound {load.bound_mb:.1f} MB = {load.formula}; {load.records:,} records"
            f" of 1 KB ({load.records / 1024:.0f} MB) were waiting; {after:,} were handled after it"
        )
    findings.notes.append(
        f"the most of the engine's RSS in {HELD_SECONDS:g} s of a handler that does not return,"
        f" less its RSS after {WARM_RECORDS} records; handlers are processes of their own"
    )
    return findings


def _hold(directory: Path, load: Load) -> tuple[float, int]:
    """MB that the engine grew by while its handler was held, and how many records were handled
    in the two seconds after."""
    marks, hold = write_handlers(directory), directory / "hold"
    mappings = wired(load.handler, load.source, marks, {"HOLD": str(hold)})
    load.fill(WARM_RECORDS)
    with draining(Engine(directory, mappings)) as engine:
        marks.wait_for(WARM_RECORDS, "the first records")
        time.sleep(1)
        before = read_memory(engine.process.pid).rss
        hold.touch()
        filling = threading.Thread(target=load.fill, args=(load.records,))
        filling.start()
        samples = [read_memory(engine.process.pid).rss for _ in now_and_then(HELD_SECONDS, 0.25)]
        filling.join()
        samples.append(read_memory(engine.process.pid).rss)
        return max(samples) - before, _release(marks, hold)


def _release(marks: Marks, hold: Path) -> int:
    before = marks.total()
    hold.unlink()
    time.sleep(2)
    return marks.total() - before


def _kafka() -> Load:
    brokers, topic, batch = server("kafka").address, f"bench-{uuid.uuid4().hex[:8]}", 500
    make_topic(brokers, topic, PARTITIONS)
    source = {"kafka": {"brokers": brokers, "topics": topic, "batch_size": batch}}
    ahead = max(READ_AHEAD, 2 * batch)
    # of each partition: records read ahead, the batch's event (once joined, once being sent), and
    # what the client library has fetched (1 MB as bytes, and as much again being taken apart)
    held = PARTITIONS * (ahead * _RECORD_BYTES + 2 * batch * 1_500 + 2 * _MB)
    return Load(
        "kafka",
        "kafka",
        source,
        lambda count: fill_topic(brokers, topic, PARTITIONS, count),
        60_000,
        held / _MB + _SLACK_MB,
        f"{PARTITIONS} partitions x (max({READ_AHEAD}, 2 x {batch}) records read ahead x 2.3 KB +"
        f" the event of {batch} twice + twice max_partition_fetch_bytes) + {_SLACK_MB} MB",
    )


def _kinesis() -> Load:
    endpoint, stream, batch = server("kinesalite").address, f"bench-{uuid.uuid4().hex[:8]}", 500
    make_stream(endpoint, stream, PARTITIONS)
    settings = {"stream": stream, "endpoint_url": endpoint, "batch_size": batch}
    # of each shard: records read ahead, one answer of records_per_read (text, and parsed), events
    held = PARTITIONS * (
        READ_AHEAD * _RECORD_BYTES + READ_AHEAD * 2 * _RECORD_BYTES + 2 * batch * 1_700
    )
    return Load(
        "kinesis",
        "kinesis",
        {"kinesis": {**settings, "poll_interval": 0.2}},
        lambda count: fill_stream(endpoint, stream, count),
        40_000,
        held / _MB + _SLACK_MB,
        f"{PARTITIONS} shards x ({READ_AHEAD} records read ahead + one GetRecords of {READ_AHEAD},"
        f" as text and parsed + the event of {batch} twice) + {_SLACK_MB} MB",
    )


def _sqs() -> Load:
    endpoint, name, batch = server("localstack").address, f"bench-{uuid.uuid4().hex[:8]}", 100
    sqs = aws_client("sqs", endpoint)
    attributes = {"VisibilityTimeout": "120"}
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def fill(count: int) -> None:
        for start in range(0, count, 10):
            entries = [
                {"Id": str(n), "MessageBody": payload(start + n).decode()} for n in range(10)
            ]
            sqs.send_message_batch(QueueUrl=url, Entries=entries)

    settings = {"queue": name, "endpoint_url": endpoint, "batch_size": batch, "batch_window": 1}
    held = (LOOPS + 1) * batch * _MESSAGE_BYTES + LOOPS * 2 * batch * 1_700
    return Load(
        "sqs",
        "sqs",
        {"sqs": {**settings, "maximum_concurrency": LOOPS}},
        fill,
        6_000,
        held / _MB + _SLACK_MB,
        f"({LOOPS} + 1) x {batch} messages x 3.5 KB + {LOOPS} events of {batch} twice"
        f" + {_SLACK_MB} MB",
    )


#: what Python's allocator keeps, connections, and code that runs for the first time
_SLACK_MB = 6
