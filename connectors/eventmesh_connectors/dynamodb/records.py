"""Changes of items as handlers see them (semantics 4.2). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from eventmesh.records import Record


class ChangeWriter:
    """Writes the records of one shard."""

    __slots__ = ("_arn", "_region", "_shard")

    def __init__(self, shard: str, arn: str, region: str) -> None:
        self._shard = shard
        self._arn = arn
        self._region = region

    def write(self, found: Mapping[str, Any]) -> Record:
        """The record of one member of a GetRecords answer, as it is on the wire: binary values are
        base64 texts, numbers are texts. Records of one item have the same key."""
        change: dict[str, Any] = found["dynamodb"]
        sequence_number: str = change["SequenceNumber"]
        created_at = float(change["ApproximateCreationDateTime"])
        event: dict[str, Any] = {
            "eventID": found["eventID"],
            "eventName": found["eventName"],
            "eventVersion": found.get("eventVersion", "1.1"),
            "eventSource": "aws:dynamodb",
            "awsRegion": found.get("awsRegion") or self._region,
            "dynamodb": change | {"ApproximateCreationDateTime": created_at},
        }
        if identity := found.get("userIdentity"):
            event["userIdentity"] = _lower(identity)
        event["eventSourceARN"] = self._arn
        return Record(
            sequence_number,
            orjson.dumps(event),
            created_at,
            self._shard,
            position=sequence_number,
            key=orjson.dumps(change["Keys"], option=orjson.OPT_SORT_KEYS).decode(),
        )


def _lower(identity: Mapping[str, str]) -> dict[str, str]:
    """Who made the change, spelled as in events: `Type` on the wire is `type` there."""
    return {name[:1].lower() + name[1:]: value for name, value in identity.items()}
