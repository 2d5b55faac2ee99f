"""The sources in memory keep the contract that every connector keeps."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from eventmesh.clock import SystemClock
from eventmesh.errors import SourceUnavailable
from eventmesh.pulling import QueueSource, StreamSource
from eventmesh.records import Record
from eventmesh.testing.source_contract import (
    Guarantees,
    QueueBench,
    QueueSourceContract,
    StreamBench,
    StreamSourceContract,
)
from eventmesh.testing.sources import MemoryBrokerStream, MemoryQueue, MemoryStream


class MemoryQueueBench:
    def __init__(self) -> None:
        self.queue = MemoryQueue(SystemClock())

    async def open_source(self) -> QueueSource:
        return self.queue

    async def produce(self, values: Sequence[str], group: str = "") -> None:
        self.queue.put(*values, group=group)

    def value(self, record: Record) -> str:
        return str(orjson.loads(record.event)["body"])

    async def cut(self, reachable: bool) -> None:
        self.queue.unavailable = None if reachable else SourceUnavailable("cut")


class TestMemoryQueue(QueueSourceContract):
    guarantees = Guarantees(groups=True)

    @pytest.fixture
    async def bench(self) -> QueueBench:
        return MemoryQueueBench()


class MemoryStreamBench:
    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream

    async def open_source(self) -> StreamSource:
        return self.stream

    async def produce(self, values: Sequence[str], key: str = "") -> None:
        self.stream.put("s", *values, key=key)

    def value(self, record: Record) -> str:
        return str(orjson.loads(record.event)["data"])

    async def cut(self, reachable: bool) -> None:
        self.stream.unavailable = None if reachable else SourceUnavailable("cut")

    async def change(self, what: str, shard: str) -> None:
        if what == "split":
            self.stream.split(shard, "c-1", "c-2")
        else:
            self.stream.trim(shard, 2)


class TestMemoryStream(StreamSourceContract):
    guarantees = Guarantees(splits=True, expires=True)

    @pytest.fixture
    async def bench(self) -> StreamBench:
        return MemoryStreamBench(MemoryStream(SystemClock(), "s"))


class TestMemoryBrokerStream(StreamSourceContract):
    guarantees = Guarantees(expires=True)

    @pytest.fixture
    async def bench(self) -> StreamBench:
        return MemoryStreamBench(MemoryBrokerStream(SystemClock(), "s"))
