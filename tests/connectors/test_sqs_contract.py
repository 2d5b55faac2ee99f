"""Queues of a real server pass what every queue must."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest_asyncio

from eventmesh.pulling import QueueSource
from eventmesh.records import Record
from eventmesh.testing.source_contract import Guarantees, QueueSourceContract
from eventmesh_connectors.sqs import SqsOptions, SqsSource
from tests.connectors.aws_bench import called, make_context, new_name
from tests.servers import FaultProxy

AWSClient = Callable[[str], Any]


class SqsBench:
    """A queue whose sources reach it through a proxy."""

    def __init__(self, sqs: Any, name: str, url: str, proxy: FaultProxy) -> None:
        self.sqs, self.name, self.url, self.proxy = sqs, name, url, proxy
        self._sent = 0

    async def open_source(self) -> QueueSource:
        endpoint = f"http://{self.proxy.address}"
        return SqsSource(SqsOptions(queue=self.name, endpoint_url=endpoint), make_context())

    async def produce(self, values: Sequence[str], group: str = "") -> None:
        for value in values:
            request = {"QueueUrl": self.url, "MessageBody": value}
            if self.name.endswith(".fifo"):
                self._sent += 1
                request |= {
                    "MessageGroupId": group or f"group-{self._sent}",
                    "MessageDeduplicationId": str(self._sent),
                }
            await called(self.sqs.send_message, **request)

    def value(self, record: Record) -> str:
        return str(json.loads(record.event)["body"])

    async def cut(self, reachable: bool) -> None:
        await asyncio.to_thread(self.proxy.heal if reachable else self.proxy.cut)


class SqsContract(QueueSourceContract):
    suffix: ClassVar[str] = ""
    attributes: ClassVar[dict[str, str]] = {}
    patience_seconds = 20.0

    @pytest_asyncio.fixture
    async def bench(
        self, localstack_endpoint: str, aws_client: AWSClient
    ) -> AsyncIterator[SqsBench]:
        sqs, name = aws_client("sqs"), new_name("q") + self.suffix
        attributes = {"VisibilityTimeout": "2"} | self.attributes
        answer = await called(sqs.create_queue, QueueName=name, Attributes=attributes)
        port = urlsplit(localstack_endpoint).port
        assert port is not None
        with FaultProxy(port) as proxy:
            yield SqsBench(sqs, name, answer["QueueUrl"], proxy)
        await called(sqs.delete_queue, QueueUrl=answer["QueueUrl"])


class TestStandardQueue(SqsContract):
    guarantees = Guarantees()


class TestFifoQueue(SqsContract):
    suffix = ".fifo"
    attributes: ClassVar[dict[str, str]] = {"FifoQueue": "true"}
    guarantees = Guarantees(groups=True)
