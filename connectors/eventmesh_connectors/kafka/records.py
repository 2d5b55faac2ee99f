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

_NO_TIMESTAMP = -1
_NO_HEADERS = b"[]}"
_OPENINGS = (b"{", b"[")
#: of the year 9999: producers may write any timestamp
_LAST_SECOND = 253_402_300_799


class RecordWriter:
    """Writes the records of one partition."""

    def __init__(self, partition: Partition) -> None:
        self.shard = name_shard(partition)
        topic, number = partition
        self._head = f'{{"topic":"{topic}","partition":{number},"offset":'

    def write(self, messages: Sequence[Message], now: float) -> list[Record]:
        """Their records, in order. `now` (epoch seconds) stands in for times that are missing.

        The id is the object that a partial batch response names, as JSON with sorted keys.
        """
        shard, head, join = self.shard, self._head, b"".join
        records = []
        for message in messages:
            key, value, timestamp = message.key, message.value, message.timestamp
            headers, offset = message.headers, str(message.offset)
            if timestamp is None:
                timestamp = _NO_TIMESTAMP
            kind = "LOG_APPEND_TIME" if message.timestamp_type == 1 else "CREATE_TIME"
            coded_key = "" if key is None else b2a_base64(key, newline=False).decode()
            shown_key = "null" if key is None else f'"{coded_key}"'
            start = (
                f'{head}{offset},"timestamp":{timestamp},"timestampType":"{kind}",'
                f'"key":{shown_key},"value":'
            ).encode()
            end = b"%b}" % _write_headers(headers) if headers else _NO_HEADERS
            if value is None:
                event = join((start, b"null", b',"headers":', end))
            else:
                coded = b2a_base64(value, newline=False)
                event = join((start, b'"', coded, b'","headers":', end))
            arrived_at = timestamp / 1000 if timestamp > 0 else now
            records.append(
                Record(
                    f'{{"offset":{offset},"partition":"{shard}"}}',
                    event, arrived_at, shard, offset, coded_key,
                )
            )  # fmt: skip
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
        """The event: records by shard, in their order (semantics 6.1). Copies each byte once."""
        events: list[bytes] = []
        opening = self._head
        for shard, those in _by_shard(records).items():
            first = len(events)
            events += [record.event for record in those]
            events[first] = b'%b"%b":[%b' % (opening, shard.encode(), events[first])
            events[-1] += b"]"
            opening = b""
        events[-1] += b"}}"
        return b",".join(events)

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
