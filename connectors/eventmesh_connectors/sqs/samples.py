"""The event as handlers see it, made by the writer that makes the real ones."""

from __future__ import annotations

from typing import Any

import orjson

from eventmesh_connectors.sqs.events import RecordWriter, join_records

_NOW = 1_711_032_638.511
_ARN = "arn:aws:sqs:us-east-1:000000000000:orders"


def _sample(arn: str, attributes: dict[str, str]) -> Any:
    message = {
        "MessageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "ReceiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "Body": '{"order": 1}',
        "MD5OfBody": "dc97bbb7eff3689c366f23d88bae9f28",
        "Attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1711032638511",
            "SenderId": "AIDAEVENTMESH00000000",
            "ApproximateFirstReceiveTimestamp": "1711032638518",
            **attributes,
        },
    }
    record = RecordWriter(arn, "us-east-1", windowed=False).write(message, _NOW)
    return orjson.loads(join_records([record]))


SAMPLE_EVENTS = {
    "sqs": _sample(_ARN, {}),
    "sqs-fifo": _sample(
        f"{_ARN}.fifo",
        {
            "SequenceNumber": "18849496460467696128",
            "MessageGroupId": "customer-1",
            "MessageDeduplicationId": "order-1",
        },
    ),
}
