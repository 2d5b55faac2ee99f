"""The asynchronous queue on fake time: semantics 2.1-2.3 and the promises of the queue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eventmesh.errors import ServiceError
from eventmesh.invocation.invoker import Call
from eventmesh.telemetry import EventFailed, EventRetried
from eventmesh.testing import FakeClock
from tests.unit.invocation.harness import SINK, Harness, function


def fails(event: Any) -> Any:
    raise ValueError(f"no {event}")


async def test_an_event_is_attempted_once_and_forgotten(clock: FakeClock) -> None:
    mesh = Harness(clock, [function("f")], {"f": lambda event: event})
    await mesh.accept("f", {"n": 1})
    await clock.advance(0)
    assert mesh.attempts("f") == [{"n": 1}]
    assert await mesh.backlog() == 0
    assert await mesh.letters() == []


async def test_events_stored_before_the_start_are_attempted_after_it(clock: FakeClock) -> None:
    mesh = Harness(clock, [function("f")], {"f": lambda event: event})
    now = clock.now()
    from eventmesh.state.contract import Durability, QueuedEvent

    await mesh.store.events.accept([QueuedEvent("r", "f", b"1", now, now)], None, Durability.NORMAL)
    mesh.queue.start()
    await clock.advance(0)
    assert mesh.attempts("f") == [1]


async def test_a_failing_event_is_retried_after_one_and_two_minutes_then_ends(
    clock: FakeClock,
) -> None:
    mesh = Harness(clock, [function("f", on_failure=SINK, dead_letter_queue=SINK)], {"f": fails})
    await mesh.accept("f", 7)
    await clock.advance(59)
    assert len(mesh.attempts("f")) == 1
    await clock.advance(1)
    assert len(mesh.attempts("f")) == 2
    await clock.advance(119)
    assert len(mesh.attempts("f")) == 2
    await clock.advance(1)
    assert len(mesh.attempts("f")) == 3
    await clock.advance(7200)
    assert len(mesh.attempts("f")) == 3
    assert {request.request_id for _, request in mesh.pool.requests} == {"f-0"}

    await mesh.relay.deliver_due()
    (record, _), (bare, attributes) = mesh.sink.sent
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responsePayload"]["errorMessage"] == "no 7"
    assert bare == 7
    assert attributes["RequestID"] == "f-0"
    assert (attributes["ErrorCode"], attributes["ErrorMessage"]) == ("200", "no 7")
    letter = (await mesh.letters())[0]
    assert (letter.condition, letter.attempts, letter.error_type) == (
        "RetriesExhausted",
        3,
        "ValueError",
    )
    assert letter.sent_to == "sink the sink, sink the sink"
    assert [e.delay_seconds for e in mesh.told if isinstance(e, EventRetried)] == [60, 120]
    assert len([e for e in mesh.told if isinstance(e, EventFailed)]) == 1


async def test_maximum_age_ends_it_before_the_delayed_retry(clock: FakeClock) -> None:
    mesh = Harness(clock, [function("f", maximum_event_age_seconds=60)], {"f": fails})
    await mesh.accept("f", 1)
    await clock.advance(0)
    letter = (await mesh.letters())[0]
    assert (letter.condition, letter.attempts) == ("EventAgeExceeded", 1)


async def test_zero_reserved_concurrency_ends_it_without_an_attempt(clock: FakeClock) -> None:
    mesh = Harness(clock, [function("f", 0, on_failure=SINK)], {"f": fails})
    await mesh.accept("f", 1)
    await clock.advance(0)
    await mesh.relay.deliver_due()
    assert mesh.attempts("f") == []
    record, _ = mesh.sink.sent[0]
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert "responsePayload" not in record


async def test_throttled_events_wait_without_using_attempts(clock: FakeClock) -> None:
    gate = asyncio.Event()

    async def waits(event: Any) -> Any:
        await gate.wait()

    mesh = Harness(clock, [function("f", 1)], {"f": waits})
    busy = asyncio.ensure_future(mesh.invoker.invoke(Call("f", b"0")))
    await clock.advance(0)
    await mesh.accept("f", 1, 2)
    await clock.advance(600)
    assert mesh.attempts("f") == [0]
    gate.set()
    await busy
    await clock.advance(0)
    assert mesh.attempts("f") == [0, 1, 2]
    assert await mesh.letters() == []


async def test_an_event_throttled_beyond_its_age_ends_in_failure(clock: FakeClock) -> None:
    gate = asyncio.Event()

    async def waits(event: Any) -> Any:
        await gate.wait()

    mesh = Harness(clock, [function("f", 1, maximum_event_age_seconds=60)], {"f": waits})
    busy = asyncio.ensure_future(mesh.invoker.invoke(Call("f", b"0")))
    await clock.advance(0)
    await mesh.accept("f", 1)
    await clock.advance(61)
    gate.set()
    await busy
    await clock.advance(0)
    letter = (await mesh.letters())[0]
    assert (letter.condition, letter.attempts) == ("EventAgeExceeded", 0)


async def test_a_slow_function_does_not_starve_its_neighbour(clock: FakeClock) -> None:
    async def slow(event: Any) -> Any:
        await clock.sleep(10)

    mesh = Harness(
        clock,
        [function("slow"), function("quick")],
        {"slow": slow, "quick": lambda event: event},
        concurrency=2,
    )
    await mesh.accept("slow", *range(50))
    await clock.advance(1)
    await mesh.accept("quick", 1)
    await clock.advance(20)
    assert mesh.attempts("quick") == [1]
    assert len(mesh.attempts("slow")) < 10


async def test_at_most_the_configured_number_runs_at_once(clock: FakeClock) -> None:
    running = 0
    most = 0

    async def counts(event: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await clock.sleep(1)
        running -= 1

    mesh = Harness(clock, [function("f")], {"f": counts}, concurrency=4)
    await mesh.accept("f", *range(20))
    await clock.advance(30)
    assert most == 4
    assert sorted(mesh.attempts("f")) == list(range(20))


async def test_draining_lets_attempts_end_and_returns_what_was_only_claimed(
    clock: FakeClock,
) -> None:
    async def slow(event: Any) -> Any:
        await clock.sleep(5)

    mesh = Harness(clock, [function("f")], {"f": slow}, concurrency=2)
    await mesh.accept("f", *range(10))
    await clock.advance(1)
    draining = asyncio.ensure_future(mesh.queue.drain(30))
    await clock.advance(5)
    assert await draining is True
    assert sorted(mesh.attempts("f")) == [0, 1]
    assert await mesh.backlog() == 8
    left = await mesh.store.events.claim("f", 100, clock.now())
    assert len(left) == 8


async def test_a_destination_that_is_down_gets_the_record_later(clock: FakeClock) -> None:
    mesh = Harness(clock, [function("f", on_success=SINK)], {"f": lambda event: event})
    mesh.sink.down = True
    relay = asyncio.ensure_future(mesh.relay.run())
    await mesh.accept("f", 1)
    await clock.advance(10)
    assert mesh.sink.sent == []
    mesh.sink.down = False
    await clock.advance(300)
    assert [record["responsePayload"] for record, _ in mesh.sink.sent] == [1]
    relay.cancel()


async def test_a_bug_in_the_pool_loses_nothing(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    mesh = Harness(clock, [function("f")], {"f": lambda event: event})
    broken = True
    invoke = mesh.pool.invoke

    async def sometimes(*args: Any) -> Any:
        if broken:
            raise RuntimeError("bug")
        return await invoke(*args)

    mesh.pool.invoke = sometimes  # type: ignore[method-assign]
    await mesh.accept("f", 1)
    await clock.advance(10)
    assert "eventmesh itself failed" in caplog.text
    broken = False
    await clock.advance(300)
    assert mesh.attempts("f") == [1]


async def test_a_closed_invoker_refuses(clock: FakeClock) -> None:
    mesh = Harness(clock, [function("f")], {"f": lambda event: event})
    mesh.invoker.close()
    with pytest.raises(ServiceError):
        await mesh.invoker.invoke(Call("f", b"1"))
