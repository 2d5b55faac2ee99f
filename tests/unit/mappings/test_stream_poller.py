"""Streams: order, checkpoints, retries, bisecting, reports, leases, shards that come and go."""

from __future__ import annotations

import asyncio
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh.errors import SourceUnavailable, StateFull
from eventmesh.mappings.mapping import MappingState
from eventmesh.mappings.policy import MappingPolicy
from eventmesh.mappings.stream_poller import StreamPoller
from eventmesh.state.contract import Durability, Lease
from eventmesh.telemetry import BatchInvoked
from eventmesh.testing import FakeClock
from eventmesh.testing.sources import MemoryBrokerStream, MemoryStream
from tests.unit.mappings.harness import Gate, Harness, failing_on, reporting, values_of


def ok(event: object) -> None:
    return None


async def test_records_are_handled_in_order_and_checkpointed(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok)
    stream.put("s", 1, 2, 3, 4, 5)
    one.start(stream, MappingPolicy(batch_size=2))
    await one.run()
    assert one.bodies == [[1, 2], [3, 4], [5]]
    assert await one.positions() == {"s": "4"}
    assert one.mapping.state is MappingState.ENABLED
    assert one.mapping.last_processing_result == "OK"
    assert await one.stop()
    assert one.host.counts.pending == 0


async def test_the_recorded_example_of_retries_after_a_partial_report(clock: FakeClock) -> None:
    """Three retries, the last of three always fails: it is delivered five times (semantics 4.4)."""
    stream, one = MemoryStream(clock, "s"), Harness(clock, reporting("c"))
    ids = stream.put("s", "a", "b", "c")
    policy = MappingPolicy(batch_size=3, report_failures=True, maximum_retries=3)
    one.start(stream, policy)
    await one.run(60)
    assert one.bodies == [["a", "b", "c"], ["c"], ["c"], ["c"], ["c"]]
    (failure,) = await one.failure_records()
    context = failure["requestContext"]
    assert context["approximateInvokeCount"] == 4
    assert context["condition"] == "RetryAttemptsExhausted"
    assert context["functionArn"] == "arn:aws:lambda:us-east-1:000000000000:function:f"
    assert failure["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": None,
    }
    assert failure["MemoryBatchInfo"]["batchSize"] == 1
    assert failure["MemoryBatchInfo"]["startSequenceNumber"] == ids[2]
    assert await one.positions() == {"s": "2"}
    await one.stop()


