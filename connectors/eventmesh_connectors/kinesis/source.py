"""The stream source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eventmesh.connectors import SourceContext
from eventmesh.records import Record
from eventmesh_connectors.kinesis.api import KinesisApi
from eventmesh_connectors.kinesis.options import KinesisOptions
from eventmesh_connectors.kinesis.records import kinesis_fields
from eventmesh_connectors.shards import Pace, ShardedSource, describe_batch


class KinesisSource(ShardedSource):
    """A Kinesis stream as a source."""

    #: for filters: payloads that are no objects match no pattern of objects (semantics 3.6)
    filter_payload = ("data", "refuse")

    def __init__(self, options: KinesisOptions, context: SourceContext) -> None:
        pace = Pace(options.poll_interval, options.records_per_read)
        super().__init__(KinesisApi(options, context), options, context, pace)

    def fields(self, record: Record) -> Mapping[str, Any]:
        return kinesis_fields(record)

    def batch_info(self, records: Sequence[Record]) -> Mapping[str, Any]:
        return {"KinesisBatchInfo": describe_batch(records, self.arn, "milliseconds")}
