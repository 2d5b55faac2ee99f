"""Tumbling windows: boundaries, state, the final invocation, state that grows too large."""

from __future__ import annotations

from typing import Any

from eventmesh.mappings import windows
from eventmesh.mappings.policy import MappingPolicy
from eventmesh.mappings.windows import Window
from eventmesh.testing import FakeClock
from eventmesh.testing.sources import MemoryStream
from tests.unit.mappings.harness import Harness, call_each, record, values_of

START = 1_607_497_440.0  # 2020-12-09T07:04:00Z
POLICY = MappingPolicy(tumbling_window_seconds=60)


def add_up(event: Any) -> Any:
    return {"state": {"sum": event["state"].get("sum", 0) + sum(values_of(event))}}


def fails(event: Any) -> Any:
    raise ValueError("no")


def clock_at_start() -> FakeClock:
    return FakeClock(START)


def test_boundaries_are_multiples_of_the_length() -> None:
    assert windows.window_at(START + 59.9, 120) == Window(START, 120)
    assert windows.window_at(START + 119.9, 120) == Window(START, 120)
    assert windows.window_at(START + 120, 120) == Window(START + 120, 120)


def test_fields_are_spliced_behind_the_records() -> None:
    window = Window(START, 120, b'{"a":1}', "arn")
    event = windows.windowed_event(b'{"Records":[{"x":1}]}', window, "shard-6", is_early=True)
    assert event == (
        b'{"Records":[{"x":1}],"window":{"start":"2020-12-09T07:04:00Z",'
        b'"end":"2020-12-09T07:06:00Z"},"state":{"a":1},"shardId":"shard-6",'
        b'"eventSourceARN":"arn","isFinalInvokeForWindow":false,"isWindowTerminatedEarly":true}'
    )


def test_state_is_what_the_handler_returned() -> None:
    assert windows.returned_state(b'{"state": {"a": 1}, "x": 2}') == b'{"a":1}'
    for payload in (b"null", b"{}", b'{"state": null}', b'{"state": 1}', b"[]", b"nonsense"):
        assert windows.returned_state(payload) is None


def test_a_window_survives_being_stored() -> None:
    window = Window(START, 60, b'{"a":1}', "arn")
    assert windows.window_from(windows.window_text(window), 60) == window
    assert windows.window_text(None) == ""
    for text in ("", "nonsense", "[]", '{"start":1}'):
        assert windows.window_from(text, 60) is None
    assert windows.window_from(windows.window_text(Window(START + 60, 60)), 120) is None


def test_late_records_belong_to_the_open_window() -> None:
    records = [record(1, arrived_at=10), record(2, arrived_at=70), record(3, arrived_at=130)]
    assert windows.leading_records(records, Window(60, 60)) == 2
    assert windows.leading_records(records, Window(0, 60)) == 1


async def test_state_goes_from_batch_to_batch_until_the_window_ends() -> None:
    clock = clock_at_start()
    stream, one = MemoryStream(clock, "s"), Harness(clock, add_up)
    stream.put("s", 1, 2, arrived_at=START)
    one.start(stream, POLICY)
    await one.run()
    stream.put("s", 3, arrived_at=START + 59)
    stream.put("s", 10, arrived_at=START + 61)
    await one.run()
    first, second, final, third = one.events
    assert (first["state"], values_of(first)) == ({}, [1, 2])
    assert first["window"] == {"start": "2020-12-09T07:04:00Z", "end": "2020-12-09T07:05:00Z"}
    assert first["shardId"] == "s"
    assert first["eventSourceARN"] == "arn:aws:memory:us-east-1:000000000000:stream"
    assert (second["state"], values_of(second)) == ({"sum": 3}, [3])
    assert (final["state"], values_of(final)) == ({"sum": 6}, [])
    assert final["isFinalInvokeForWindow"]
    assert not final["isWindowTerminatedEarly"]
    assert (third["state"], values_of(third)) == ({}, [10])
    assert third["window"]["start"] == "2020-12-09T07:05:00Z"
    assert await one.positions() == {"s": "3"}
    await one.stop()


