"""What the pull benchmarks share: handlers that leave marks, rates from them, load, bare loops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from benchmarks.engine import ROOT, Engine, end, wait_until

PATIENCE_SECONDS = 60.0
SCRIPTS = Path(__file__).parent
_REGION = "us-east-1"
_KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
#: the same code for everybody: each handler reads what it is given, and marks how many it had when.
#: While the file HOLD is there, handlers wait
HANDLERS = """
import json, os, time
from base64 import b64decode

MARKS = os.open(os.environ["MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
HOLD = os.environ.get("HOLD", "")
PAUSE = float(os.environ.get("PAUSE", "0"))

def mark(count):
    if PAUSE:
        time.sleep(PAUSE)
    while HOLD and os.path.exists(HOLD):
        time.sleep(0.05)
    os.write(MARKS, b"%d %d\\n" % (time.monotonic_ns(), count))

def kafka(event, context):
    shards = event["records"].values()
    mark(len([json.loads(b64decode(r["value"])) for records in shards for r in records]))

def sqs(event, context):
    mark(len([json.loads(record["body"]) for record in event["Records"]]))

def kinesis(event, context):
    mark(len([json.loads(b64decode(r["kinesis"]["data"])) for r in event["Records"]]))
"""


class Marks:
    """What handlers wrote: when (monotonic seconds) each had handled how many records."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "marks"
        self.path.touch()

    def read(self) -> list[tuple[float, int]]:
        lines = (line.split() for line in self.path.read_text().splitlines())
        return [(int(at) / 1e9, int(count)) for at, count in lines]

    def total(self) -> int:
        return sum(count for _, count in self.read())

    def wait_for(self, count: int, what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until so many records were handled. Raises TimeoutError."""
        wait_until(lambda: self.total() >= count, what, seconds, 0.05)

    def rate(self) -> float:
        """Records a second, from the end of the first batch to the end of the last."""
        marks = sorted(self.read())
        seconds = marks[-1][0] - marks[0][0]
        return sum(count for _, count in marks[1:]) / seconds


def payload(number: int) -> bytes:
    """A JSON object of 1 KB."""
    text = b'{"number":%d,"type":"order.created","padding":"' % number
    return text + b"x" * (1024 - len(text) - 2) + b'"}'


def write_handlers(directory: Path) -> Marks:
    directory.mkdir(exist_ok=True)
    (directory / "app.py").write_text(HANDLERS)
    return Marks(directory)


def wired(
    handler: str, source: Mapping[str, Any], marks: Marks, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """mappings.yaml's content: one function `f` with one source, isolated in a process."""
    variables = {"MARKS": str(marks.path), **(env or {})}
    function = {"handler": f"app.{handler}", "timeout": 300, "env": variables, "memory": 512}
    return {"functions": {"f": {**function, "events": [dict(source)]}}}


@contextlib.contextmanager
def draining(engine: Engine) -> Iterator[Engine]:
    """An engine that gets a second to settle and commit what its handlers have finished."""
    with engine:
        yield engine
        engine.stop(signal.SIGTERM)


@contextlib.contextmanager
def script(
    python: str | Path, name: str, directory: Path, *arguments: str, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A peer's script beside this file as a process, told where its handlers are."""
    variables = {**os.environ, **env, "PYTHONPATH": str(directory)}
    command = [str(python), str(SCRIPTS / name), *arguments]
    with (directory / "peer.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)
    try:
        yield process
    finally:
        end(process)


def drain_by_script(
    python: str | Path, name: str, directory: Path, count: int, *arguments: str
) -> float:
    """The rate of a peer's script that handles `count` records and ends itself, or is ended."""
    marks = write_handlers(directory)
    env = {"MARKS": str(marks.path)}
    with script(python, name, directory, *arguments, str(count), env=env) as process:

        def is_done() -> bool:
            if process.poll() not in (None, 0):
                raise RuntimeError(f"{name}: {(directory / 'peer.log').read_text()[-500:]}")
            return marks.total() >= count

        wait_until(is_done, name, PATIENCE_SECONDS, 0.05)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
    return marks.rate()


# Kafka


def make_topic(brokers: str, name: str, partitions: int) -> None:
    async def make() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, partitions, 1)])
            while name not in await admin.list_topics():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        finally:
            await admin.close()

    asyncio.run(make())


def fill_topic(brokers: str, topic: str, partitions: int, count: int) -> None:
    """`count` payloads, the same number in each partition."""

    async def fill() -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=brokers, linger_ms=5, max_batch_size=256 * 1024
        ) as producer:
            sent: list[Any] = []
            for number in range(count):
                at = number % partitions
                key = b"k%d" % (number % 1000)
                sent.append(await producer.send(topic, payload(number), key=key, partition=at))
            await asyncio.gather(*sent)

    asyncio.run(fill())


def committed(brokers: str, topic: str, partitions: int, group: str) -> int:
    """The sum of the offsets that the group has committed."""

    async def read() -> int:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=brokers, group_id=group, enable_auto_commit=False
        )
        async with consumer:
            found = [await consumer.committed(TopicPartition(topic, n)) for n in range(partitions)]
        return sum(offset or 0 for offset in found)

    return asyncio.run(read())


# AWS


def aws_client(service: str, endpoint: str) -> Any:
    return boto3.client(service, endpoint_url=endpoint, region_name=_REGION, **_KEYS)


def fill_queue(endpoint: str, name: str, count: int) -> str:
    """A new queue with `count` messages; its URL."""
    sqs = aws_client("sqs", endpoint)
    attributes = {"VisibilityTimeout": "120"}
    url: str = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    for start in range(0, count, 10):
        numbers = range(start, min(start + 10, count))
        entries = [{"Id": str(n), "MessageBody": payload(n).decode()} for n in numbers]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    return url


def make_stream(endpoint: str, name: str, shards: int) -> None:
    kinesis = aws_client("kinesis", endpoint)
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    kinesis.get_waiter("stream_exists").wait(
        StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )


def fill_stream(endpoint: str, name: str, count: int) -> None:
    """`count` records with as many keys, hence spread evenly over the shards."""
    kinesis = aws_client("kinesis", endpoint)
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        records = [{"Data": payload(n), "PartitionKey": f"key-{n}"} for n in numbers]
        kinesis.put_records(StreamName=name, Records=records)


def explain_exactness(name: str, handled: Sequence[int], expected: int) -> str:
    """A note on whether each round handled as many records as there were."""
    off = [count for count in handled if count != expected]
    if off:
        return f"{name}: {len(off)} of {len(handled)} rounds did NOT handle {expected:,}: {off}"
    return f"{name}: each round handled {expected:,}, no more and no less"


def now_and_then(seconds: float, pause: float) -> Iterator[float]:
    """Yield every `pause` seconds for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield time.monotonic()
        time.sleep(pause)
