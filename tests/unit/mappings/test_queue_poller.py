"""Queues: settling, partial reports, message groups, visibility, giving up, bounds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh.errors import SourceUnavailable, StateFull
from eventmesh.mappings.mapping import MappingState
from eventmesh.mappings.policy import MappingPolicy
from eventmesh.telemetry import BatchInvoked, SourceFailed
from eventmesh.testing import FakeClock
from eventmesh.testing.sources import MemoryQueue
from tests.unit.mappings.harness import Gate, Harness, failing_on, reporting, values_of


def ok(event: object) -> None:
    return None


def bodies(queue: MemoryQueue) -> list[str]:
    return [message.body for message in queue.messages]


async def test_handled_messages_are_removed(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock), Harness(clock, ok)
    ids = queue.put("a", "b", "c")
    one.start(queue, MappingPolicy(batch_size=2))
    await one.run()
    assert one.bodies == [["a", "b"], ["c"]]
    assert queue.settled == [(i, True) for i in ids]
    assert queue.messages == []
    assert one.mapping.state is MappingState.ENABLED
    assert await one.stop()


async def test_an_idle_queue_is_ready_after_a_while(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock), Harness(clock, ok)
    one.start(queue, MappingPolicy())
    await one.run(1)
    assert one.mapping.state is MappingState.CREATING
    await one.run(1)
    assert (one.mapping.state, one.mapping.detail) == (MappingState.ENABLED, "polling")
    assert one.mapping.last_processing_result == "No records processed"
    await one.stop()


async def test_an_exception_removes_nothing(clock: FakeClock) -> None:
    queue = MemoryQueue(clock, release_seconds=None)
    one = Harness(clock, failing_on("b"))
    queue.put("a", "b")
    one.start(queue, MappingPolicy())
    await one.run()
    assert bodies(queue) == ["a", "b"]
    await one.run(29)
    assert len(one.bodies) == 1
    await one.run(2)
    assert len(one.bodies) == 2
    assert [m.receives for m in queue.messages] == [2, 2]
    await one.stop()


async def test_a_partial_report_removes_the_others(clock: FakeClock) -> None:
    queue = MemoryQueue(clock, release_seconds=None)
    one = Harness(clock, reporting("b", id_key="messageId"))
    queue.put("a", "b", "c")
    one.start(queue, MappingPolicy(report_failures=True))
    await one.run()
    assert bodies(queue) == ["b"]
    assert [e.outcome for e in one.told_of(BatchInvoked)] == ["partial"]
    await one.stop()


async def test_the_report_is_ignored_when_it_is_not_asked_for(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock), Harness(clock, reporting("b", id_key="messageId"))
    queue.put("a", "b")
    one.start(queue, MappingPolicy())
    await one.run()
    assert bodies(queue) == []
    await one.stop()


async def test_filter_misses_are_removed_silently(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock), Harness(clock, ok)
    queue.put("1", "2", "3")
    one.start(queue, MappingPolicy(), lambda fields: fields["body"] == 2)
    await one.run()
    assert one.bodies == [["2"]]
    assert queue.messages == []
    assert (one.host.counts.filtered, one.host.counts.handled) == (2, 1)
    await one.stop()


async def test_several_receives_are_gathered_in_a_window(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock), Harness(clock, ok)
    one.start(queue, MappingPolicy(batch_size=5, window_seconds=10))
    await one.run(2)
    queue.put("a")
    await one.run(3)
    queue.put("b")
    await one.run(4.9)
    assert one.bodies == []
    await one.run(0.2)
    assert one.bodies == [["a", "b"]]
    queue.put(*"cdefg")
    await one.run()
    assert one.bodies[1] == ["c", "d", "e", "f", "g"]
    assert [e.fill_reason for e in one.told_of(BatchInvoked)] == ["window", "size"]
    await one.stop()


async def test_concurrency_starts_at_five_and_grows(clock: FakeClock) -> None:
    gate = Gate()
    queue, one = MemoryQueue(clock), Harness(clock, gate)
    queue.put(*map(str, range(100)))
    one.start(queue, MappingPolicy(batch_size=1))
    await one.run()
    assert len(gate.inside) == 5
    assert one.host.counts.pending == 6
    await one.run(1)
    assert 9 <= len(gate.inside) <= 11
    gate.open()
    await one.run()
    assert queue.messages == []
    await one.stop()


async def test_maximum_concurrency_bounds_batches_and_memory(clock: FakeClock) -> None:
    gate = Gate()
    queue, one = MemoryQueue(clock), Harness(clock, gate)
    queue.put(*map(str, range(1000)))
    one.start(queue, MappingPolicy(batch_size=20, maximum_concurrency=2))
    await one.run(10)
    assert [len(batch) for batch in gate.inside] == [20, 20]
    assert one.host.counts.pending == 60
    gate.open()
    await one.run()
    assert queue.messages == []
    assert max(len(batch) for batch in one.bodies) == 20
    await one.stop()


async def test_records_stay_hidden_while_a_handler_works(clock: FakeClock) -> None:
    gate = Gate()
    queue, one = MemoryQueue(clock, visibility_seconds=30), Harness(clock, gate)
    queue.put("a", "b")
    one.start(queue, MappingPolicy(batch_size=1, maximum_concurrency=1))
    await one.run(200)
    assert one.bodies == [["a"]]
    gate.open()
    await one.run()
    assert one.bodies == [["a"], ["b"]]
    assert queue.messages == []
    assert queue.extended[0] == ["m-2", "m-1"]
    await one.stop()


async def test_throttled_batches_wait_without_being_received_again(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock), Harness(clock, ok, reserved=1)
    one.limits.enter("f")
    queue.put("a")
    one.start(queue, MappingPolicy(maximum_retries=0))
    await one.run(300)
    assert one.pool.requests == []
    one.limits.leave("f")
    await one.run()
    assert one.bodies == [["a"]]
    assert queue.messages == []
    assert await one.deliveries() == []
    await one.stop()


async def test_a_group_is_handled_in_order_one_batch_at_a_time(clock: FakeClock) -> None:
    gate = Gate()
    queue, one = MemoryQueue(clock), Harness(clock, gate)
    queue.put("a1", "a2", "a3", group="a")
    queue.put("b1", group="b")
    one.start(queue, MappingPolicy(batch_size=2))
    await one.run()
    assert gate.inside == [["a1", "a2"], ["b1"]]
    gate.open()
    await one.run()
    assert one.bodies == [["a1", "a2"], ["b1"], ["a3"]]
    await one.stop()


async def test_a_failure_blocks_its_group_only(clock: FakeClock) -> None:
    queue = MemoryQueue(clock, release_seconds=10)
    one = Harness(clock, reporting("a1", id_key="messageId"))
    queue.put("a1", group="a")
    queue.put("b1", group="b")
    queue.put("a2", group="a")
    queue.put("b2", group="b")
    one.start(queue, MappingPolicy(batch_size=10, report_failures=True))
    await one.run()
    assert one.bodies == [["a1", "b1", "a2", "b2"]]
    assert bodies(queue) == ["a1", "a2"]
    queue.put("b3", group="b")
    await one.run()
    assert one.bodies[1:] == [["b3"]]
    await one.run(10)
    assert one.bodies[2] == ["a1", "a2"]
    await one.stop()


async def test_after_so_many_failures_a_message_is_recorded_and_removed(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock, release_seconds=1), Harness(clock, failing_on("p"))
    order: list[str] = []
    settle, add = queue.settle, one.store.deliveries.add

    async def settled(outcomes: Any) -> None:
        order.extend(f"settle {o.succeeded}" for o in outcomes)
        await settle(outcomes)

    async def added(*arguments: Any) -> None:
        order.append(f"add {arguments[1].name}")
        await add(*arguments)

    queue.settle = settled  # type: ignore[method-assign]
    one.store.deliveries.add = added  # type: ignore[method-assign]
    queue.put("p")
    one.start(queue, MappingPolicy(maximum_retries=2))
    await one.run(5)
    assert order == ["settle False", "settle False", "add SYNCED", "settle True"]
    assert one.bodies == [["p"]] * 3
    (failure,) = await one.failure_records()
    assert failure["requestContext"]["approximateInvokeCount"] == 3
    assert failure["MemoryBatchInfo"] == {"batchSize": 1, "messageIds": ["m-1"]}
    assert failure["responseContext"]["functionError"] == "Unhandled"
    (delivery,) = await one.deliveries()
    assert (delivery.function, delivery.destination) == ("f", "mapping:m")
    await one.stop()
    assert one.host.counts.given_up == 1


async def test_a_message_that_is_too_old_is_not_handled(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock), Harness(clock, ok)
    queue.put("old", sent_at=clock.now() - 61)
    queue.put("new")
    one.start(queue, MappingPolicy(maximum_age_seconds=60))
    await one.run()
    assert one.bodies == [["new"]]
    (failure,) = await one.failure_records()
    assert failure["requestContext"]["condition"] == "RecordAgeExceeded"
    assert queue.messages == []
    await one.stop()


async def test_halves_are_retried_at_once(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock, release_seconds=None), Harness(clock, failing_on("5"))
    queue.put(*"01234567")
    one.start(queue, MappingPolicy(batch_size=8, bisect=True))
    await one.run()
    assert one.bodies == [list(b) for b in ("01234567", "0123", "4567", "45", "4", "5", "67")]
    assert bodies(queue) == ["5"]
    await one.stop()


async def test_halves_keep_the_order_of_a_group(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock, release_seconds=None), Harness(clock, failing_on("1"))
    queue.put(*"0123", group="g")
    one.start(queue, MappingPolicy(batch_size=8, bisect=True))
    await one.run()
    assert one.bodies == [list("0123"), list("01"), ["0"], ["1"]]
    assert bodies(queue) == ["1", "2", "3"]
    await one.stop()


async def test_stopping_lets_handlers_end_and_gives_back_the_rest(clock: FakeClock) -> None:
    gate = Gate()
    queue, one = MemoryQueue(clock), Harness(clock, gate)
    queue.put("a", "b", "c")
    one.start(queue, MappingPolicy(batch_size=1, maximum_concurrency=1))
    await one.run()
    stopping = asyncio.ensure_future(one.stop(10))
    await asyncio.sleep(0)
    gate.open()
    assert await stopping
    assert one.bodies == [["a"]]
    assert bodies(queue) == ["b", "c"]
    assert [m.visible_at <= clock.monotonic() for m in queue.messages] == [True, True]


async def test_a_killed_handler_gives_its_messages_back(clock: FakeClock) -> None:
    gate = Gate()
    queue, one = MemoryQueue(clock), Harness(clock, gate)
    queue.put("a")
    one.start(queue, MappingPolicy())
    await one.run()
    assert not await one.stop(5)
    assert gate.inside == []
    assert queue.settled == [("m-1", False)]
    assert one.host.counts.pending == 0


async def test_an_outage_is_told_once_and_ends(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock), Harness(clock, ok)
    queue.unavailable = SourceUnavailable("down")
    one.start(queue, MappingPolicy())
    await one.run(2.9)
    assert [e.retry_seconds for e in one.told_of(SourceFailed)] == [1, 2]
    assert one.mapping.state is MappingState.PROBLEM
    queue.unavailable = None
    queue.put("a")
    await one.run(1)
    assert one.bodies == [["a"]]
    assert one.mapping.state is MappingState.ENABLED
    await one.stop()


async def test_settling_is_repeated_until_the_queue_takes_it(clock: FakeClock) -> None:
    gate = Gate()
    queue, one = MemoryQueue(clock), Harness(clock, gate)
    queue.put("a")
    one.start(queue, MappingPolicy())
    await one.run()
    queue.unavailable = SourceUnavailable("down")
    gate.open()
    await one.run(3)
    assert bodies(queue) == ["a"]
    queue.unavailable = None
    await one.run(10)
    assert queue.settled == [("m-1", True)]
    assert one.bodies == [["a"]]
    await one.stop()


async def test_nothing_is_removed_while_the_disk_is_full(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock), Harness(clock, failing_on("p"))
    add, full = one.store.deliveries.add, [True]

    async def failing(*arguments: Any) -> None:
        if full[0]:
            raise StateFull
        await add(*arguments)

    one.store.deliveries.add = failing  # type: ignore[method-assign]
    queue.put("p")
    one.start(queue, MappingPolicy(maximum_retries=0))
    await one.run(5)
    assert queue.settled == []
    full[0] = False
    await one.run(10)
    assert queue.settled == [("m-1", True)]
    assert len(await one.deliveries()) == 1
    await one.stop()


async def test_a_bug_in_the_source_stops_the_mapping(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    queue, one = MemoryQueue(clock), Harness(clock, ok)

    def broken(records: Any) -> bytes:
        raise KeyError("oops")

    queue.envelope = broken  # type: ignore[method-assign]
    queue.put("a")
    task = one.start(queue, MappingPolicy())
    await one.run()
    assert task.done()
    assert one.mapping.state is MappingState.FAILED
    assert "KeyError: 'oops'" in caplog.text


async def test_a_finite_queue_ends(clock: FakeClock) -> None:
    queue, one = MemoryQueue(clock), Harness(clock, ok)
    queue.put("a", "b")
    queue.finish()
    task = one.start(queue, MappingPolicy(batch_size=5, window_seconds=300))
    await one.run(300)
    assert one.bodies == [["a", "b"]]
    assert task.done()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_nothing_is_lost_and_groups_keep_their_order(data: st.DataObject) -> None:
    """Random failures: every message is handled in the end, first successes of a group in
    order."""
    groups = data.draw(st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=12))
    fails = data.draw(st.lists(st.sets(st.integers(0, 11), max_size=4), max_size=12))
    policy = MappingPolicy(
        batch_size=data.draw(st.integers(1, 5)),
        bisect=data.draw(st.booleans()),
        report_failures=data.draw(st.booleans()),
        maximum_concurrency=data.draw(st.integers(1, 3)),
    )
    asyncio.run(_converges(groups, fails, policy))


async def _converges(groups: list[str], fails: list[set[int]], policy: MappingPolicy) -> None:
    clock, handled = FakeClock(), list[int]()
    left = list(fails)

    def handle(event: Any) -> Any:
        numbers = [int(value) for value in values_of(event)]
        bad = (left.pop(0) if left else set()) & set(numbers)
        if bad and not policy.report_failures:
            raise ValueError
        failed = []
        for number, item in zip(numbers, event["Records"], strict=True):
            group = item["attributes"]["MessageGroupId"]
            earlier = [b for b in bad if numbers.index(b) < numbers.index(number)]
            blocked = {groups[b] for b in earlier}
            if number in bad or (group and group in blocked):
                failed.append({"itemIdentifier": item["messageId"]})
            else:
                handled.append(number)
        return {"batchItemFailures": failed}

    queue, one = MemoryQueue(clock, release_seconds=1), Harness(clock, handle)
    for number, group in enumerate(groups):
        queue.put(str(number), group=group)
    one.start(queue, policy)
    await one.run(60)
    assert queue.messages == []
    assert await one.stop()
    counts = one.host.counts
    assert counts.pending == 0
    assert counts.handled == len(groups)
    assert sorted(handled) == list(range(len(groups)))
    for name in "ab":
        mine = [number for number in handled if groups[number] == name]
        assert mine == sorted(mine)
    assert json.dumps(one.bodies)


class EagerQueue(MemoryQueue):
    """A queue that hands out a group's messages while earlier ones are in flight."""

    def _visible(self, limit: int) -> list[Any]:
        now = self._clock.monotonic() + 0.0005
        return [message for message in self.messages if message.visible_at <= now][:limit]


async def test_what_came_behind_a_failed_message_of_its_group_goes_back_too(
    clock: FakeClock,
) -> None:
    left = [True]

    def fails_once(event: Any) -> None:
        if left and left.pop():
            raise ValueError

    queue, one = EagerQueue(clock), Harness(clock, fails_once)
    queue.put("a1", "a2", "a3", group="a")
    one.start(queue, MappingPolicy(batch_size=1))
    await one.run()
    assert one.bodies == [["a1"], ["a1"], ["a2"], ["a3"]]
    assert queue.messages == []
    assert await one.stop()


async def test_what_was_not_attempted_at_stop_is_free_at_once(clock: FakeClock) -> None:
    queue = MemoryQueue(clock, release_seconds=None)
    one = Harness(clock, ok)
    queue.put("a")
    one.start(queue, MappingPolicy(batch_size=10, window_seconds=60))
    await one.run(1)
    assert one.bodies == []
    assert await one.stop()
    again = await queue.receive(10)
    assert [record.id for record in again] == [message.id for message in queue.messages]
