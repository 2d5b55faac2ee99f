"""Reading one shard: pace, read-ahead, throttling, expired iterators, the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.errors import PositionExpired, SourceExhausted, SourceUnavailable
from eventmesh.records import Record
from eventmesh.testing import FakeClock
from eventmesh_connectors.shards import IteratorExpired, Pace, SequenceReader, Start, Throttled
from eventmesh_connectors.shards.reader import Place, backoff
from tests.unit.connectors.memory_shards import MemoryShards

TRIM = Start("TRIM_HORIZON")
PACE = Pace(1.0, 10)


class Watch:
    """What the reader asked and told."""

    def __init__(self) -> None:
        self.stopped = ""
        self.ends: list[str] = []
        self.gone: list[str] = []

    def check(self) -> None:
        if self.stopped:
            raise SourceUnavailable(self.stopped)

    def ended(self, shard: str) -> None:
        self.ends.append(shard)

    async def confirm_gone(self, shard: str) -> None:
        self.gone.append(shard)


@pytest.fixture
def api(clock: FakeClock) -> MemoryShards:
    api = MemoryShards(clock)
    api.add("a")
    return api


@pytest.fixture
def watch() -> Watch:
    return Watch()


async def opened(
    api: MemoryShards, clock: FakeClock, watch: Watch, start: Start = TRIM, pace: Pace = PACE
) -> SequenceReader:
    reader = SequenceReader(api, Place("a", start), clock, pace, watch)
    await reader.open()
    return reader


def ids(records: Sequence[Record]) -> list[int]:
    return [int(record.id) for record in records]


async def started(clock: FakeClock, awaitable: Any) -> asyncio.Task[Any]:
    task = asyncio.ensure_future(awaitable)
    await clock.advance(0)
    return task


async def test_reads_ahead_and_hands_out_in_order(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a", 25)
    reader = await opened(api, clock, watch)
    taken = [ids(await reader.read(4)) for _ in range(8)]
    assert [len(some) for some in taken] == [4, 4, 2, 4, 4, 2, 4, 1]
    assert sum(taken, []) == list(range(1, 26))
    # read-ahead is a page at a time, without a pause while more is there
    assert api.got == [("a", 10)] * 3
    assert clock.monotonic() == 1000


async def test_caught_up_waits_for_the_poll_interval(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a", 3)
    reader = await opened(api, clock, watch)
    assert ids(await reader.read(10)) == [1, 2, 3]
    reading = await started(clock, reader.read(10))
    api.put("a")
    await clock.advance(0.99)
    assert not reading.done()
    assert len(api.got) == 1
    await clock.advance(0.01)
    assert ids(reading.result()) == [4]


async def test_empty_reads_are_an_interval_apart(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    reader = await opened(api, clock, watch)
    assert await reader.read(10) == []
    for second in range(1, 4):
        reading = await started(clock, reader.read(10))
        assert not reading.done()
        await clock.advance(1)
        assert reading.result() == []
        assert len(api.got) == 1 + second


async def test_empty_pages_of_a_shard_that_is_behind_keep_to_five_reads_a_second(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.says_behind = True
    reader = await opened(api, clock, watch)
    await reader.read(10)
    reading = await started(clock, reader.read(10))
    await clock.advance(0.19)
    assert not reading.done()
    await clock.advance(0.01)
    assert reading.done()


async def test_throttling_backs_off_and_keeps_the_place(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a", 12)
    reader = await opened(api, clock, watch)
    assert ids(await reader.read(10)) == list(range(1, 11))
    api.faults["get"].extend([Throttled("slow"), Throttled("slow")])
    assert await reader.read(10) == []
    second = await started(clock, reader.read(10))
    await clock.advance(0.9)  # the first wait is 1 to 2 s
    assert not second.done()
    await clock.advance(1.1)
    assert second.result() == []
    third = await started(clock, reader.read(10))
    await clock.advance(0.9)  # the next one 2 to 4 s
    assert not third.done()
    await clock.advance(3.1)
    assert ids(third.result()) == [11, 12]
    assert [start.kind for _, start in api.found] == ["TRIM_HORIZON"]


async def test_an_expired_iterator_is_replaced_behind_the_last_record_read(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a", 12)
    reader = await opened(api, clock, watch)
    assert ids(await reader.read(3)) == [1, 2, 3]
    api.faults["get"].append(IteratorExpired("old"))
    assert ids(await reader.read(10)) == [4, 5, 6, 7, 8, 9, 10]
    assert await reader.read(10) == []
    assert ids(await reader.read(10)) == [11, 12]
    assert api.found[-1] == ("a", Start("AFTER_SEQUENCE_NUMBER", "10"))


async def test_an_expired_iterator_of_a_resumed_shard_goes_back_to_its_position(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a", 5)
    reader = await opened(api, clock, watch, Start("AFTER_SEQUENCE_NUMBER", "3"))
    api.faults["get"].append(IteratorExpired("old"))
    assert await reader.read(10) == []
    assert ids(await reader.read(10)) == [4, 5]
    assert {start for _, start in api.found} == {Start("AFTER_SEQUENCE_NUMBER", "3")}


async def test_latest_stays_where_it_was_when_its_iterator_expires(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a", 5)
    await clock.advance(10)
    reader = await opened(api, clock, watch, Start("LATEST"))
    began = clock.now()
    assert await reader.read(10) == []
    await clock.advance(600)
    api.put("a", 2)
    api.faults["get"].append(IteratorExpired("old"))
    assert await reader.read(10) == []
    assert ids(await reader.read(10)) == [6, 7]
    assert api.found[-1] == ("a", Start("AT_TIMESTAMP", at=began - 1))


async def test_latest_gives_all_that_comes_however_the_service_rounds_its_times(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    reader = await opened(api, clock, watch, Start("LATEST"))
    clock.step(-60)
    api.put("a", 2)
    assert ids(await reader.read(10)) == [1, 2]


async def test_a_start_in_the_middle_of_a_second_is_kept(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a")
    await clock.advance(0.5)
    api.put("a")
    reader = await opened(api, clock, watch, Start("AT_TIMESTAMP", at=clock.now() - 0.1))
    assert ids(await reader.read(10)) == [2]


async def test_a_service_that_repeats_after_a_new_iterator_repeats_nothing_here(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a", 10)
    reader = await opened(api, clock, watch, Start("AFTER_SEQUENCE_NUMBER", "8"))
    reader._token = "7"  # an emulator that starts at, not after
    assert ids(await reader.read(10)) == [9, 10]


async def test_iterators_that_are_always_refused_end_in_an_error_that_says_so(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    reader = await opened(api, clock, watch)
    api.faults["get"].extend([IteratorExpired("bogus")] * 4)
    for _ in range(3):
        assert await reader.read(10) == []
    with pytest.raises(SourceUnavailable, match=r"shard a: every iterator is refused \(bogus\)"):
        await reader.read(10)


async def test_a_throttled_renewal_is_tried_again(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a", 2)
    reader = await opened(api, clock, watch)
    api.faults["get"].extend([IteratorExpired("old"), IteratorExpired("old")])
    api.faults["find"].append(Throttled("slow"))
    assert await reader.read(10) == []
    reading = await started(clock, reader.read(10))
    await clock.advance(2)
    assert reading.result() == []
    assert ids(await reader.read(10)) == [1, 2]


async def test_a_shard_that_vanishes_with_its_iterator_is_exhausted(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    reader = await opened(api, clock, watch)
    api.faults["get"].append(IteratorExpired("old"))
    del api.shards["a"]
    assert await reader.read(10) == []
    assert watch.gone == ["a"]


async def test_a_position_trimmed_while_its_iterator_expired_is_told(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    reader = await opened(api, clock, watch, Start("AFTER_SEQUENCE_NUMBER", "3"))
    api.faults["get"].append(IteratorExpired("old"))
    api.faults["find"].append(PositionExpired("trimmed"))
    with pytest.raises(PositionExpired, match="trimmed"):
        await reader.read(10)


async def test_a_closed_shard_gives_its_last_records_before_it_is_exhausted(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a", 12)
    api.shards["a"].closed = True
    reader = await opened(api, clock, watch)
    assert ids(await reader.read(10)) == list(range(1, 11))
    assert ids(await reader.read(1)) == [11]
    assert watch.ends == []
    assert ids(await reader.read(1)) == [12]
    with pytest.raises(SourceExhausted, match="shard a is closed and read to its end"):
        await reader.read(10)
    assert watch.ends == ["a"]
    assert clock.monotonic() == 1000


async def test_an_empty_closed_shard_is_exhausted(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.shards["a"].closed = True
    reader = await opened(api, clock, watch)
    assert await reader.read(10) == []
    with pytest.raises(SourceExhausted):
        await reader.read(10)


async def test_a_failed_read_leaves_the_reader_where_it_was(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a", 3)
    reader = await opened(api, clock, watch)
    api.faults["get"].append(SourceUnavailable("no connection"))
    with pytest.raises(SourceUnavailable):
        await reader.read(10)
    assert ids(await reader.read(10)) == [1, 2, 3]


async def test_trimmed_records_are_told(api: MemoryShards, clock: FakeClock, watch: Watch) -> None:
    reader = await opened(api, clock, watch)
    api.faults["get"].append(PositionExpired("trimmed"))
    with pytest.raises(PositionExpired, match="trimmed"):
        await reader.read(10)


async def test_a_shard_that_vanishes_is_exhausted_once_that_is_confirmed(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    reader = await opened(api, clock, watch)
    del api.shards["a"]
    assert await reader.read(10) == []
    assert watch.gone == ["a"]
    with pytest.raises(SourceExhausted):
        await reader.read(10)


async def test_nothing_is_read_of_a_stream_that_was_replaced(
    api: MemoryShards, clock: FakeClock, watch: Watch
) -> None:
    api.put("a")
    reader = await opened(api, clock, watch)
    watch.stopped = "another stream"
    with pytest.raises(SourceUnavailable, match="another stream"):
        await reader.read(10)
    assert api.got == []


@given(st.integers(1, 1000), st.floats(0.01, 60), st.integers())
def test_backoff_doubles_up_to_half_a_minute(failures: int, interval: float, seed: int) -> None:
    wait = backoff(failures, interval, Random(seed))
    longest = min(30.0, interval * 2.0 ** min(failures, 16))
    assert longest / 2 <= wait <= longest
