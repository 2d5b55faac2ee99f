"""One Kinesis stream, through aiobotocore."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eventmesh.connectors import SourceContext
from eventmesh.errors import PositionExpired, SourceUnavailable
from eventmesh_connectors.aws import AwsClient, open_client, translated
from eventmesh_connectors.aws_access import is_emulator
from eventmesh_connectors.kinesis.options import KinesisOptions
from eventmesh_connectors.kinesis.records import KinesisWriter
from eventmesh_connectors.lineage import ListedShard
from eventmesh_connectors.shards import (
    Iterator,
    IteratorExpired,
    Listing,
    Page,
    ShardGone,
    Start,
    signals,
)
from eventmesh_connectors.shards.faults import answered_at, epoch_seconds
from eventmesh_connectors.shards.pages import read_plainly, region_of


class KinesisApi:
    """A `ShardApi`."""

    def __init__(self, options: KinesisOptions, context: SourceContext) -> None:
        self._options = options
        self._context = context
        self._doing = f"kinesis stream {options.stream}"
        self._connecting = asyncio.Lock()
        self._client: AwsClient | None = None
        self._stream: dict[str, str] = {}
        self._arn = ""
        self._region = ""
        self._writers: dict[str, KinesisWriter] = {}

    async def list_shards(self) -> Listing:
        api = await self._connect()
        try:
            with signals(self._doing):
                answer = await api.describe_stream_summary(**self._stream)
                shards = await self._pages(api)
        except ShardGone as error:
            raise SourceUnavailable(
                f"Stream not found: {self._options.stream}. Check its name, region"
                f" ({self._region}) and endpoint_url"
            ) from error
        summary = answer["StreamDescriptionSummary"]
        if summary["StreamStatus"] == "DELETING":
            raise SourceUnavailable(f"{self._doing} is being deleted")
        if summary["StreamARN"] != self._arn:
            self._arn = summary["StreamARN"]
            self._region = region_of(self._arn) or self._region
            self._writers.clear()
        created = epoch_seconds(summary.get("StreamCreationTimestamp"))
        listed_at = answered_at(answer, self._context.clock.now())
        return Listing(self._arn, created, listed_at, shards)

    async def find_iterator(self, shard: str, start: Start) -> Iterator:
        api = await self._connect()
        arguments: dict[str, Any] = {
            **self._stream,
            "ShardId": shard,
            "ShardIteratorType": start.kind,
        }
        invalid = None
        if start.kind == "AFTER_SEQUENCE_NUMBER":
            arguments["StartingSequenceNumber"] = start.sequence_number
            invalid = PositionExpired
        elif start.kind == "AT_TIMESTAMP":
            arguments["Timestamp"] = start.at
        with signals(f"{self._doing}, shard {shard}", invalid):
            answer = await api.get_shard_iterator(**arguments)
        return Iterator(answer["ShardIterator"], answered_at(answer, self._context.clock.now()))

    async def get_records(self, shard: str, token: str, limit: int) -> Page:
        api = await self._connect()
        with signals(f"{self._doing}, shard {shard}", IteratorExpired):
            answer = await api.get_records(ShardIterator=token, Limit=limit)
        write = self._writer(shard).write
        records = [write(found) for found in answer["Records"]]
        is_behind = answer.get("MillisBehindLatest", 0) > 0 or len(records) >= limit
        return Page(records, answer.get("NextShardIterator"), is_behind)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connect(self) -> Any:
        async with self._connecting:
            if self._client is None:
                options = self._options
                access = replace(options.access, region=options.stream_region)
                with translated(self._doing):
                    self._client = await open_client("kinesis", access, self._context.region)
                self._region = self._client.region
                read_plainly(self._client.api, "kinesis")
                self._stream = self._named(self._client)
        return self._client.api

    def _named(self, client: AwsClient) -> dict[str, str]:
        """The stream, as it is named in requests. Streams of other accounts go by their ARN, which
        emulators do not all know."""
        options = self._options
        if options.stream == options.stream_name or is_emulator(client.endpoint_url):
            return {"StreamName": options.stream_name}
        return {"StreamARN": options.stream}

    async def _pages(self, api: Any) -> list[ListedShard]:
        answer = await api.list_shards(**self._stream)
        shards = [_listed(found) for found in answer["Shards"]]
        while token := answer.get("NextToken"):
            answer = await api.list_shards(NextToken=token)
            shards.extend(_listed(found) for found in answer["Shards"])
        return shards

    def _writer(self, shard: str) -> KinesisWriter:
        writer = self._writers.get(shard)
        if writer is None:
            role = f"arn:aws:iam::{self._context.account_id}:role/lambda-role"
            writer = KinesisWriter(shard, self._arn, self._region, role)
            self._writers[shard] = writer
        return writer


def _listed(found: Mapping[str, Any]) -> ListedShard:
    parents = (found.get("ParentShardId"), found.get("AdjacentParentShardId"))
    sequence = found["SequenceNumberRange"]
    return ListedShard(
        found["ShardId"],
        tuple(parent for parent in parents if parent),
        sequence["StartingSequenceNumber"],
        sequence.get("EndingSequenceNumber") is not None,
    )