async def test_a_poison_record_is_found_by_bisecting(clock: FakeClock) -> None:
    """Eight records, one poison, no retries: splits use no attempt (semantics 12.9)."""
    stream, one = MemoryStream(clock, "s"), Harness(clock, failing_on(5))
    stream.put("s", *range(8))
    one.start(stream, MappingPolicy(batch_size=8, bisect=True, maximum_retries=0))
    await one.run()
    assert one.bodies == [
        [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [4], [5], [6, 7],
    ]  # fmt: skip
    (failure,) = await one.failure_records()
    assert failure["requestContext"]["approximateInvokeCount"] == 1
    assert failure["MemoryBatchInfo"]["batchSize"] == 1
    assert (one.host.counts.handled, one.host.counts.given_up) == (7, 1)
    await one.stop()


async def test_a_failing_batch_blocks_its_shard_only(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "bad", "good"), Harness(clock, failing_on("p"))
    stream.put("bad", "p")
    one.start(stream, MappingPolicy())
    await one.run()
    stream.put("bad", "later")
    stream.put("good", "g")
    await one.run(0.9)
    assert one.bodies == [["p"], ["g"]]
    await one.run(0.2)
    assert one.bodies == [["p"], ["g"], ["p"]]
    assert await one.positions() == {"bad": "", "good": "0"}
    assert one.mapping.last_processing_result == "PROBLEM: Function call failed"
    await one.stop()


async def test_only_the_expired_prefix_is_given_up(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok)
    now = clock.now()
    stream.put("s", "old", "older", arrived_at=now - 100)
    stream.put("s", "young", arrived_at=now)
    stream.put("s", "odd", arrived_at=now - 100)
    one.start(stream, MappingPolicy(maximum_age_seconds=60))
    await one.run()
    assert one.bodies == [["young", "odd"]]
    (failure,) = await one.failure_records()
    assert failure["requestContext"]["condition"] == "RecordAgeExceeded"
    assert failure["requestContext"]["approximateInvokeCount"] == 1
    assert "responseContext" not in failure
    assert failure["MemoryBatchInfo"]["batchSize"] == 2
    await one.stop()


async def test_throttles_use_no_attempt(clock: FakeClock) -> None:
    stream = MemoryStream(clock, "s")
    one = Harness(clock, ok, reserved=1)
    one.limits.enter("f")
    stream.put("s", 1)
    one.start(stream, MappingPolicy(maximum_retries=0))
    await one.run(200)
    assert one.pool.requests == []
    assert await one.failure_records() == []
    one.limits.leave("f")
    await one.run()
    assert one.bodies == [[1]]
    await one.stop()


async def test_a_throttled_record_may_get_too_old(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok, reserved=0)
    stream.put("s", 1)
    one.start(stream, MappingPolicy(maximum_age_seconds=60))
    await one.run(59)
    assert await one.failure_records() == []
    await one.run(2)
    (failure,) = await one.failure_records()
    assert failure["requestContext"]["condition"] == "RecordAgeExceeded"
    await one.stop()


async def test_after_a_restart_it_goes_on_where_it_was(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok)
    stream.put("s", 1, 2)
    one.start(stream, MappingPolicy())
    await one.run()
    await one.stop()
    stream.put("s", 3)
    two = Harness(clock, ok, store=one.store)
    two.start(stream, MappingPolicy())
    await two.run()
    assert two.bodies == [[3]]
    await two.stop()


async def test_latest_is_the_moment_of_the_first_start_also_after_a_restart(
    clock: FakeClock,
) -> None:
    stream, one = MemoryStream(clock, "s", starting_position="latest"), Harness(clock, ok)
    stream.put("s", "old")
    one.start(stream, MappingPolicy())
    await one.run()
    await one.stop()
    assert await one.positions() == {"s": "0"}
    stream.put("s", "while stopped")
    stream._watched = False  # a new engine sees the stream for the first time
    two = Harness(clock, ok, store=one.store)
    two.start(stream, MappingPolicy())
    await two.run()
    assert two.bodies == [["while stopped"]]
    await two.stop()


async def test_a_graceful_stop_waits_for_the_handler_and_repeats_nothing(clock: FakeClock) -> None:
    gate = Gate()
    stream, one = MemoryStream(clock, "s"), Harness(clock, gate)
    stream.put("s", 1)
    one.start(stream, MappingPolicy(batch_size=1))
    await one.run()
    stream.put("s", 2)
    await one.run()
    stopping = asyncio.ensure_future(one.stop(10))
    await asyncio.sleep(0)
    gate.open()
    assert await stopping
    assert one.bodies == [[1]]
    assert await one.positions() == {"s": "0"}
    (checkpoint,) = await one.store.checkpoints.load("m")
    assert checkpoint.expires_at == 0
    two = Harness(clock, ok, store=one.store, owner="another")
    two.start(stream, MappingPolicy())
    await two.run()
    assert two.bodies == [[2]]
    await two.stop()


async def test_a_stop_that_takes_too_long_kills_the_handler_and_stores_nothing(
    clock: FakeClock,
) -> None:
    gate = Gate()
    stream, one = MemoryStream(clock, "s"), Harness(clock, gate)
    stream.put("s", 1)
    one.start(stream, MappingPolicy())
    await one.run()
    assert not await one.stop(10)
    assert gate.inside == []
    assert await one.positions() == {"s": ""}
    assert one.host.counts.returned == 1


async def test_a_failing_batch_does_not_hold_up_the_stop(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, failing_on("p"))
    stream.put("s", "p")
    one.start(stream, MappingPolicy())
    await one.run()
    assert await one.stop()
    assert one.bodies == [["p"]]
    assert one.host.counts.returned == 1


async def test_a_lost_lease_kills_the_handler_and_stores_nothing(clock: FakeClock) -> None:
    gate = Gate()
    stream, one = MemoryStream(clock, "s"), Harness(clock, gate)
    stream.put("s", 1)
    one.start(stream, MappingPolicy())
    await one.run()
    assert gate.inside == [[1]]
    held = (await one.store.checkpoints.load("m"))[0]
    clock.step(1000)  # as if the engine had slept: the lease is expired for others
    thief = await one.store.checkpoints.acquire("m", "s", "thief", 30)
    assert thief is not None
    assert thief.epoch == held.epoch + 1
    await one.run(10)
    assert gate.inside == []
    assert [c.owner for c in await one.store.checkpoints.load("m")] == ["thief"]
    assert await one.positions() == {"s": ""}
    await one.store.checkpoints.renew(thief, 0)
    gate.open()
    await one.run(6)
    assert one.bodies == [[1], [1]]
    assert await one.positions() == {"s": "0"}
    await one.stop()


async def test_a_lease_is_renewed_while_a_handler_works(clock: FakeClock) -> None:
    gate = Gate()
    stream, one = MemoryStream(clock, "s"), Harness(clock, gate)
    stream.put("s", 1)
    one.start(stream, MappingPolicy())
    await one.run(300)
    assert gate.inside == [[1]]
    gate.open()
    await one.run()
    assert one.bodies == [[1]]
    assert await one.positions() == {"s": "0"}
    await one.stop()


async def test_children_wait_for_their_parents(clock: FakeClock) -> None:
    gate = Gate()
    stream, one = MemoryStream(clock, "p"), Harness(clock, gate)
    stream.put("p", "p1")
    one.start(stream, MappingPolicy())
    await one.run()
    stream.split("p", "c1", "c2")
    stream.put("c1", "a")
    stream.put("c2", "b")
    await one.run(20)
    assert one.bodies == [["p1"]]
    gate.open()
    await one.run()
    assert one.bodies[0] == ["p1"]
    assert sorted(one.bodies[1:]) == [["a"], ["b"]]
    stream.merge("g", "c1", "c2")
    stream.put("g", "m")
    await one.run()
    assert one.bodies[-1] == ["m"]
    finished = {c.shard: c.finished for c in await one.store.checkpoints.load("m")}
    assert finished == {"p": True, "c1": True, "c2": True, "g": False}
    await one.stop()


async def test_finished_shards_are_not_opened_again(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "p"), Harness(clock, ok)
    stream.put("p", 1)
    stream.split("p", "c")
    one.start(stream, MappingPolicy())
    await one.run()
    await one.stop()
    stream.opened.clear()
    two = Harness(clock, ok, store=one.store)
    two.start(stream, MappingPolicy())
    await two.run()
    assert [name for name, _ in stream.opened] == ["c"]
    await two.stop()


async def test_a_shard_that_leaves_is_drained_and_committed_first(clock: FakeClock) -> None:
    gate = Gate()
    stream, one = MemoryBrokerStream(clock, "t-0", "t-1"), Harness(clock, gate)
    stream.put("t-0", 1)
    one.start(stream, MappingPolicy())
    await one.run()
    stream.revoke("t-0")
    await one.run(5)
    assert stream.commits == []
    gate.open()
    await one.run()
    assert stream.commits == [("t-0", "0")]
    stream.put("t-0", 2)
    await one.run()
    assert one.bodies == [[1]]
    stream.assign("t-0")
    await one.run()
    assert one.bodies == [[1], [2]]
    assert await one.positions() == {}
    await one.stop()


async def test_a_shard_that_leaves_is_not_waited_for_endlessly(clock: FakeClock) -> None:
    gate = Gate()
    stream, one = MemoryBrokerStream(clock, "t-0"), Harness(clock, gate)
    stream.put("t-0", 1)
    one.start(stream, MappingPolicy())
    await one.run()
    stream.revoke("t-0")
    await one.run(31)
    assert gate.inside == []
    assert stream.commits == []
    assert one.mapping.state is MappingState.ENABLED
    await one.stop()


async def test_a_broker_gets_filtered_progress_with_the_next_batch_only(clock: FakeClock) -> None:
    stream, one = MemoryBrokerStream(clock, "t-0"), Harness(clock, ok)
    one.start(stream, MappingPolicy(), lambda fields: fields["data"] == "yes")
    stream.put("t-0", "no", "no")
    await one.run(10)
    assert stream.commits == []
    stream.put("t-0", "yes")
    await one.run()
    assert stream.commits == [("t-0", "2")]
    await one.stop()
    assert one.host.counts.filtered == 2


async def test_filtered_progress_is_stored(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok)
    one.start(stream, MappingPolicy(), lambda fields: False)
    stream.put("s", "no", "no")
    await one.run()
    assert await one.positions() == {"s": "1"}
    stream.put("s", "no")
    await one.run()
    assert await one.positions() == {"s": "1"}
    await one.stop()
    assert await one.positions() == {"s": "2"}
    assert one.pool.requests == []


async def test_failure_records_are_in_the_outbox_before_the_broker_moves_on(
    clock: FakeClock,
) -> None:
    stream, one = MemoryBrokerStream(clock, "t-0"), Harness(clock, failing_on("p"))
    seen: list[int] = []
    commit = stream.commit

    async def watched(positions: dict[str, str]) -> None:
        seen.append(len(await one.deliveries()))
        await commit(positions)

    stream.commit = watched  # type: ignore[method-assign,assignment]
    stream.put("t-0", "p")
    one.start(stream, MappingPolicy(maximum_retries=0))
    await one.run()
    assert seen == [1]
    await one.stop()


async def test_an_expired_position_starts_over_loudly(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok)
    stream.put("s", 1)
    one.start(stream, MappingPolicy())
    await one.run()
    await one.stop()
    stream.put("s", 2, 3, 4)
    stream.trim("s", 3)
    two = Harness(clock, ok, store=one.store)
    two.start(stream, MappingPolicy())
    await two.run()
    assert two.bodies == [[4]]
    assert "records were LOST" in caplog.text
    await two.stop()


async def test_an_outage_goes_on_behind_the_last_record_read(clock: FakeClock) -> None:
    gate = Gate()
    stream, one = MemoryStream(clock, "s"), Harness(clock, gate)
    stream.put("s", 1)
    one.start(stream, MappingPolicy())
    await one.run()
    stream.unavailable = SourceUnavailable("down")
    stream.hang_up()
    await one.run()
    assert one.mapping.state is MappingState.PROBLEM
    stream.put("s", 2)
    stream.unavailable = None
    gate.open()
    await one.run(40)
    assert one.bodies == [[1], [2]]
    assert one.mapping.state is MappingState.ENABLED
    await one.stop()


async def test_a_bug_in_the_source_stops_the_mapping(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok)

    async def broken(shard: str, position: str | None) -> None:
        raise KeyError("oops")

    stream.open_shard = broken  # type: ignore[method-assign,assignment]
    task = one.start(stream, MappingPolicy())
    await one.run()
    assert task.done()
    assert one.mapping.state is MappingState.FAILED
    assert "oops" in one.mapping.detail


async def test_a_finite_stream_ends(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok)
    stream.put("s", 1, 2, 3)
    task = one.start(stream, MappingPolicy(batch_size=2, window_seconds=100))
    await one.run()
    assert one.bodies == [[1, 2]]
    stream.finish()
    await one.run()
    assert one.bodies == [[1, 2], [3]]
    assert task.done()
    assert [e.fill_reason for e in one.told_of(BatchInvoked)] == ["size", "drain"]


async def test_order_holds_per_key_with_lanes(clock: FakeClock) -> None:
    gate = Gate()
    stream, one = MemoryStream(clock, "s"), Harness(clock, gate)
    for n in range(4):
        stream.put("s", f"a{n}", key="a")
        stream.put("s", f"b{n}", key="d")
    one.start(stream, MappingPolicy(batch_size=2, parallelization_factor=2))
    await one.run()
    assert sorted(gate.inside) == [["a0", "a1"], ["b0", "b1"]]
    gate.open()
    await one.run()
    handled = [value for batch in one.bodies for value in batch]
    assert [v for v in handled if v[0] == "a"] == ["a0", "a1", "a2", "a3"]
    assert [v for v in handled if v[0] == "b"] == ["b0", "b1", "b2", "b3"]
    assert await one.positions() == {"s": "7"}
    await one.stop()


async def test_a_blocked_lane_holds_the_checkpoint_not_the_other_lane(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, failing_on("a0"))
    stream.put("s", "b0", key="d")
    stream.put("s", "a0", key="a")
    stream.put("s", "b1", "b2", key="d")
    one.start(stream, MappingPolicy(batch_size=1, parallelization_factor=2))
    await one.run()
    assert [v for batch in one.bodies for v in batch if v[0] == "b"] == ["b0", "b1", "b2"]
    assert await one.positions() == {"s": "0"}
    await one.stop()


async def test_a_failure_record_is_never_stored_after_the_position_of_its_record(
    clock: FakeClock,
) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, failing_on("poison"))
    first, second, third = "a", "g", "b"
    assert [crc32(key.encode()) % 3 for key in (first, second, third)] == [0, 1, 2]
    store, slow, saved = one.store.checkpoints, asyncio.Event(), []
    save = store.save

    async def save_slowly(lease: Lease, deliveries: Any, durability: Durability) -> bool:
        await slow.wait()
        saved.append((lease.position, len(deliveries)))
        return await save(lease, deliveries, durability)

    store.save = save_slowly  # type: ignore[method-assign]
    stream.put("s", "ok", key=first)
    stream.put("s", "poison", key=third)
    stream.put("s", "ok", key=second)
    one.start(stream, MappingPolicy(batch_size=1, parallelization_factor=3, maximum_retries=0))
    await one.run()
    slow.set()
    await one.run()
    # the second lane's save passes the poison record, so it takes its failure record along
    assert saved == [("0", 0), ("2", 1)]
    assert len(await one.failure_records()) == 1
    await one.stop()


