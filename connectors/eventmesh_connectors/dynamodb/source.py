"""The stream source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eventmesh.connectors import SourceContext
from eventmesh.records import Record
from eventmesh_connectors.dynamodb.api import DynamoDbApi
from eventmesh_connectors.dynamodb.options import DynamoDbOptions
from eventmesh_connectors.shards import Pace, ShardedSource, describe_batch, read_fields


class DynamoDbSource(ShardedSource):
    """A table's stream as a source."""

    #: for filters: patterns of changes ask for objects (semantics 3.6)
    filter_payload = ("dynamodb", "refuse")

    remedy = (
        "The table was deleted and created again, or its stream was switched off and on. Start"
        " again to read the new stream"
    )

    def __init__(self, options: DynamoDbOptions, context: SourceContext) -> None:
        pace = Pace(options.poll_interval, options.records_per_read)
        super().__init__(DynamoDbApi(options, context), options, context, pace)

    def fields(self, record: Record) -> Mapping[str, Any]:
        """The record as it is: values keep their type tags."""
        return read_fields(record)

    def batch_info(self, records: Sequence[Record]) -> Mapping[str, Any]:
        return {"DDBStreamBatchInfo": describe_batch(records, self.arn, "seconds")}
