"""Kinesis records as handlers see them (semantics 4.2). Pure."""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any

import orjson

from eventmesh.records import Record
from eventmesh_connectors.shards.events import read_fields

#: not what a failure to decode gives
_UNREADABLE = object()


class KinesisWriter:
    """Writes the records of one shard; all that they share is encoded once."""

    __slots__ = ("_between", "_shard", "_tail")

    def __init__(self, shard: str, arn: str, region: str, role_arn: str) -> None:
        self._shard = shard
        self._between = b'},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"%s:' % (
            shard.encode()
        )
        self._tail = (
            b'","eventName":"aws:kinesis:record","invokeIdentityArn":%s,"awsRegion":%s,'
            b'"eventSourceARN":%s}'
            % (orjson.dumps(role_arn), orjson.dumps(region), orjson.dumps(arn))
        )

    def write(self, found: Mapping[str, Any]) -> Record:
        """The record of one member of a GetRecords answer, as it is on the wire, where data is
        base64 already. An aggregated record (KPL) stays one record."""
        sequence_number: str = found["SequenceNumber"]
        key: str = found["PartitionKey"]
        arrived_at = float(found["ApproximateArrivalTimestamp"])
        data: str = found["Data"]
        number = sequence_number.encode()
        event = b"".join(
            (
                b'{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":',
                orjson.dumps(key),
                b',"sequenceNumber":"',
                number,
                b'","data":"',
                data.encode(),
                b'","approximateArrivalTimestamp":',
                repr(arrived_at).encode(),
                self._between,
                number,
                self._tail,
            )
        )
        return Record(
            sequence_number, event, arrived_at, self._shard, position=sequence_number, key=key
        )


def kinesis_fields(record: Record) -> dict[str, Any]:
    """What filter patterns see: the payload decoded under `data`, the metadata beside it (semantics
    3.6)."""
    fields = read_fields(record)
    fields |= fields.pop("kinesis")
    data = decode_payload(a2b_base64(fields.pop("data")))
    if data is not _UNREADABLE:
        fields["data"] = data
    return fields


def decode_payload(data: bytes) -> Any:
    """A JSON object or array, else text; `_UNREADABLE` when it is not UTF-8."""
    if data.lstrip()[:1] in (b"{", b"["):
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _UNREADABLE