async def test_read_ahead_is_bounded(clock: FakeClock) -> None:
    gate = Gate()
    stream, one = MemoryStream(clock, "s"), Harness(clock, gate)
    stream.put("s", *range(5000))
    one.start(stream, MappingPolicy(batch_size=1000))
    await one.run()
    assert one.host.counts.pending == 2000
    gate.open()
    await one.run()
    assert one.host.counts.handled == 5000
    await one.stop()


async def test_a_record_larger_than_an_event_never_blocks(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok)
    stream.put("s", 1, "x" * 3000, 2)
    one.start(stream, MappingPolicy(largest_event_bytes=2000))
    await one.run()
    assert one.bodies == [[1], [2]]
    (failure,) = await one.failure_records()
    assert failure["requestContext"]["condition"] == "MaximumPayloadSizeExceeded"
    assert failure["responseContext"] is None
    await one.stop()


async def test_a_mapping_pauses_and_resumes_with_other_settings(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok)
    stream.put("s", 1, 2)
    one.start(stream, MappingPolicy(batch_size=1))
    await one.run()
    assert await one.mapping.pause(5)
    assert one.mapping.state is MappingState.DISABLED
    stream.put("s", 3, 4, 5)
    await one.run(60)
    assert one.bodies == [[1], [2]]
    one.mapping.resume()
    await one.run()
    assert one.bodies[2:] == [[3], [4], [5]]
    stream.put("s", 6, 7)
    await one.mapping.update(StreamPoller(stream, one.host, MappingPolicy(batch_size=2)), 5)
    await one.run()
    assert one.bodies[5:] == [[6, 7]]
    await one.stop()


