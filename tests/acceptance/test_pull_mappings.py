"""A stream read by the real command: SIGTERM repeats nothing, kill -9 loses nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeEngine
from tests.acceptance.engine import Engine, eventually

COUNT = 300
BATCH = 10
CONFIG = """
functions:
  record:
    handler: app.record
    timeout: 10s
    env: {RECORD: "${RECORD}"}
    events:
      - type: numbers_source:stream
        name: numbers
        batch_size: 10
        bisect_on_error: true
        max_retries: 0
        on_failure: {directory: "${FAILED}"}
server: {http: "${HTTP}"}
state: "${STATE}"
"""
HANDLERS = """
import json, os, time
OUT = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def record(event, context):
    values = [item["data"] for item in event["Records"]]
    if "poison" in values:
        raise ValueError("poison")
    time.sleep(0.01)
    os.write(OUT, (json.dumps(values) + "\\n").encode())
"""
SOURCE = """
from typing import ClassVar
from eventmesh.connectors import Connector
from eventmesh.pulling import StreamOptions
from eventmesh.testing.sources import MemoryStream

class Options(StreamOptions):
    resource: ClassVar[str] = "numbers"

def open_stream(options, context):
    stream = MemoryStream(context.clock, "shard")
    stream.put("shard", *range(300), "poison", arrived_at=context.clock.now())
    return stream

stream = Connector("numbers", source_options=Options, source=open_stream)
"""


@pytest.fixture
def engine(make_engine: MakeEngine, tmp_path: Path) -> Engine:
    (tmp_path / "numbers_source.py").write_text(SOURCE)
    environ = {
        "RECORD": str(tmp_path / "record"),
        "FAILED": str(tmp_path / "failed"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    (tmp_path / "app.py").write_text(HANDLERS)
    return make_engine(CONFIG, environ)


def handled(directory: Path) -> list[int]:
    file = directory / "record"
    lines = file.read_text().splitlines() if file.exists() else []
    return [value for line in lines for value in json.loads(line)]


def all_failures(directory: Path) -> list[Path]:
    return list((directory / "failed").glob("*.json"))


def test_a_stop_repeats_nothing(engine: Engine, tmp_path: Path) -> None:
    while len(handled(tmp_path)) < COUNT:
        before = len(handled(tmp_path))
        engine.start()
        eventually(lambda before=before: len(handled(tmp_path)) > before)  # type: ignore[misc]
        assert engine.stop(signal.SIGTERM) == 0
    assert handled(tmp_path) == list(range(COUNT))


def test_a_kill_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    rng, kills = random.Random(3), 5
    for _ in range(kills):
        engine.start()
        time.sleep(rng.random() * 0.1)
        engine.kill()
    engine.start()
    (failure,) = eventually(lambda: all_failures(tmp_path))
    assert engine.stop() == 0
    counts = Counter(handled(tmp_path))
    assert sorted(counts) == list(range(COUNT))
    repeated = sum(counts.values()) - COUNT
    assert repeated <= kills * BATCH, f"{repeated} repeated by {kills} kills"
    record = json.loads(failure.read_text())
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["MemoryBatchInfo"]["batchSize"] == 1
