"""A mapping's function as its poller sees it: one batch in, one result out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from eventmesh import tasks
from eventmesh.clock import Clock
from eventmesh.connectors import InvocationResult
from eventmesh.invocation.invoker import Call, Invoker


class BatchTarget(Protocol):
    """What pollers invoke."""

    @property
    def function_arn(self) -> str:
        """The unqualified ARN, for failure records."""
        ...

    @property
    def most_invocations(self) -> int:
        """How many invocations may run at once, at most."""
        ...

    async def invoke(self, event: bytes, attempt: int) -> InvocationResult:
        """Run the handler. Raises InvocationError when refused before it ran. Cancelling kills
        it."""
        ...

    async def wait_for_room(self, seconds: float) -> None:
        """Wait until an invocation would not be throttled, for up to `seconds`."""
        ...


class FunctionBatchTarget:
    """Invokes one function for one mapping."""

    def __init__(self, function: str, mapping: str, invoker: Invoker, clock: Clock) -> None:
        self._function = function
        self._mapping = mapping
        self._invoker = invoker
        self._clock = clock

    @property
    def function_arn(self) -> str:
        catalog = self._invoker.catalog
        return f"arn:aws:lambda:{catalog.region}:{catalog.account_id}:function:{self._function}"

    @property
    def most_invocations(self) -> int:
        return self._invoker.limits.mesh_limit

    async def invoke(self, event: bytes, attempt: int) -> InvocationResult:
        call = Call(self._function, event, source=self._mapping, attempt=attempt)
        return await self._invoker.invoke(call)

    async def wait_for_room(self, seconds: float) -> None:
        limits = self._invoker.limits
        await first_of(limits.wait_for_room(self._function), self._clock.sleep(seconds))


async def first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Return when the first of `waits` ends; the others are cancelled. Raises what it raised."""
    running = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await tasks.cancel([task for task in running if not task.done()])
    for task in done:
        task.result()
