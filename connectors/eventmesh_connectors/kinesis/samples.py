"""The event as handlers see it, made by the writer that makes the real ones."""

from __future__ import annotations

from typing import Any

import orjson

from eventmesh_connectors.kinesis.records import KinesisWriter
from eventmesh_connectors.shards.events import join_records


def _sample() -> Any:
    writer = KinesisWriter(
        "shardId-000000000000",
        "arn:aws:kinesis:us-east-1:000000000000:stream/orders",
        "us-east-1",
        "arn:aws:iam::000000000000:role/lambda-role",
    )
    record = writer.write(
        {
            "SequenceNumber": "49590338271490256608559692538361571095921575989136588898",
            "PartitionKey": "order-1",
            "Data": "eyJvcmRlciI6IDF9",
            "ApproximateArrivalTimestamp": 1774245600.987,
        }
    )
    return orjson.loads(join_records([record]))


SAMPLE_EVENTS = {"kinesis": _sample()}