async def test_a_store_that_fails_pauses_the_shard(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok)
    save, full = one.store.checkpoints.save, [True]

    async def failing(*arguments: Any) -> bool:
        if full[0]:
            raise StateFull
        return await save(*arguments)

    one.store.checkpoints.save = failing  # type: ignore[method-assign]
    stream.put("s", 1)
    one.start(stream, MappingPolicy(batch_size=1))
    await one.run()
    stream.put("s", 2)
    await one.run(5)
    assert one.bodies == [[1]]
    full[0] = False
    await one.run(10)
    assert one.bodies == [[1], [2]]
    assert await one.positions() == {"s": "1"}
    await one.stop()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_nothing_is_lost_and_keys_keep_their_order(data: st.DataObject) -> None:
    """Random failures, stops and kills: every record is handled or given up, first successes of a
    key in order."""
    keys = data.draw(st.lists(st.sampled_from(["", "a", "b", "d"]), min_size=1, max_size=15))
    fails = data.draw(st.lists(st.sets(st.integers(0, 14), max_size=3), max_size=15))
    stops = data.draw(st.lists(st.sampled_from(["stop", "kill", "outage"]), max_size=3))
    policy = MappingPolicy(
        batch_size=data.draw(st.integers(1, 6)),
        bisect=data.draw(st.booleans()),
        report_failures=data.draw(st.booleans()),
        maximum_retries=data.draw(st.sampled_from([-1, 1, 2])),
        parallelization_factor=data.draw(st.integers(1, 3)),
    )
    asyncio.run(_converges(keys, fails, stops, policy))


