"""Following the shards and opening them: starting positions, streams that are replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from eventmesh.errors import PositionExpired, SourceExhausted, SourceUnavailable
from eventmesh.pulling import StreamOptions
from eventmesh.testing import FakeClock
from eventmesh_connectors.shards import Pace, ShardedSource, ShardGone, Start, Throttled
from tests.unit.connectors.memory_shards import ARN, MemoryShards
from tests.unit.connectors.recording_target import RecordingTarget, make_context

Shards = AsyncIterator[Mapping[str, Sequence[str]]]


class Options(StreamOptions):
    @property
    def resource(self) -> str:
        return "orders"


@pytest.fixture
def api(clock: FakeClock) -> MemoryShards:
    return MemoryShards(clock)


def source_of(api: MemoryShards, clock: FakeClock, **options: Any) -> ShardedSource:
    context = make_context(RecordingTarget(), clock)
    return ShardedSource(api, Options(**options), context, Pace(1.0, 100))


async def test_shards_come_at_once_and_again_at_every_change(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    shards = source_of(api, clock).shards()
    assert await anext(shards) == {"a": ()}
    following = asyncio.ensure_future(anext(shards))
    await clock.advance(12)
    assert not following.done()
    api.add("b", "a")
    api.add("c", "a", "gone")
    await clock.advance(5)
    assert following.result() == {"a": (), "b": ("a",), "c": ("a",)}


async def test_a_shard_that_ended_has_its_children_looked_for_at_once(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    source = source_of(api, clock)
    shards = source.shards()
    await anext(shards)
    following = asyncio.ensure_future(anext(shards))
    api.shards["a"].closed = True
    api.add("b", "a")
    reader = await source.open_shard("a", None)
    await reader.read(10)
    with pytest.raises(SourceExhausted):
        await reader.read(10)
    await clock.advance(0)
    assert following.result() == {"a": (), "b": ("a",)}


async def test_trimmed_parents_are_left_out(api: MemoryShards, clock: FakeClock) -> None:
    api.add("a")
    api.add("b", "a")
    source = source_of(api, clock)
    shards = source.shards()
    assert await anext(shards) == {"a": (), "b": ("a",)}
    following = asyncio.ensure_future(anext(shards))
    del api.shards["a"]
    await clock.advance(5)
    assert following.result() == {"b": ()}


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({}, Start("TRIM_HORIZON")),
        ({"starting_position": "latest"}, Start("LATEST")),
        (
            {"starting_position": "at_timestamp", "starting_position_timestamp": 5.0},
            Start("AT_TIMESTAMP", at=5.0),
        ),
    ],
)
async def test_starting_positions(
    api: MemoryShards, clock: FakeClock, options: dict[str, Any], start: Start
) -> None:
    api.add("a")
    source = source_of(api, clock, **options)
    await source.open_shard("a", None)
    assert api.found == [("a", start)]


async def test_a_position_goes_before_the_starting_position(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    await source_of(api, clock, starting_position="latest").open_shard("a", "42")
    assert api.found == [("a", Start("AFTER_SEQUENCE_NUMBER", "42"))]


async def test_children_found_later_begin_at_their_beginning(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    source = source_of(api, clock, starting_position="latest")
    shards = source.shards()
    await anext(shards)
    await source.open_shard("a", None)
    api.shards["a"].closed = True
    api.add("b", "a")
    api.put("b", 2)
    following = asyncio.ensure_future(anext(shards))
    await clock.advance(5)
    following.result()
    reader = await source.open_shard("b", None)
    assert api.found[-1] == ("b", Start("TRIM_HORIZON"))
    assert [record.id for record in await reader.read(10)] == ["1", "2"]


async def test_latest_opened_once_more_is_where_it_was(api: MemoryShards, clock: FakeClock) -> None:
    api.add("a")
    source = source_of(api, clock, starting_position="latest")
    await source.open_shard("a", None)
    began = clock.now()
    await clock.advance(60)
    api.put("a", 3)
    reader = await source.open_shard("a", None)
    assert api.found[-1] == ("a", Start("AT_TIMESTAMP", at=began - 1))
    assert len(await reader.read(10)) == 3


async def test_latest_counts_from_the_start_for_a_shard_that_had_to_wait(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    source = source_of(api, clock, starting_position="latest")
    await anext(source.shards())
    began = clock.now()
    await clock.advance(30)
    await source.open_shard("a", None)
    assert api.found == [("a", Start("AT_TIMESTAMP", at=began - 1))]


async def test_where_latest_began_is_a_position_too(api: MemoryShards, clock: FakeClock) -> None:
    api.add("a")
    options = {"starting_position": "latest"}
    reader = await source_of(api, clock, **options).open_shard("a", None)
    assert reader.start_position == f"@{clock.now() - 1}"
    began = clock.now()
    await clock.advance(60)
    await source_of(api, clock, **options).open_shard("a", reader.start_position)
    assert api.found[-1] == ("a", Start("AT_TIMESTAMP", at=began - 1))


async def test_a_position_that_is_none_is_told(api: MemoryShards, clock: FakeClock) -> None:
    api.add("a")
    with pytest.raises(PositionExpired, match="'@noon' is not a position of this stream"):
        await source_of(api, clock).open_shard("a", "@noon")


async def test_after_an_expired_position_the_shard_begins_at_its_beginning(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    source = source_of(api, clock, starting_position="latest")
    api.faults["find"].append(PositionExpired("trimmed"))
    with pytest.raises(PositionExpired, match="trimmed"):
        await source.open_shard("a", "7")
    await source.open_shard("a", None)
    assert api.found[-1] == ("a", Start("TRIM_HORIZON"))


async def test_a_trimmed_shard_loses_its_position_and_is_then_exhausted(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    source = source_of(api, clock)
    await anext(source.shards())
    del api.shards["a"]
    with pytest.raises(PositionExpired, match="shard a has no records any more"):
        await source.open_shard("a", "7")
    reader = await source.open_shard("a", None)
    with pytest.raises(SourceExhausted):
        await reader.read(10)


async def test_a_deleted_stream_is_unavailable_not_exhausted(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    source = source_of(api, clock)
    reader = await source.open_shard("a", None)
    api.deleted = True
    with pytest.raises(SourceUnavailable, match="Stream not found: arn:aws:kinesis"):
        await reader.read(10)
    with pytest.raises(SourceUnavailable, match="Stream not found"):
        await anext(source.shards())


async def test_a_stream_that_was_created_again_is_not_read(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    source = source_of(api, clock)
    reader = await source.open_shard("a", None)
    api.created += 60
    with pytest.raises(SourceUnavailable, match="orders is another stream than before"):
        await anext(source.shards())
    with pytest.raises(SourceUnavailable, match="deleted and created again"):
        await reader.read(10)
    with pytest.raises(SourceUnavailable, match="start again"):
        await source.open_shard("a", "1")
    assert api.got == []


async def test_a_shard_that_is_gone_because_its_stream_was_replaced_is_not_exhausted(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    source = source_of(api, clock)
    reader = await source.open_shard("a", None)
    api.shards.clear()
    api.created += 60
    with pytest.raises(SourceUnavailable, match="another stream"):
        await reader.read(10)


async def test_a_shard_that_is_listed_but_not_found_is_tried_again(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    source = source_of(api, clock)
    reader = await source.open_shard("a", None)
    api.put("a")
    api.faults["get"].append(ShardGone("a"))
    with pytest.raises(SourceUnavailable, match="shard a is listed, but cannot be read now"):
        await reader.read(10)
    assert len(await reader.read(10)) == 1


async def test_a_checkpoint_older_than_its_shard_is_not_used(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    api.shards["a"].first = "1000"
    source = source_of(api, clock)
    with pytest.raises(SourceUnavailable, match="the checkpoint 999 of a is older than the shard"):
        await source.open_shard("a", "999")
    assert api.found == []


async def test_throttling_while_opening_and_listing_is_tried_again_soon(
    api: MemoryShards, clock: FakeClock
) -> None:
    api.add("a")
    source = source_of(api, clock)
    api.faults["list"].append(Throttled("slow"))
    with pytest.raises(SourceUnavailable, match="slow") as caught:
        await anext(source.shards())
    assert caught.value.retry_after_seconds == 2
    api.faults["find"].append(Throttled("slow"))
    with pytest.raises(SourceUnavailable, match="slow"):
        await source.open_shard("a", None)
    assert await source.open_shard("a", None)


async def test_the_envelope_joins_and_close_closes(api: MemoryShards, clock: FakeClock) -> None:
    api.add("a")
    api.put("a", 2)
    source = source_of(api, clock)
    reader = await source.open_shard("a", None)
    records = await reader.read(10)
    assert source.envelope(records) == b'{"Records":[{"n":1},{"n":2}]}'
    assert source.arn == ARN
    await reader.close()
    await source.close()
    assert api.closed
