"""One DynamoDB stream, through aiobotocore."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eventmesh.connectors import SourceContext
from eventmesh.errors import PositionExpired, SourceUnavailable
from eventmesh_connectors.aws import AwsClient, open_client, translated
from eventmesh_connectors.dynamodb.options import DynamoDbOptions
from eventmesh_connectors.dynamodb.records import ChangeWriter
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

_STREAMS, _TABLES = "dynamodbstreams", "dynamodb"


class DynamoDbApi:
    """A `ShardApi`."""

    def __init__(self, options: DynamoDbOptions, context: SourceContext) -> None:
        self._options = options
        self._context = context
        self._doing = f"stream of {options.resource}"
        self._connecting = asyncio.Lock()
        self._clients: dict[str, AwsClient] = {}
        self._arn = ""
        self._writers: dict[str, ChangeWriter] = {}

    async def list_shards(self) -> Listing:
        arn = self._options.stream_arn or await self._latest_stream()
        api = await self._connect(_STREAMS)
        try:
            with signals(self._doing):
                answer, shards = await _describe(api, arn)
        except ShardGone as error:
            raise SourceUnavailable(f"Stream not found: {arn}") from error
        if arn != self._arn:
            self._arn = arn
            self._writers.clear()
        created = epoch_seconds(answer["StreamDescription"].get("CreationRequestDateTime"))
        return Listing(arn, created, answered_at(answer, self._context.clock.now()), shards)

    async def find_iterator(self, shard: str, start: Start) -> Iterator:
        """There is no start at a time: the reader leaves out what is before it."""
        api = await self._connect(_STREAMS)
        kind = "TRIM_HORIZON" if start.kind == "AT_TIMESTAMP" else start.kind
        arguments = {"StreamArn": self._arn, "ShardId": shard, "ShardIteratorType": kind}
        invalid = None
        if start.sequence_number:
            arguments["SequenceNumber"] = start.sequence_number
            invalid = PositionExpired
        with signals(f"{self._doing}, shard {shard}", invalid):
            answer = await api.get_shard_iterator(**arguments)
        return Iterator(answer["ShardIterator"], answered_at(answer, self._context.clock.now()))

    async def get_records(self, shard: str, token: str, limit: int) -> Page:
        api = await self._connect(_STREAMS)
        with signals(f"{self._doing}, shard {shard}", IteratorExpired):
            answer = await api.get_records(ShardIterator=token, Limit=limit)
        write = self._writer(shard).write
        records = [write(found) for found in answer["Records"]]
        return Page(records, answer.get("NextShardIterator"), len(records) >= limit)

    async def close(self) -> None:
        while self._clients:
            await self._clients.popitem()[1].close()

    async def _connect(self, service: str) -> Any:
        async with self._connecting:
            client = self._clients.get(service)
            if client is None:
                access = replace(self._options.access, region=self._options.stream_region)
                with translated(self._doing):
                    client = await open_client(service, access, self._context.region)
                if service == _STREAMS:
                    read_plainly(client.api, "dynamodb-streams")
                self._clients[service] = client
        return client.api

    async def _latest_stream(self) -> str:
        """The table's stream."""
        table = self._options.table or ""
        api = await self._connect(_TABLES)
        try:
            with signals(f"table {table}"):
                answer = await api.describe_table(TableName=table)
        except ShardGone as error:
            region = self._clients[_TABLES].region
            raise SourceUnavailable(
                f"table {table} not found. Check its name, region ({region}) and endpoint_url"
            ) from error
        arn: str | None = answer["Table"].get("LatestStreamArn")
        if arn is None:
            raise SourceUnavailable(
                f"table {table} has no stream; switch it on: aws dynamodb update-table --table-name"
                f" {table} --stream-specification"
                " StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
            )
        return arn

    def _writer(self, shard: str) -> ChangeWriter:
        writer = self._writers.get(shard)
        if writer is None:
            writer = ChangeWriter(shard, self._arn, region_of(self._arn))
            self._writers[shard] = writer
        return writer


async def _describe(api: Any, arn: str) -> tuple[Mapping[str, Any], list[ListedShard]]:
    """The last answer, and all shards."""
    shards: list[ListedShard] = []
    arguments = {"StreamArn": arn}
    while True:
        answer = await api.describe_stream(**arguments)
        described = answer["StreamDescription"]
        shards.extend(_listed(found) for found in described["Shards"])
        last = described.get("LastEvaluatedShardId")
        if last is None:
            return answer, shards
        arguments["ExclusiveStartShardId"] = last


def _listed(found: Mapping[str, Any]) -> ListedShard:
    parent = found.get("ParentShardId")
    sequence = found.get("SequenceNumberRange", {})
    return ListedShard(
        found["ShardId"],
        (parent,) if parent else (),
        sequence.get("StartingSequenceNumber", ""),
        sequence.get("EndingSequenceNumber") is not None,
    )
