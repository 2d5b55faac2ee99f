"""The event as handlers see it, made by the writer that makes the real ones."""

from __future__ import annotations

from typing import Any

import orjson

from eventmesh_connectors.dynamodb.records import ChangeWriter
from eventmesh_connectors.shards.events import join_records


def _sample() -> Any:
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2026-03-23T05:00:00.000"
    writer = ChangeWriter("shardId-00000001774242000000-1c7b9f6e", arn, "us-east-1")
    keys = {"id": {"S": "order-1"}}
    record = writer.write(
        {
            "eventID": "7de3041dd709b024af6f29e4fa13d34c",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1774245600,
                "Keys": keys,
                "NewImage": {**keys, "status": {"S": "open"}, "total": {"N": "42"}},
                "SequenceNumber": "100000000003498069978",
                "SizeBytes": 36,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        }
    )
    return orjson.loads(join_records([record]))


SAMPLE_EVENTS = {"dynamodb": _sample()}
