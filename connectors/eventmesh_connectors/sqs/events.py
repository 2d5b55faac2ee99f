"""Messages as the records handlers see (semantics 5.1). Pure; a record is encoded once."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from eventmesh.records import Record

#: the order AWS writes them in; what AWS adds one day follows
_ATTRIBUTES = (
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "SentTimestamp",
    "SequenceNumber",
    "MessageGroupId",
    "SenderId",
    "MessageDeduplicationId",
    "ApproximateFirstReceiveTimestamp",
    "DeadLetterQueueSourceArn",
)
_SENDER = "AIDAEVENTMESH00000000"


class RecordWriter:
    """Makes the records of one queue. `windowed` says that there is a batching window."""

    def __init__(self, queue_arn: str, region: str, *, windowed: bool) -> None:
        self._arn = queue_arn
        self._region = region
        self._windowed = windowed
        self._is_fifo = queue_arn.endswith(".fifo")

    def write(self, message: Mapping[str, Any], now: float) -> Record:
        """The record of a message as `ReceiveMessage` returned it. `now` (epoch seconds) stands in
        for the times of emulators that tell none."""
        attributes = _order_attributes(message.get("Attributes") or {}, now)
        event: dict[str, Any] = {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": attributes,
        }
        custom = message.get("MessageAttributes")
        event["messageAttributes"] = _convert_attributes(custom) if custom else {}
        if custom and (digest := message.get("MD5OfMessageAttributes")):
            event["md5OfMessageAttributes"] = digest
        elif self._windowed:
            event["md5OfMessageAttributes"] = None
        event["md5OfBody"] = message.get("MD5OfBody") or _md5(message["Body"])
        event["eventSource"] = "aws:sqs"
        event["eventSourceARN"] = self._arn
        event["awsRegion"] = self._region
        return Record(
            id=message["MessageId"],
            event=_encode(event),
            arrived_at=int(attributes["SentTimestamp"]) / 1000,
            key=attributes.get("MessageGroupId", "") if self._is_fifo else "",
            handle=message["ReceiptHandle"],
        )


def join_records(records: Sequence[Record]) -> bytes:
    """The event of a batch."""
    return b'{"Records":[%b]}' % b",".join([record.event for record in records])


def read_fields(record: Record) -> dict[str, Any]:
    """What filter patterns see: the record, its body parsed where it is a JSON object or array
    (semantics 3.6)."""
    fields: dict[str, Any] = json.loads(record.event)
    body = fields["body"]
    if body.lstrip()[:1] in ("{", "["):
        try:
            fields["body"] = orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    return fields


def describe_batch(queue_arn: str, records: Sequence[Record]) -> dict[str, Any]:
    """The queue's part of an on-failure record. AWS has none for queues; this one is shaped like
    its stream records."""
    arrivals = [record.arrived_at for record in records]
    return {
        "SQSBatchInfo": {
            "queueArn": queue_arn,
            "messageIds": [record.id for record in records],
            "approximateArrivalOfFirstRecord": _iso_milliseconds(min(arrivals)),
            "approximateArrivalOfLastRecord": _iso_milliseconds(max(arrivals)),
            "batchSize": len(records),
        }
    }


def _order_attributes(given: Mapping[str, str], now: float) -> dict[str, str]:
    ordered = {name: given[name] for name in _ATTRIBUTES if name in given}
    if len(ordered) != len(given):
        ordered |= given
    if "SenderId" not in ordered or "SentTimestamp" not in ordered:
        return _complete(ordered, now)
    return ordered


def _complete(given: dict[str, str], now: float) -> dict[str, str]:
    """All four attributes that every message on AWS has: some emulators leave one out, and
    handlers rely on them."""
    time = str(int(now * 1000))
    sent = given.get("SentTimestamp", time)
    always = {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": sent,
        "SenderId": _SENDER,
        "ApproximateFirstReceiveTimestamp": time,
    }
    return _order_attributes(always | given, now)


def _convert_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Message attributes with lower camel case keys; binary values are base64."""
    return {name: _convert_attribute(value) for name, value in attributes.items()}


def _convert_attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = {}
    if "StringValue" in attribute:
        converted["stringValue"] = attribute["StringValue"]
    if "BinaryValue" in attribute:
        converted["binaryValue"] = base64.b64encode(attribute["BinaryValue"]).decode()
    converted |= {
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": attribute.get("DataType", "String"),
    }
    return converted


def _encode(event: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(event)
    except TypeError:  # a lone surrogate, which JSON can hold in escaped form only
        return json.dumps(event, separators=(",", ":")).encode()


def _md5(body: str) -> str:
    return hashlib.md5(body.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()


def _iso_milliseconds(epoch_seconds: float) -> str:
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