async def _converges(
    keys: list[str], fails: list[set[int]], stops: list[str], policy: MappingPolicy
) -> None:
    clock, handled, left = FakeClock(), list[int](), list(fails)

    def handle(event: Any) -> Any:
        numbers = values_of(event)
        bad = (left.pop(0) if left else set()) & set(numbers)
        if bad and not policy.report_failures:
            raise ValueError
        first = min((numbers.index(b) for b in bad), default=len(numbers))
        handled.extend(numbers[:first])
        failed = [item["sequenceNumber"] for item in event["Records"][first:][:1]]
        return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}

    stream = MemoryStream(clock, "s")
    for number, key in enumerate(keys):
        stream.put("s", number, key=key)
    one = Harness(clock, handle)
    given_up = 0
    for stop in [*stops, ""]:
        one.start(stream, policy)
        await one.run(0 if stop else 120)
        if stop == "kill":
            task = one.mapping.task
            assert task is not None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif stop == "outage":
            stream.unavailable = SourceUnavailable("cut")
            stream.hang_up()
            await one.run(3)
            stream.unavailable = None
        assert await one.stop()
        counts = one.host.counts
        counts.check_pending(0)
        given_up += counts.given_up
        one = Harness(clock, handle, store=one.store)
    ends = {c.shard: c.position for c in await one.store.checkpoints.load("m")}
    assert ends == {"s": str(len(keys) - 1)}
    if policy.maximum_retries == -1:
        assert given_up == 0
        assert set(handled) == set(range(len(keys)))
    assert len(set(handled)) + given_up >= len(keys)
    for key in ("a", "b", "d"):
        firsts = list(dict.fromkeys(n for n in handled if keys[n] == key))
        assert firsts == sorted(firsts)
