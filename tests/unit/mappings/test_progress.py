"""The low watermark never passes an unfinished record (I1) and never goes back (I3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.mappings.progress import ShardProgress


def test_one_lane() -> None:
    progress = ShardProgress(1)
    assert progress.watermark is None
    assert progress.read(["a", "b", "c"]) == 0
    progress.assign(0, range(3))
    assert (progress.watermark, progress.pending) == (None, 3)
    progress.finish(0, 2)
    assert (progress.watermark, progress.pending, progress.span) == ("b", 1, 1)
    progress.finish(0, 1)
    assert progress.watermark == "c"
    assert progress.read(["d"]) == 3


def test_filtered_records_are_finished() -> None:
    progress = ShardProgress(1)
    progress.read(["a", "b", "c"])
    progress.assign(0, [1])
    assert progress.watermark == "a"
    progress.finish(0, 1)
    assert progress.watermark == "c"


def test_a_slow_lane_holds_the_watermark() -> None:
    progress = ShardProgress(2)
    progress.read(["a", "b", "c", "d"])
    progress.assign(0, [0, 2])
    progress.assign(1, [1, 3])
    progress.finish(1, 2)
    assert progress.watermark is None
    progress.finish(0, 1)
    assert progress.watermark == "b"
    progress.finish(0, 1)
    assert progress.watermark == "d"


def test_finishing_more_than_there_is_breaks_an_invariant() -> None:
    progress = ShardProgress(1)
    progress.read(["a"])
    progress.assign(0, [0])
    with pytest.raises(AssertionError, match="no-skip"):
        progress.finish(0, 2)


@given(st.data())
def test_it_agrees_with_the_plainest_model(data: st.DataObject) -> None:
    lanes = data.draw(st.integers(1, 4))
    progress = ShardProgress(lanes)
    waiting: list[list[int]] = [[] for _ in range(lanes)]
    count, last = 0, -1
    for _ in range(data.draw(st.integers(0, 15))):
        if data.draw(st.booleans()):
            new = data.draw(st.integers(1, 6))
            assert progress.read([str(count + n) for n in range(new)]) == count
            owners = [data.draw(st.integers(-1, lanes - 1)) for _ in range(new)]
            for lane in range(lanes):
                mine = [count + n for n, owner in enumerate(owners) if owner == lane]
                progress.assign(lane, mine)
                waiting[lane] += mine
            count += new
        else:
            lane = data.draw(st.integers(0, lanes - 1))
            done = data.draw(st.integers(0, len(waiting[lane])))
            progress.finish(lane, done)
            del waiting[lane][:done]
        unfinished = [number for lane_numbers in waiting for number in lane_numbers]
        expected = min(unfinished, default=count) - 1
        assert progress.watermark == (str(expected) if expected >= 0 else None)
        assert progress.pending == len(unfinished)
        assert expected >= last
        last = expected
