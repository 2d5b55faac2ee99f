"""Queues of LocalStack, standard and FIFO, reached by the engine through the proxy."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.crash.adapters.contract import Site
from tests.crash.ledger import Answer, parse
from tests.crash.oracle import Rules

BATCH, CONCURRENCY, MOST_AT_ONCE, VISIBILITY_SECONDS = 10, 4, 10, 3


class SqsAdapter:
    # batches running, and as many messages received ahead
    rules = Rules(
        ordered=False, repeated_per_kill=2 * BATCH * (CONCURRENCY + 1), exact_failures=False
    )
    server: str | None = "localstack"
    durable = False
    units = 12
    backlog = 400
    suffix = ""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._name = f"crash-{uuid.uuid4().hex[:8]}{self.suffix}"
        self._client: Any = None
        self._url = ""

    async def reset(self) -> Mapping[str, Any]:
        self._client = boto3.client(
            "sqs",
            endpoint_url=f"http://127.0.0.1:{self._site.server_port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
        )
        attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS)}
        if self.suffix:
            attributes["FifoQueue"] = "true"
        made = await asyncio.to_thread(
            self._client.create_queue, QueueName=self._name, Attributes=attributes
        )
        self._url = made["QueueUrl"]
        settings = {
            "queue": self._name,
            "endpoint_url": f"http://127.0.0.1:{self._site.proxy_port}",
            "region": "us-east-1",
            "batch_size": BATCH,
            "maximum_concurrency": CONCURRENCY,
            "release_failed": True,
            "bisect_on_error": True,
            "max_retries": 1,
        }
        return {"sqs": settings}

    async def produce(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        return await asyncio.to_thread(self._send, ids)

    def _send(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        answers: dict[str, Answer] = {}
        for start in range(0, len(ids), MOST_AT_ONCE):
            answers |= self._send_batch(ids[start : start + MOST_AT_ONCE])
        return answers

    def _send_batch(self, ids: Sequence[str]) -> dict[str, Answer]:
        entries = [self._entry(n, one) for n, one in enumerate(ids)]
        try:
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except (BotoCoreError, ClientError):
            return dict.fromkeys(ids, "unknown")
        sent = {int(entry["Id"]) for entry in answer.get("Successful", ())}
        return {one: "ok" if n in sent else "fail" for n, one in enumerate(ids)}

    def _entry(self, number: int, identifier: str) -> dict[str, str]:
        entry = {"Id": str(number), "MessageBody": identifier}
        if self.suffix:
            entry |= {
                "MessageGroupId": parse(identifier)[0],
                "MessageDeduplicationId": identifier,
            }
        return entry

    def failed(self, record: Mapping[str, Any]) -> Sequence[str]:
        return list(record["SQSBatchInfo"]["messageIds"])

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()


class FifoAdapter(SqsAdapter):
    rules = Rules(
        ordered=True, repeated_per_kill=2 * BATCH * (CONCURRENCY + 1), exact_failures=False
    )
    suffix = ".fifo"
