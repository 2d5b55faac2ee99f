"""A topic of a real Kafka broker; engine and producers both come through the proxy."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tests.crash.adapters.contract import Site
from tests.crash.ledger import Answer, parse
from tests.crash.oracle import Rules

PARTITIONS, BATCH = 4, 20


class KafkaAdapter:
    rules = Rules(ordered=True, repeated_per_kill=PARTITIONS * BATCH, exact_failures=False)
    server: str | None = "kafka"
    durable = True
    units = 12
    backlog = 5000

    def __init__(self, site: Site) -> None:
        self._site = site
        self._topic = f"crash-{uuid.uuid4().hex[:8]}"
        self._producer: AIOKafkaProducer | None = None

    async def reset(self) -> Mapping[str, Any]:
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it is cut off on purpose
        brokers = f"127.0.0.1:{self._site.proxy_port}"
        admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(self._topic, PARTITIONS, 1)])
        finally:
            await admin.close()
        # idempotent: a repeated send is no second record, and none overtakes another
        self._producer = AIOKafkaProducer(
            bootstrap_servers=brokers, enable_idempotence=True, request_timeout_ms=5000
        )
        await self._producer.start()
        settings = {
            "brokers": [brokers],
            "topics": [self._topic],
            "batch_size": BATCH,
            "batch_window": "0s",
            "session_timeout": "6s",
            "bisect_on_error": True,
            "max_retries": 1,
        }
        return {"kafka": settings}

    async def produce(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        assert self._producer is not None
        try:
            sent = [await self._send(one) for one in ids]
        except (KafkaError, TimeoutError):
            return dict.fromkeys(ids, "unknown")
        results = await asyncio.gather(*sent, return_exceptions=True)
        pairs = zip(ids, results, strict=True)
        return {one: "unknown" if isinstance(r, BaseException) else "ok" for one, r in pairs}

    async def _send(self, identifier: str) -> Any:
        assert self._producer is not None
        unit = parse(identifier)[0]
        value, partition = identifier.encode(), int(unit[1:]) % PARTITIONS
        return await self._producer.send(self._topic, value, key=unit.encode(), partition=partition)

    def failed(self, record: Mapping[str, Any]) -> Sequence[str]:
        names: set[str] = set()
        for shard, those in record["KafkaBatchInfo"]["recordsInfo"].items():
            names |= {
                f"{shard}:{those['firstRecordOffset']}",
                f"{shard}:{those['lastRecordOffset']}",
            }
        return sorted(names)

    async def close(self) -> None:
        if self._producer is not None:
            await self._producer.stop()
