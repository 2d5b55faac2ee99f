"""When batches close, to the byte and the moment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventmesh.mappings.batcher import Batch, Batcher, events_bytes
from eventmesh.mappings.policy import LARGEST_EVENT_BYTES, MappingPolicy
from eventmesh.records import Record
from tests.unit.mappings.harness import record


def ids(batch: Batch | None) -> list[str]:
    return [] if batch is None else [r.id.removeprefix("id-") for r in batch.records]


def some(count: int, size: int = 2) -> list[Record]:
    return [record(number, size=size) for number in range(count)]


def test_six_megabytes() -> None:
    assert LARGEST_EVENT_BYTES == 6_291_456


def test_without_a_window_whatever_is_there_goes() -> None:
    batcher = Batcher(MappingPolicy(batch_size=3), 0.0)
    assert batcher.take(0.0) is None
    assert batcher.due_at() is None
    batcher.add(some(2), 5.0)
    batch = batcher.take(5.0)
    assert batch == Batch(some(2), "window", 6)
    assert len(batcher) == 0


def test_a_full_batch_goes_at_once_and_leaves_the_rest() -> None:
    batcher = Batcher(MappingPolicy(batch_size=3, window_seconds=10), 0.0)
    batcher.add(some(4), 1.0)
    batch = batcher.take(1.0)
    assert (ids(batch), batch and batch.reason) == (["0", "1", "2"], "size")
    assert batcher.take(1.0) is None
    assert ids(batcher.take(1.0, drain=True)) == ["3"]


def test_the_window_counts_from_the_end_of_the_last_invocation() -> None:
    batcher = Batcher(MappingPolicy(window_seconds=10), 0.0)
    batcher.restart_window(100.0)
    batcher.add(some(1), 107.0)
    assert batcher.due_at() == 110.0
    assert batcher.take(109.9) is None
    assert ids(batcher.take(110.0)) == ["0"]


def test_windows_that_went_by_empty_do_not_count() -> None:
    batcher = Batcher(MappingPolicy(window_seconds=10), 0.0)
    batcher.add(some(1), 27.0)
    assert batcher.due_at() == 30.0


def test_the_window_may_count_from_the_first_record() -> None:
    batcher = Batcher(MappingPolicy(window_seconds=10, window_from_first_record=True), 0.0)
    batcher.restart_window(100.0)
    batcher.add(some(1), 107.0)
    batcher.add(some(1), 112.0)
    assert batcher.due_at() == 117.0


def test_a_batch_is_cut_where_the_event_would_get_too_large() -> None:
    # overhead 14, each record 10 and a separator: 14 + 3 * 11 = 47 fits, 58 does not
    policy = MappingPolicy(window_seconds=10, largest_event_bytes=57)
    batcher = Batcher(policy, 0.0, overhead_bytes=14)
    batcher.add(some(3, size=10), 0.0)
    assert batcher.take(0.0) is None
    batcher.add(some(1, size=10), 0.0)
    assert batcher.take(0.0) == Batch(some(3, size=10), "bytes", 47)
    assert len(batcher) == 1


def test_a_record_too_large_for_any_event_stands_alone() -> None:
    batcher = Batcher(MappingPolicy(largest_event_bytes=50), 0.0, overhead_bytes=14)
    records = [record(0, size=10), record(1, size=100), record(2, size=10)]
    batcher.add(records, 0.0)
    taken = [batcher.take(0.0) for _ in range(3)]
    assert [(ids(b), b.reason) for b in taken if b] == [
        (["0"], "bytes"),
        (["1"], "oversize"),
        (["2"], "window"),
    ]


def test_room_may_be_reserved() -> None:
    batcher = Batcher(MappingPolicy(largest_event_bytes=40), 0.0)
    batcher.add(some(3, size=10), 0.0)
    assert ids(batcher.take(0.0, reserved_bytes=10)) == ["0", "1"]


@given(
    st.lists(st.lists(st.integers(2, 60), max_size=8), max_size=8),
    st.integers(1, 5),
    st.integers(30, 120),
)
def test_every_record_leaves_once_in_order_in_small_enough_batches(
    sizes: list[list[int]], batch_size: int, largest: int
) -> None:
    policy = MappingPolicy(batch_size=batch_size, largest_event_bytes=largest, window_seconds=1)
    batcher = Batcher(policy, 0.0, overhead_bytes=10)
    put, taken, number = [], [], 0
    for now, chunk in enumerate([*sizes, []]):
        records = [record(number + n, size=size) for n, size in enumerate(chunk)]
        number += len(chunk)
        put += records
        batcher.add(records, float(now))
        while (batch := batcher.take(float(now), drain=now == len(sizes))) is not None:
            taken += batch.records
            assert 1 <= len(batch.records) <= batch_size
            assert batch.size_bytes == events_bytes(batch.records) + 10
            assert batch.size_bytes <= largest or batch.reason == "oversize"
        assert batcher.size_bytes == events_bytes(batcher.records)
    assert taken == put
