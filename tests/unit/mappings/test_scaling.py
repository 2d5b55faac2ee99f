"""How many batches of a queue may be in flight, and which wait for their group."""

from __future__ import annotations

import pytest

from eventmesh.mappings.groups import MessageGroups
from eventmesh.mappings.scaling import ConcurrencyScale
from tests.unit.mappings.harness import record


def test_a_maximum_is_kept() -> None:
    scale = ConcurrencyScale(3, 100, 0.0)
    scale.observe(3, 1000.0)
    assert scale.limit == 3
    assert ConcurrencyScale(50, 10, 0.0).limit == 10


def test_it_grows_while_every_slot_is_busy() -> None:
    scale = ConcurrencyScale(None, 100, 0.0)
    assert scale.limit == 5
    scale.observe(5, 10.0)
    assert scale.limit == 5
    scale.observe(5, 11.0)
    assert scale.limit == 10
    scale.observe(9, 12.0)
    scale.observe(10, 20.0)
    assert scale.limit == 10
    for second in range(21, 60):
        scale.observe(100, float(second))
    assert scale.limit == 100


def test_it_starts_over_after_a_minute_of_rest() -> None:
    scale = ConcurrencyScale(None, 100, 0.0)
    scale.observe(5, 0.0)
    scale.observe(5, 2.0)
    assert scale.limit == 15
    scale.observe(0, 61.0)
    assert scale.limit == 15
    scale.observe(0, 62.0)
    assert scale.limit == 5


def test_a_small_mesh_bounds_the_start() -> None:
    assert ConcurrencyScale(None, 2, 0.0).limit == 2


def test_records_of_a_busy_group_wait_in_order() -> None:
    groups = MessageGroups()
    a1, a2, a3, b1 = (record(n, key=k) for n, k in enumerate("aaab"))
    loose = record(9)
    keys = groups.begin([a1, loose])
    assert keys == {"a"}
    assert list(groups.admit([a2, b1, a3, loose])) == [b1, loose]
    assert (len(groups), list(groups.waiting)) == (2, [a2, a3])
    assert groups.end(keys) == [a2, a3]
    assert list(groups.admit([a2])) == [a2]


def test_a_group_is_in_flight_once() -> None:
    groups = MessageGroups()
    groups.begin([record(1, key="a")])
    with pytest.raises(AssertionError, match="single-flight"):
        groups.begin([record(2, key="a")])


def test_what_waits_for_a_failed_group_is_taken_out() -> None:
    groups = MessageGroups()
    keys = groups.begin([record(1, key="a"), record(2, key="b")])
    groups.admit([record(3, key="a"), record(4, key="b")])
    assert [r.id for r in groups.take({"a"})] == ["id-3"]
    assert [r.id for r in groups.end(keys)] == ["id-4"]
