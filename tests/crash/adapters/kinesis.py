"""A Kinesis stream of kinesalite, reached by the engine through the proxy, resharded at times."""

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

SHARDS, MOST_SHARDS, BATCH = 4, 8, 10
#: lanes of a shard, and records read beyond the checkpoint that may be handled meanwhile
LANES, LONGEST_SPAN = 2, 20_000


class KinesisAdapter:
    rules = Rules(ordered=True, repeated_per_kill=MOST_SHARDS * BATCH, exact_failures=True)
    lanes = 1
    server: str | None = "kinesalite"
    durable = False
    units = 12
    backlog = 3000

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stream = f"crash-{uuid.uuid4().hex[:8]}"
        self._client: Any = None

    async def reset(self) -> Mapping[str, Any]:
        self._client = boto3.client(
            "kinesis",
            endpoint_url=f"http://127.0.0.1:{self._site.server_port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
        )
        await asyncio.to_thread(self._create)
        settings = {
            "stream": self._stream,
            "endpoint_url": f"http://127.0.0.1:{self._site.proxy_port}",
            "region": "us-east-1",
            "batch_size": BATCH,
            "parallelization_factor": self.lanes,
            "poll_interval": "20ms",
            "bisect_on_error": True,
            "max_retries": 1,
        }
        return {"kinesis": settings}

    def _create(self) -> None:
        self._client.create_stream(StreamName=self._stream, ShardCount=SHARDS)
        self._client.get_waiter("stream_exists").wait(
            StreamName=self._stream, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100}
        )

    async def produce(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        return await asyncio.to_thread(self._put, ids)

    def _put(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        records = [{"Data": one.encode(), "PartitionKey": parse(one)[0]} for one in ids]
        try:
            answer = self._client.put_records(StreamName=self._stream, Records=records)
        except (BotoCoreError, ClientError):
            return dict.fromkeys(ids, "unknown")
        pairs = zip(ids, answer["Records"], strict=True)
        return {one: "fail" if "ErrorCode" in result else "ok" for one, result in pairs}

    async def reshard(self) -> None:
        """Split a shard at random, or merge two neighbours."""
        await asyncio.to_thread(self._reshard)

    def _reshard(self) -> None:
        listed = self._client.describe_stream(StreamName=self._stream)["StreamDescription"]
        leaves = [
            s for s in listed["Shards"] if "EndingSequenceNumber" not in s["SequenceNumberRange"]
        ]
        leaves.sort(key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
        if listed["StreamStatus"] != "ACTIVE":
            return
        if len(leaves) < MOST_SHARDS and self._site.random.random() < 0.6:
            chosen = self._site.random.choice(leaves)
            ends = [int(value) for value in chosen["HashKeyRange"].values()]
            self._client.split_shard(
                StreamName=self._stream,
                ShardToSplit=chosen["ShardId"],
                NewStartingHashKey=str(sum(ends) // 2),
            )
        elif len(leaves) > 2:
            first = self._site.random.randrange(len(leaves) - 1)
            self._client.merge_shards(
                StreamName=self._stream,
                ShardToMerge=leaves[first]["ShardId"],
                AdjacentShardToMerge=leaves[first + 1]["ShardId"],
            )

    def failed(self, record: Mapping[str, Any]) -> Sequence[str]:
        info = record["KinesisBatchInfo"]
        return sorted({info["startSequenceNumber"], info["endSequenceNumber"]})

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()


class LanesAdapter(KinesisAdapter):
    """With a parallelization factor the checkpoint waits for the slowest lane of a shard, and with
    it the failure records of the others may come again."""

    rules = Rules(ordered=True, repeated_per_kill=MOST_SHARDS * LONGEST_SPAN, exact_failures=False)
    lanes = LANES
