"""Kafka messages as records, and records as events (semantics 6.1, 6.3). Pure.

A record's JSON is written by formatting bytes: its value is base64, which needs no escaping, and
most of it is the same for all records of a partition.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from eventmesh.records import Record

from .client import Message, Partition

_TIMESTAMP_TYPES = {0: b"CREATE_TIME", 1: b"LOG_APPEND_TIME"}
_OPENINGS = (b"{", b"[")
#: of the year 9999: producers may write any timestamp
_LAST_SECOND = 253_402_300_799


class RecordWriter:
    """Writes the records of one partition."""

    def __init__(self, partition: Partition) -> None:
        self.shard = name_shard(partition)
        topic, number = partition
        self._event = (
            f'{{"topic":"{topic}","partition":{number},"offset":%b,"timestamp":%d,'
            '"timestampType":"%b","key":%b,"value":%b,"headers":%b}'
        ).encode()
        self._id = f'{{"offset":%s,"partition":"{self.shard}"}}'

    def write(self, messages: Sequence[Message], now: float) -> list[Record]:
        """Their records, in order. `now` (epoch seconds) stands in for times that are missing.

        The id is the object that a partial batch response names, as JSON with sorted keys.
        """
        shard, event_format, id_format = self.shard, self._event, self._id
        records = []
        for message in messages:
            key, value, timestamp = message.key, message.value, message.timestamp
            headers = message.headers
            offset = str(message.offset)
            coded_key = b"" if key is None else b2a_base64(key, newline=False)
            event = event_format % (
                offset.encode(),
                -1 if timestamp is None else timestamp,
                _TIMESTAMP_TYPES.get(message.timestamp_type, b"CREATE_TIME"),
                b"null" if key is None else b'"%b"' % coded_key,
                b"null" if value is None else b'"%b"' % b2a_base64(value, newline=False),
                _write_headers(headers) if headers else b"[]",
            )
            arrived_at = timestamp / 1000 if timestamp and timestamp > 0 else now
            records.append(
                Record(id_format % offset, event, arrived_at, shard, offset, coded_key.decode())
            )
        return records


class EnvelopeWriter:
    """Joins records to events, and describes them when they are given up."""

    def __init__(self, brokers: Sequence[str], event_source_arn: str | None = None) -> None:
        self._origin: dict[str, str] = {}
        if event_source_arn is not None:
            self._origin["eventSourceArn"] = event_source_arn
        self._origin["bootstrapServers"] = ",".join(brokers)
        name = "SelfManagedKafka" if event_source_arn is None else "aws:kafka"
        top = orjson.dumps({"eventSource": name, **self._origin})
        self._head = top[:-1] + b',"records":{'

    def join(self, records: Sequence[Record]) -> bytes:
        """The event: records by shard, in their order (semantics 6.1)."""
        parts = [
            b'"%b":[%b]' % (shard.encode(), b",".join([record.event for record in those]))
            for shard, those in _by_shard(records).items()
        ]
        return b"%b%b}}" % (self._head, b",".join(parts))

    def describe(self, records: Sequence[Record]) -> dict[str, Any]:
        """`KafkaBatchInfo` of an on-failure record (semantics 6.3)."""
        info = {
            shard: {
                "firstRecordOffset": those[0].position,
                "lastRecordOffset": those[-1].position,
                "firstRecordTimestamp": _iso_milliseconds(those[0].arrived_at),
                "lastRecordTimestamp": _iso_milliseconds(those[-1].arrived_at),
            }
            for shard, those in _by_shard(records).items()
        }
        size = len(self.join(records))
        batch = {"batchSize": len(records), **self._origin, "payloadSize": size}
        return {"KafkaBatchInfo": batch | {"recordsInfo": info}}


def read_fields(event: bytes) -> dict[str, Any]:
    """What filter patterns see of a record's JSON: key and value decoded (an object or array
    where it is one in JSON, else text, left out when neither), headers as name -> text.

    A header that comes several times is a list. (semantics 3.6)
    """
    fields: dict[str, Any] = orjson.loads(event)
    for name in ("key", "value"):
        if fields[name] is not None:
            try:
                fields[name] = _decode(a2b_base64(fields[name]))
            except UnicodeDecodeError:
                del fields[name]
    fields["headers"] = _decode_headers(fields["headers"])
    return fields


def name_shard(partition: Partition) -> str:
    """`orders-3`."""
    topic, number = partition
    return f"{topic}-{number}"


def parse_shard(shard: str) -> Partition:
    """The partition that `name_shard` named; a topic's name may hold dashes too."""
    topic, _, number = shard.rpartition("-")
    return topic, int(number)


def _by_shard(records: Sequence[Record]) -> Mapping[str, Sequence[Record]]:
    first = records[0].shard
    if records[-1].shard == first and len({record.shard for record in records}) == 1:
        return {first: records}
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.shard, []).append(record)
    return groups


def _write_headers(headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    """A list of one-entry maps, values as unsigned bytes; a header without a value has none."""
    return orjson.dumps([{name: list(value or b"")} for name, value in headers])


def _decode(payload: bytes) -> Any:
    if payload.lstrip()[:1] in _OPENINGS:
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError:
            pass
    return payload.decode()


def _decode_headers(headers: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Any]:
    values: dict[str, list[str]] = {}
    for header in headers:
        for name, value in header.items():
            try:
                values.setdefault(name, []).append(bytes(value).decode())
            except UnicodeDecodeError:
                continue
    return {name: texts[0] if len(texts) == 1 else texts for name, texts in values.items() if texts}


def _iso_milliseconds(epoch_seconds: float) -> str:
    moment = datetime.fromtimestamp(min(epoch_seconds, _LAST_SECOND), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
