"""Partial batch responses, case by case (semantics 4.5, 5.3, 6.3)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.mappings.responses import canonical_identifier, failed_indexes, with_followers
from tests.unit.mappings.harness import record

RECORDS = [record(number) for number in range(4)]


def report(*identifiers: object) -> bytes:
    return json.dumps(
        {"batchItemFailures": [{"itemIdentifier": one} for one in identifiers]}
    ).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"null", b'""', b"[]", b"{}", b'{"batchItemFailures":[]}',
        b'{"batchItemFailures": null}', b' {"batchItemFailures" : [ ] } ', b'{"other": 1}',
    ],
)  # fmt: skip
def test_complete_success(payload: bytes) -> None:
    assert list(failed_indexes(payload, RECORDS)) == []


@pytest.mark.parametrize(
    "payload",
    [
        report(""), report(None), report(7), report(True), report(["id-1"]), report("unknown"),
        report("id-1", "unknown"), report({"partition": "t-0", "offset": 1}),
        b'{"batchItemFailures":[{"foo":"id-1"}]}', b'{"batchItemFailures":["id-1"]}',
        b'{"batchItemFailures":[{}]}', b'{"batchItemFailures":"id-1"}',
        b'{"batchItemFailures":{"itemIdentifier":"id-1"}}', b"nonsense", b"\xff", b"5",
        b'"done"', b"[1]", b"true", b"[" * 100_000,
    ],
)  # fmt: skip
def test_complete_failure(payload: bytes) -> None:
    assert list(failed_indexes(payload, RECORDS)) == [0, 1, 2, 3]


def test_some_failed() -> None:
    assert list(failed_indexes(report("id-3", "id-1", "id-3"), RECORDS)) == [1, 3]


def test_order_is_that_of_the_batch_not_of_the_text() -> None:
    records = [replace(record(0), id=str(number)) for number in (9, 10, 100)]
    assert min(failed_indexes(report("100", "10"), records)) == 1


def test_kafka_identifiers_are_objects() -> None:
    name = canonical_identifier({"partition": "täg-0", "offset": 15})
    assert name == '{"offset":15,"partition":"täg-0"}'
    records = [record(0), replace(record(1), id=name), record(2)]
    assert list(failed_indexes(report({"offset": 15, "partition": "täg-0"}), records)) == [1]
    assert list(failed_indexes(report(name), records)) == [1]
    wrong = report({"offset": "15", "partition": "täg-0"})
    assert list(failed_indexes(wrong, records)) == [0, 1, 2]


def test_one_id_received_twice_names_both() -> None:
    assert list(failed_indexes(report("id-1"), [record(1), record(2), record(1)])) == [0, 2]


def test_later_records_of_a_failed_group_fail_too() -> None:
    keys = ["a", "b", "a", "", "b", ""]
    records = [record(number, key=key) for number, key in enumerate(keys)]
    assert list(with_followers([0], records)) == [0, 2]
    assert list(with_followers([2, 3], records)) == [2, 3]
    assert list(with_followers([], records)) == []


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_result_breaks_it(payload: bytes) -> None:
    assert list(failed_indexes(payload, RECORDS)) in ([], [0, 1, 2, 3])
