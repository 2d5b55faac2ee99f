"""What is told about a mapping before it runs."""

from __future__ import annotations

from typing import Any

import pytest

from eventmesh.mappings.advice import mistakes, traps
from eventmesh.pulling import QueueOptions, StreamOptions


def queue(**settings: Any) -> QueueOptions:
    return QueueOptions.model_validate(settings)


def stream(**settings: Any) -> StreamOptions:
    return StreamOptions.model_validate(settings)


def test_every_bad_pattern_is_a_mistake_with_its_place() -> None:
    options = queue(filters=[{"body": {"n": [1]}}, {"body": "x"}, {"a": [{"prefx": "b"}]}])
    found = mistakes(options)
    assert len(found) == 2
    assert found[0].startswith("filters[1].body: ")
    assert "prefx" in found[1]


@pytest.mark.parametrize(
    ("options", "records_failures", "expected"),
    [
        (queue(), False, []),
        (stream(), False, []),
        (queue(max_retries=3), True, []),
        (queue(max_retries=3), False, ["records that are given up are recorded nowhere"]),
        (stream(max_record_age="1h"), False, ["records that are given up are recorded nowhere"]),
        (stream(), True, ["on_failure is set, but retries never end"]),
        (stream(starting_position="latest"), False, ["starting_position: latest misses"]),
        (queue(bisect_on_error=True), False, ["a record that bisecting has isolated"]),
    ],
)
def test_traps(options: Any, records_failures: bool, expected: list[str]) -> None:
    found = traps(options, records_failures=records_failures)
    assert len(found) == len(expected)
    for text, beginning in zip(found, expected, strict=True):
        assert text.startswith(beginning)
