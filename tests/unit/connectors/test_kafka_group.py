"""Rebalances, commits and reading, with a fake client: what waits for what, and what is ignored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from eventmesh.connectors import SourceContext
from eventmesh.errors import PositionExpired, SourceUnavailable
from eventmesh.testing import FakeClock
from eventmesh_connectors.kafka import KafkaOptions, KafkaSource
from eventmesh_connectors.kafka.assignment import Assignment
from eventmesh_connectors.kafka.client import (
    CommitFailedError,
    GroupConsumer,
    KafkaError,
    OffsetOutOfRangeError,
    Partition,
)
from eventmesh_connectors.kafka.commits import Commits
from eventmesh_connectors.kafka.member import Member
from eventmesh_connectors.kafka.reader import PartitionReader, find_start
from eventmesh_connectors.kafka.samples import SampleMessage

ONE, TWO = ("t", 0), ("t", 1)
log = logging.getLogger("test.kafka")


class FakeConsumer:
    """A member of a group as the client library presents it."""

    def __init__(self) -> None:
        self.is_member = True
        self.commits: list[dict[Partition, int]] = []
        self.refusal: Exception | None = None
        self.allowed = asyncio.Event()
        self.allowed.set()
        self.stored: int | None = None
        self.span = (0, 10)
        self.at: int | None = None
        self.batches: list[Any] = []
        self.answered: float | None = None

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        self.commits.append(dict(offsets))
        await self.allowed.wait()
        if self.refusal is not None:
            raise self.refusal

    async def committed(self, partition: Partition) -> int | None:
        return self.stored

    async def first(self, partition: Partition) -> int:
        return self.span[0]

    async def end(self, partition: Partition) -> int:
        return self.span[1]

    async def offset_at(self, partition: Partition, epoch_seconds: float) -> int | None:
        return self.at

    async def read(self, partition: Partition, limit: int, seconds: float) -> Any:
        found = self.batches.pop(0) if self.batches else ()
        if isinstance(found, Exception):
            raise found
        return found

    def answered_at(self, partition: Partition) -> float | None:
        return self.answered


@pytest.fixture
def fake() -> FakeConsumer:
    return FakeConsumer()


@pytest.fixture
def consumer(fake: FakeConsumer) -> GroupConsumer:
    return cast(GroupConsumer, fake)


@pytest.fixture
def member(consumer: GroupConsumer, clock: FakeClock) -> Member:
    return Member(consumer, 30.0, clock, log)


def context(clock: FakeClock) -> SourceContext:
    nothing: Any = None
    return SourceContext("m", clock, log, nothing, nothing, lambda detail: None)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def held(member: Member, *partitions: Partition) -> Assignment:
    await member.assigned(frozenset(partitions))
    assert member.current is not None
    member.current.shown = True
    member.current.opened.update(partitions)
    return member.current


# rebalances


async def test_a_rebalance_waits_until_everything_is_released(member: Member) -> None:
    assignment = await held(member, ONE, TWO)
    revoking = asyncio.create_task(member.revoked(frozenset({ONE, TWO})))
    await turns()
    assert (revoking.done(), assignment.is_live, assignment.ended.is_set()) == (False, False, False)
    assert assignment.committable({ONE: 5}) == {ONE: 5}
    assignment.released.set()
    await revoking
    assert assignment.ended.is_set()
    assert assignment.committable({ONE: 5}) == {}


async def test_a_rebalance_does_not_wait_for_ever(
    member: Member, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    assignment = await held(member, ONE)
    revoking = asyncio.create_task(member.revoked(frozenset({ONE})))
    await turns()
    await clock.advance(29.9)
    assert not revoking.done()
    await clock.advance(0.1)
    await revoking
    assert assignment.ended.is_set()
    assert "rebalance_timeout, 30 s" in caplog.text


async def test_a_member_that_was_thrown_out_does_not_wait(
    member: Member, fake: FakeConsumer
) -> None:
    assignment = await held(member, ONE)
    fake.is_member = False
    await member.revoked(frozenset({ONE}))
    assert assignment.ended.is_set()


async def test_what_the_engine_never_saw_is_not_waited_for(member: Member) -> None:
    assignment = await held(member, ONE)
    assignment.shown = False
    await member.revoked(frozenset({ONE}))
    assert assignment.ended.is_set()


async def test_stopping_frees_a_rebalance_that_waits(member: Member) -> None:
    await held(member, ONE)
    revoking = asyncio.create_task(member.revoked(frozenset({ONE})))
    await turns()
    member.fail(KafkaError("broken"))
    await revoking
    assert str(member.failure) == "KafkaError: broken"


class PreparedSource(KafkaSource):
    """A source whose group is played by the test."""

    def __init__(self, member: Member, clock: FakeClock, **settings: Any) -> None:
        options = KafkaOptions(brokers="localhost:9092", topics="t", **settings)
        super().__init__(options, context(clock))
        self._prepared = member

    async def _join(self) -> Member:
        self._member = self._prepared
        return self._prepared


async def test_sets_follow_the_group_and_asking_again_releases(
    member: Member, clock: FakeClock
) -> None:
    source = PreparedSource(member, clock)
    sets = source.shards()
    first = asyncio.ensure_future(anext(sets))
    await turns()
    assert not first.done()
    await member.assigned(frozenset({TWO, ONE}))
    assert await first == {"t-0": (), "t-1": ()}
    old = member.current
    second = asyncio.ensure_future(anext(sets))
    revoking = asyncio.create_task(member.revoked(frozenset({ONE, TWO})))
    assert await second == {}
    await turns()
    assert not revoking.done()
    third = asyncio.ensure_future(anext(sets))
    await revoking
    assert old is not None
    assert old.released.is_set()
    await member.assigned(frozenset({TWO}))
    assert await third == {"t-1": ()}


async def test_between_two_generations_there_is_always_an_empty_set(
    member: Member, clock: FakeClock, fake: FakeConsumer
) -> None:
    sets = PreparedSource(member, clock).shards()
    await member.assigned(frozenset({ONE}))
    assert await anext(sets) == {"t-0": ()}
    fake.is_member = False
    await member.revoked(frozenset({ONE}))
    await member.assigned(frozenset({ONE}))
    assert [await anext(sets), await anext(sets)] == [{}, {"t-0": ()}]


async def test_a_broken_membership_drains_and_then_says_so(
    member: Member, clock: FakeClock
) -> None:
    source = PreparedSource(member, clock)
    sets = source.shards()
    await member.assigned(frozenset({ONE}))
    await anext(sets)
    member.fail(KafkaError("gone"))
    assert await anext(sets) == {}
    with pytest.raises(SourceUnavailable, match="gone"):
        await anext(sets)


async def test_asking_for_the_shards_anew_takes_back_what_was_shown(
    member: Member, clock: FakeClock
) -> None:
    source = PreparedSource(member, clock)
    await member.assigned(frozenset({ONE}))
    assert await anext(source.shards()) == {"t-0": ()}
    again = source.shards()
    assert [await anext(again), await anext(again)] == [{}, {"t-0": ()}]


async def test_shards_that_are_not_ours_are_not_opened(member: Member, clock: FakeClock) -> None:
    source = PreparedSource(member, clock)
    with pytest.raises(SourceUnavailable, match="being handed over"):
        await source.open_shard("t-0", None)
    await member.assigned(frozenset({ONE}))
    await anext(source.shards())
    with pytest.raises(SourceUnavailable, match="t-1 belongs to another member"):
        await source.open_shard("t-1", None)
    await source.commit({"t-0": "3"})


# commits


async def test_commits_that_come_together_go_together(
    fake: FakeConsumer, consumer: GroupConsumer, clock: FakeClock
) -> None:
    assignment = Assignment(frozenset({ONE, TWO}))
    assignment.opened |= {ONE, TWO}
    commits = Commits(consumer, assignment, clock, log)
    fake.allowed.clear()
    calls = [
        asyncio.create_task(commits.commit(offsets))
        for offsets in ({"t-0": "0"}, {"t-0": "1"}, {"t-1": "6"}, {"t-0": "2"})
    ]
    await turns()
    assert fake.commits == [{ONE: 1}]
    fake.allowed.set()
    await asyncio.gather(*calls)
    assert fake.commits == [{ONE: 1}, {ONE: 3, TWO: 7}]


async def test_only_what_was_opened_and_is_ours_is_committed(
    fake: FakeConsumer, consumer: GroupConsumer, clock: FakeClock
) -> None:
    assignment = Assignment(frozenset({ONE, TWO}))
    assignment.opened.add(ONE)
    commits = Commits(consumer, assignment, clock, log)
    await commits.commit({"t-0": "3", "t-1": "8", "not-ours": "0"})
    await commits.commit({"t-1": "8"})
    fake.is_member = False
    await commits.commit({"t-0": "4"})
    fake.is_member = True
    assignment.ended.set()
    await commits.commit({"t-0": "5"})
    assert fake.commits == [{ONE: 4}]


async def test_a_commit_under_way_ends_with_the_assignment(
    fake: FakeConsumer, consumer: GroupConsumer, clock: FakeClock
) -> None:
    assignment = Assignment(frozenset({ONE}))
    assignment.opened.add(ONE)
    fake.allowed.clear()
    call = asyncio.create_task(Commits(consumer, assignment, clock, log).commit({"t-0": "3"}))
    await turns()
    assignment.ended.set()
    await call
    assert fake.commits == [{ONE: 4}]


@pytest.mark.parametrize(
    ("refusal", "raised"), [(CommitFailedError("moved"), False), (KafkaError("denied"), True)]
)
async def test_refused_commits(
    fake: FakeConsumer,
    consumer: GroupConsumer,
    clock: FakeClock,
    refusal: Exception,
    raised: bool,
) -> None:
    assignment = Assignment(frozenset({ONE}))
    assignment.opened.add(ONE)
    fake.refusal = refusal
    call = Commits(consumer, assignment, clock, log).commit({"t-0": "3"})
    if raised:
        with pytest.raises(SourceUnavailable, match="commit refused: KafkaError: denied"):
            await call
    else:
        await call


async def test_brokers_that_take_no_commit(
    fake: FakeConsumer, consumer: GroupConsumer, clock: FakeClock
) -> None:
    assignment = Assignment(frozenset({ONE}))
    assignment.opened.add(ONE)
    fake.allowed.clear()
    call = asyncio.create_task(Commits(consumer, assignment, clock, log).commit({"t-0": "3"}))
    await turns()
    await clock.advance(30)
    with pytest.raises(SourceUnavailable, match="took no commit for 30 s"):
        await call


# reading


@pytest.fixture
def open_reader(member: Member, clock: FakeClock) -> Callable[[], Awaitable[PartitionReader]]:
    async def open_one() -> PartitionReader:
        options = KafkaOptions(brokers="k:1", topics="t")
        return PartitionReader(ONE, member, await held(member, ONE), options, context(clock))

    return open_one


Open = Callable[[], Awaitable[PartitionReader]]


async def test_records_are_read_and_nothing_is_nothing(
    open_reader: Open, fake: FakeConsumer
) -> None:
    reader = await open_reader()
    fake.batches = [[SampleMessage(3), SampleMessage(5)]]
    records: Sequence[Any] = await reader.read(10)
    assert [one.position for one in records] == ["3", "5"]
    assert await reader.read(10) == ()


async def test_silent_brokers_are_unavailable(
    open_reader: Open, fake: FakeConsumer, clock: FakeClock
) -> None:
    reader = await open_reader()
    await clock.advance(10)
    assert await reader.read(10) == ()
    fake.answered = clock.now()
    await clock.advance(10)
    assert await reader.read(10) == ()
    await clock.advance(0.5)
    with pytest.raises(SourceUnavailable, match="advertised.listeners"):
        await reader.read(10)


async def test_errors_of_reading(
    open_reader: Open, fake: FakeConsumer, member: Member, clock: FakeClock
) -> None:
    reader = await open_reader()
    fake.batches = [
        OffsetOutOfRangeError({ONE: 7}),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        KafkaError("broken"),
    ]
    with pytest.raises(PositionExpired):
        await reader.read(10)
    assert member.current is not None
    assert member.current.unreadable == {ONE: 7}
    with pytest.raises(SourceUnavailable, match="header's name is not UTF-8"):
        await reader.read(10)
    assert member.failure is None
    with pytest.raises(SourceUnavailable, match="broken"):
        await reader.read(10)
    assert member.failure is not None
    late = asyncio.create_task(reader.read(10))
    await turns()
    await clock.advance(1)
    with pytest.raises(SourceUnavailable, match="t-0 was taken away"):
        await late


# where to begin


@pytest.mark.parametrize(
    ("settings", "stored", "unreadable", "at", "start", "commits"),
    [
        ({}, None, None, None, 2, []),
        ({}, 5, None, None, 5, []),
        ({}, 5, 6, None, 5, []),
        ({}, 1, 1, None, 2, []),
        ({"starting_position": "latest"}, None, None, None, 10, [{ONE: 10}]),
        ({"starting_position": "latest"}, 4, None, None, 4, []),
        ({"starting_position": "latest"}, 1, 1, None, 10, []),
        ({"starting_position_timestamp": 5.0}, None, None, 7, 7, []),
        ({"starting_position_timestamp": 5.0}, None, None, None, 10, []),
        ({"starting_position_timestamp": 5.0}, 3, None, 7, 3, []),
    ],
)
async def test_the_groups_offset_wins_over_the_starting_position(
    fake: FakeConsumer,
    consumer: GroupConsumer,
    settings: dict[str, Any],
    stored: int | None,
    unreadable: int | None,
    at: int | None,
    start: int,
    commits: list[Any],
) -> None:
    if "starting_position_timestamp" in settings:
        settings = settings | {"starting_position": "at_timestamp"}
    options = KafkaOptions(brokers="k:1", topics="t", **settings)
    fake.span, fake.stored, fake.at = (2, 10), stored, at
    assert await find_start(consumer, ONE, options, unreadable, log) == start
    assert fake.commits == commits
