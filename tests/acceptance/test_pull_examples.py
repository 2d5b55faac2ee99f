"""The pull examples: the real command, the examples' own producers, real servers."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import uuid
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import MakeEngine
from tests.acceptance.engine import Engine, eventually
from tests.servers.installers import ROOT

EXAMPLES = ROOT / "examples"
ORDERS, WORKER, CLICKS = (
    EXAMPLES / name for name in ("orders_kafka", "queue_worker_sqs", "clickstream_kinesis")
)
SERVERS = {ORDERS: "kafka", WORKER: "localstack", CLICKS: "kinesalite"}


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def places(tmp_path: Path, *names: str) -> dict[str, str]:
    return {name: str(tmp_path / name.lower()) for name in names}


def produce(example: Path, count: int, engine: Engine) -> None:
    command = [sys.executable, str(example / "produce.py"), str(count)]
    done = subprocess.run(
        command, env=engine.environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def failures(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((tmp_path / "failed").glob("*.json"))]


def given_up(tmp_path: Path, info: str) -> int:
    """Records; several of one batch are in one file."""
    return sum(int(one[info]["batchSize"]) for one in failures(tmp_path))


def conditions(tmp_path: Path) -> Counter[tuple[str, int]]:
    """How often, by (condition, attempts)."""
    contexts = [
        (one["requestContext"]["condition"], one["requestContext"]["approximateInvokeCount"])
        for one in failures(tmp_path)
    ]
    return Counter(contexts)


def states(ledger: Path) -> list[tuple[str, int, int]]:
    if not ledger.exists():
        return []
    query = "select state, count(*), sum(amount) from orders group by state"
    with closing(sqlite3.connect(ledger)) as connection:
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []


def test_orders_kafka(make_engine: MakeEngine, kafka_brokers: str, tmp_path: Path) -> None:
    environ = places(tmp_path, "LEDGER", "FAILED")
    environ |= {"KAFKA_BROKERS": kafka_brokers, "TOPIC": unique("orders")}
    engine = make_engine(ORDERS / "mappings.yaml", environ)
    produce(ORDERS, 20, engine)
    engine.start()
    booked = [("shipped", 20, sum(range(10, 30)))]
    eventually(lambda: states(tmp_path / "ledger") == booked, 60)
    eventually(lambda: len(failures(tmp_path)) == 2, 60)
    for failure in failures(tmp_path):
        assert failure["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert failure["KafkaBatchInfo"]["batchSize"] == 1
        assert failure["responseContext"]["functionError"] == "Unhandled"
    assert engine.stop() == 0

    produce(ORDERS, 5, engine)  # while it is down
    engine.start()
    eventually(lambda: states(tmp_path / "ledger")[0][1] == 25, 60)
    eventually(lambda: len(failures(tmp_path)) == 3, 60)
    assert engine.stop() == 0


def letters(tmp_path: Path) -> int:
    return len(list((tmp_path / "outbox").glob("*.txt")))


def test_queue_worker_sqs(
    make_engine: MakeEngine, localstack_endpoint: str, tmp_path: Path
) -> None:
    environ = places(tmp_path, "OUTBOX", "FAILED")
    environ |= {"AWS_ENDPOINT_URL": localstack_endpoint, "QUEUE": unique("jobs")}
    engine = make_engine(WORKER / "mappings.yaml", environ)
    produce(WORKER, 50, engine)
    engine.start()
    eventually(lambda: letters(tmp_path) == 45, 60)
    eventually(lambda: given_up(tmp_path, "SQSBatchInfo") == 5, 60)
    assert engine.stop() == 0
    assert letters(tmp_path) == 45
    for failure in failures(tmp_path):
        assert failure["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert failure["requestContext"]["approximateInvokeCount"] == 3


def reported(tmp_path: Path) -> Counter[str]:
    views: Counter[str] = Counter()
    for file in (tmp_path / "report").glob("*.json"):
        views += Counter(json.loads(file.read_text())["views"])
    return views


def purchases(tmp_path: Path) -> dict[str, list[str]]:
    found = {}
    for file in sorted((tmp_path / "purchases").glob("*.tsv")):
        found[file.stem] = [line.split("\t")[1] for line in file.read_text().splitlines()]
    return found


def test_clickstream_kinesis(
    make_engine: MakeEngine, kinesalite_endpoint: str, tmp_path: Path
) -> None:
    environ = places(tmp_path, "REPORT", "PURCHASES", "FAILED")
    environ |= {"AWS_ENDPOINT_URL_KINESIS": kinesalite_endpoint, "STREAM": unique("clicks")}
    engine = make_engine(CLICKS / "mappings.yaml", {**environ, "WINDOW": "2s"})
    produce(CLICKS, 1000, engine)
    engine.start()
    eventually(lambda: sum(map(len, purchases(tmp_path).values())) == 90, 60)
    eventually(lambda: len(failures(tmp_path)) == 10, 60)
    assert conditions(tmp_path) == {("RetryAttemptsExhausted", 3): 10}
    for visitor, items in purchases(tmp_path).items():
        numbers = [int(item.removeprefix("item-")) for item in items]
        expected = [n for n in range(9, 1000, 10) if n // 10 % 7 == int(visitor[-1])]
        assert numbers == [n for n in expected if n % 100 != 99]
    pages = Counter(("/", "/shop", "/cart")[n % 3] for n in range(1000) if n % 10 != 9)
    eventually(lambda: reported(tmp_path) == pages, 60)
    assert engine.stop() == 0


@pytest.mark.parametrize("example", SERVERS, ids=lambda path: path.name)
def test_the_readme_names_a_command_that_starts_its_server(example: Path) -> None:
    """`scripts/servers start NAME` prints the line that the README tells of."""
    readme = (example / "README.md").read_text()
    name = SERVERS[example]
    (promised,) = re.findall(r"It prints `export (\w+)=\.\.\.`", readme)
    assert f"    scripts/servers start {name}\n" in readme
    used = (example / "produce.py").read_text()
    assert f'"{promised}"' in used
    with subprocess.Popen(
        [str(ROOT / "scripts" / "servers"), "start", name], stdout=subprocess.PIPE, text=True
    ) as servers:
        assert servers.stdout is not None
        try:
            lines = [servers.stdout.readline(), servers.stdout.readline()]
        finally:
            servers.terminate()
    assert re.fullmatch(rf"export {promised}=\S+\n", lines[1]), lines
