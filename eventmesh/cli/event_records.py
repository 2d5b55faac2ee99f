"""The records inside a pulled event, and the fields that filter patterns see of each (semantics
3.6)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson


def records_of(event: Any) -> list[Mapping[str, Any]]:
    """The records of an SQS, Kinesis, DynamoDB, Kafka or MQ event; an object that is none of them
    is one record itself."""
    if not isinstance(event, dict):
        raise ValueError("an event is a JSON object")
    for key in ("Records", "messages"):
        if isinstance(event.get(key), list):
            return [record for record in event[key] if isinstance(record, dict)]
    for key in ("records", "rmqMessagesByQueue"):
        if isinstance(event.get(key), dict):
            return [record for records in event[key].values() for record in records]
    return [event]


def fields_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with its payload decoded under the key that patterns use: `body`, `data` or
    `value`."""
    fields = dict(record)
    if "body" in record:
        fields["body"] = _parsed(record["body"])
    if isinstance(record.get("kinesis"), dict):
        fields["data"] = _decoded(record["kinesis"].get("data"))
    elif "value" in record:
        fields["value"] = _decoded(record["value"])
    elif "data" in record:
        fields["data"] = _decoded(record["data"])
    return fields


def _parsed(text: Any) -> Any:
    try:
        value = orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError):
        return text
    return value if isinstance(value, dict | list) else text


def _decoded(text: Any) -> Any:
    """Base64 text that holds UTF-8, parsed when it is JSON; what is neither stays as it is."""
    try:
        return _parsed(base64.b64decode(text, validate=True).decode())
    except (binascii.Error, TypeError, ValueError):
        return text
