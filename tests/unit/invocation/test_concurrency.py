import asyncio
from pathlib import Path

import pytest

from eventmesh.errors import TooManyRequests
from eventmesh.functions.function import Function
from eventmesh.invocation.concurrency import ConcurrencyLimits


def function(name: str, reserved: int | None = None) -> Function:
    return Function(name, "m.h", Path("/"), Path("/python"), reserved_concurrency=reserved)


def test_reserved_concurrency_is_the_functions_own_and_taken_from_the_pool() -> None:
    limits = ConcurrencyLimits(3, [function("kept", 2), function("other")])
    limits.enter("kept")
    limits.enter("kept")
    with pytest.raises(TooManyRequests) as full:
        limits.enter("kept")
    assert full.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    limits.enter("other")
    with pytest.raises(TooManyRequests) as pool:
        limits.enter("other")
    assert pool.value.reason == "ConcurrentInvocationLimitExceeded"
    limits.leave("kept")
    limits.enter("kept")


def test_leaving_without_entering_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="I12"):
        ConcurrencyLimits(1).leave("f")


async def test_whoever_waits_for_room_goes_on_when_one_leaves() -> None:
    limits = ConcurrencyLimits(1)
    limits.enter("f")
    waiting = asyncio.ensure_future(limits.wait_for_room("f"))
    await asyncio.sleep(0)
    assert not waiting.done()
    limits.leave("f")
    await waiting
