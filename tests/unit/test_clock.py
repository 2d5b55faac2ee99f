import asyncio

from eventmesh.testing import FakeClock


async def test_sleepers_wake_in_order_of_their_time(clock: FakeClock) -> None:
    woken: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    tasks = [asyncio.ensure_future(sleeper("late", 5)), asyncio.ensure_future(sleeper("early", 2))]
    await clock.advance(1)
    assert woken == []
    await clock.advance(1)
    assert woken == ["early"]
    await clock.advance(10)
    assert woken == ["early", "late"]
    await asyncio.gather(*tasks)


async def test_wait_ends_at_the_event_or_at_the_time(clock: FakeClock) -> None:
    event = asyncio.Event()
    waiting = asyncio.ensure_future(clock.wait(event, 3))
    await clock.advance(3)
    assert await waiting is False
    event.set()
    assert await clock.wait(event, 3) is True
