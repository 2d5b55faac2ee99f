"""The JSON of Kafka records and events, and what filters see of them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh.mappings.responses import canonical_identifier, failed_indexes
from eventmesh.records import Record
from eventmesh_connectors.kafka import connector
from eventmesh_connectors.kafka.records import (
    EnvelopeWriter,
    RecordWriter,
    name_shard,
    read_fields,
)
from eventmesh_connectors.kafka.samples import SampleMessage as Message

ARN = "arn:aws:kafka:us-east-1:1:cluster/c/1"


def write(*messages: Message, shard: tuple[str, int] = ("orders", 3)) -> list[Record]:
    return RecordWriter(shard).write(messages, 99.5)


def test_a_record_is_written_to_the_byte() -> None:
    [record] = write(
        Message(15, 1_545_084_650_987, 0, b"ab", b"Hello", (("h", b"hel"), ("e", None)))
    )
    assert record.event == (
        b'{"topic":"orders","partition":3,"offset":15,"timestamp":1545084650987,'
        b'"timestampType":"CREATE_TIME","key":"YWI=","value":"SGVsbG8=",'
        b'"headers":[{"h":[104,101,108]},{"e":[]}]}'
    )
    assert record == Record(
        id='{"offset":15,"partition":"orders-3"}',
        event=record.event,
        arrived_at=1_545_084_650.987,
        shard="orders-3",
        position="15",
        key="YWI=",
    )


def test_what_is_missing_is_null_and_empty_is_empty() -> None:
    gone, empty = write(Message(0, 1000, 1, None, None, ()), Message(1, 2000, 1, b"", b"", ()))
    assert json.loads(gone.event) == {
        "topic": "orders",
        "partition": 3,
        "offset": 0,
        "timestamp": 1000,
        "timestampType": "LOG_APPEND_TIME",
        "key": None,
        "value": None,
        "headers": [],
    }
    assert (gone.key, gone.arrived_at) == ("", 1.0)
    assert [json.loads(empty.event)[name] for name in ("key", "value")] == ["", ""]


@pytest.mark.parametrize("timestamp", [None, -1, 0])
def test_a_record_without_a_time_arrived_now(timestamp: int | None) -> None:
    [record] = write(Message(timestamp=timestamp))
    assert record.arrived_at == 99.5
    assert json.loads(record.event)["timestamp"] == (0 if timestamp == 0 else -1)


@settings(max_examples=60)
@given(
    st.binary(max_size=40) | st.none(),
    st.binary(max_size=200) | st.none(),
    st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=8)), max_size=3),
    st.integers(0, 2**63 - 1),
    st.integers(1, 2**63 - 1),
)
def test_every_record_is_json_that_says_what_was_written(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes]],
    offset: int,
    timestamp: int,
) -> None:
    envelope = EnvelopeWriter(["a:1"])
    records = write(Message(offset, timestamp, 0, key, value, tuple(headers)))
    [found] = json.loads(envelope.join(records))["records"]["orders-3"]
    assert (found["offset"], found["timestamp"]) == (offset, timestamp)
    for name, sent in (("key", key), ("value", value)):
        assert (None if found[name] is None else base64.b64decode(found[name])) == sent
    assert [(n, bytes(v)) for one in found["headers"] for n, v in one.items()] == headers
    assert envelope.describe(records)["KafkaBatchInfo"]["payloadSize"] > 0


def test_ids_are_what_a_partial_response_names() -> None:
    records = write(*(Message(offset) for offset in range(3)))
    named: Any = {"partition": "orders-3", "offset": 1}
    assert canonical_identifier(named) == records[1].id
    report = json.dumps({"batchItemFailures": [{"itemIdentifier": named}]}).encode()
    assert failed_indexes(report, records) == [1]


# events


def test_records_of_several_shards_keep_their_order() -> None:
    a = write(Message(1), Message(2), shard=("t", 0))
    b = write(Message(7), Message(9), shard=("t", 1))
    event = EnvelopeWriter(["a:1", "b:2"]).join([a[0], b[0], a[1], b[1]])
    found = json.loads(event)
    assert list(found) == ["eventSource", "bootstrapServers", "records"]
    assert (found["eventSource"], found["bootstrapServers"]) == ("SelfManagedKafka", "a:1,b:2")
    offsets = {shard: [r["offset"] for r in some] for shard, some in found["records"].items()}
    assert offsets == {"t-0": [1, 2], "t-1": [7, 9]}
    assert event == json.dumps(found, separators=(",", ":")).encode()


def test_the_event_of_msk_names_the_cluster() -> None:
    found = json.loads(EnvelopeWriter(["a:1"], ARN).join(write(Message())))
    assert list(found) == ["eventSource", "eventSourceArn", "bootstrapServers", "records"]
    assert (found["eventSource"], found["eventSourceArn"]) == ("aws:kafka", ARN)


def test_batch_info() -> None:
    records = write(Message(49, 1_573_691_884_835), Message(50, 1_573_691_885_000))
    envelope = EnvelopeWriter(["a:1"], ARN)
    assert envelope.describe(records) == {
        "KafkaBatchInfo": {
            "batchSize": 2,
            "eventSourceArn": ARN,
            "bootstrapServers": "a:1",
            "payloadSize": len(envelope.join(records)),
            "recordsInfo": {
                "orders-3": {
                    "firstRecordOffset": "49",
                    "lastRecordOffset": "50",
                    "firstRecordTimestamp": "2019-11-14T00:38:04.835Z",
                    "lastRecordTimestamp": "2019-11-14T00:38:05.000Z",
                }
            },
        }
    }


def test_samples_are_real_events() -> None:
    assert set(connector.sample_events) == {"self-managed-kafka", "msk"}
    record = connector.sample_events["self-managed-kafka"]["records"]["orders-0"][0]
    assert base64.b64decode(record["value"]) == b'{"type":"order.paid","total":100}'


# filters


@pytest.mark.parametrize(
    ("payload", "seen"),
    [
        (b'{"a":[1]}', {"a": [1]}),
        (b" [1,2]", [1, 2]),
        (b"plain", "plain"),
        (b"17", "17"),
        (b"{broken", "{broken"),
        (b"", ""),
        (None, None),
    ],
)
def test_payloads_are_decoded_for_filters(payload: bytes | None, seen: Any) -> None:
    [record] = write(Message(key=payload, value=payload))
    fields = read_fields(record.event)
    assert (fields["key"], fields["value"]) == (seen, seen)
    assert (fields["topic"], fields["partition"], fields["offset"]) == ("orders", 3, 15)


def test_payloads_that_are_no_text_are_left_out() -> None:
    [record] = write(Message(value=b"\xff\xfe", headers=(("bad", b"\xff"), ("good", b"x"))))
    fields = read_fields(record.event)
    assert "value" not in fields
    assert fields["headers"] == {"good": "x"}


def test_headers_are_seen_by_name() -> None:
    [record] = write(Message(headers=(("a", b"1"), ("b", b"2"), ("a", b"3"))))
    assert read_fields(record.event)["headers"] == {"a": ["1", "3"], "b": "2"}


def test_shards_are_named_after_topic_and_partition() -> None:
    assert name_shard(("orders-0", 12)) == "orders-0-12"