async def test_state_is_stored_with_the_position() -> None:
    clock = clock_at_start()
    stream, one = MemoryStream(clock, "s"), Harness(clock, add_up)
    stream.put("s", 1, arrived_at=START)
    one.start(stream, POLICY)
    await one.run()
    await one.stop()
    stream.put("s", 2, arrived_at=START + 1)
    two = Harness(clock, add_up, store=one.store)
    two.start(stream, POLICY)
    await two.run()
    assert [event["state"] for event in two.events] == [{"sum": 1}]
    await two.stop()


async def test_an_idle_window_ends_after_a_while() -> None:
    clock = clock_at_start()
    stream, one = MemoryStream(clock, "s"), Harness(clock, add_up)
    stream.put("s", 1, arrived_at=START)
    one.start(stream, POLICY)
    await one.run(119)
    assert len(one.events) == 1
    await one.run(2)
    assert [event["isFinalInvokeForWindow"] for event in one.events] == [False, True]
    (checkpoint,) = await one.store.checkpoints.load("m")
    assert checkpoint.state == ""
    await one.run(500)
    assert len(one.events) == 2
    await one.stop()


async def test_a_result_without_state_is_a_failure() -> None:
    clock = clock_at_start()
    stream = MemoryStream(clock, "s")
    one = Harness(clock, call_each([lambda event: {"no": "state"}, add_up]))
    stream.put("s", 1, arrived_at=START)
    one.start(stream, POLICY)
    await one.run(0.5)
    assert await one.positions() == {"s": ""}
    await one.run(1)
    assert await one.positions() == {"s": "0"}
    assert [event["state"] for event in one.events] == [{}, {}]
    await one.stop()


async def test_state_that_is_too_large_ends_the_window_early() -> None:
    clock = clock_at_start()
    stream = MemoryStream(clock, "s")
    one = Harness(clock, lambda event: {"state": {"x": "x" * windows.LARGEST_STATE_BYTES}})
    stream.put("s", 1, arrived_at=START)
    one.start(stream, POLICY)
    await one.run()
    stream.put("s", 2, arrived_at=START + 1)
    await one.run()
    flags = [(e["isFinalInvokeForWindow"], e["isWindowTerminatedEarly"]) for e in one.events[:3]]
    assert flags == [(False, False), (True, True), (False, False)]
    assert one.events[2]["state"] == {}
    await one.stop()


async def test_a_failing_final_invocation_blocks_the_shard_under_the_retry_policy() -> None:
    clock = clock_at_start()
    stream, one = (
        MemoryStream(clock, "s"),
        Harness(clock, call_each([add_up, fails, fails, add_up])),
    )
    stream.put("s", 1, arrived_at=START)
    stream.put("s", 2, arrived_at=START + 60)
    one.start(stream, MappingPolicy(tumbling_window_seconds=60, maximum_retries=1))
    await one.run(0.5)
    assert [event["isFinalInvokeForWindow"] for event in one.events] == [False, True]
    await one.run(1)
    assert [event["isFinalInvokeForWindow"] for event in one.events] == [False, True, True, False]
    assert one.events[3]["state"] == {}
    await one.stop()


async def test_the_end_of_a_shard_closes_its_window() -> None:
    clock = clock_at_start()
    stream, one = MemoryStream(clock, "s"), Harness(clock, add_up)
    stream.put("s", 1, arrived_at=START)
    stream.split("s", "c")
    stream.put("c", 5, arrived_at=START + 1)
    one.start(stream, POLICY)
    await one.run()
    seen = [(e["shardId"], e["state"], e["isFinalInvokeForWindow"]) for e in one.events]
    assert seen == [("s", {}, False), ("s", {"sum": 1}, True), ("c", {}, False)]
    await one.stop()
