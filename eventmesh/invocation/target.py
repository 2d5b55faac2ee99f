"""A mapping's function, as its push source sees it: `connectors.Target`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eventmesh.clock import Clock
from eventmesh.connectors import InvocationResult
from eventmesh.errors import ServiceError
from eventmesh.invocation.asynchronous import AsyncQueue
from eventmesh.invocation.invoker import Call, Invoker, new_request_id
from eventmesh.state.contract import Durability, PositionChanges, QueuedEvent


class FunctionTarget:
    """Invokes one function for one mapping, whose name scopes the stored positions."""

    def __init__(
        self, function: str, mapping: str, invoker: Invoker, queue: AsyncQueue, clock: Clock
    ) -> None:
        self._function = function
        self._mapping = mapping
        self._invoker = invoker
        self._queue = queue
        self._clock = clock
        self._closed = False

    def close(self) -> None:
        """Take no more events: the engine is stopping."""
        self._closed = True

    async def invoke(self, event: bytes) -> InvocationResult:
        self._refuse_when_closed()
        return await self._invoker.invoke(Call(self._function, event, source=self._mapping))

    async def enqueue(
        self,
        events: Sequence[bytes],
        positions: Mapping[str, str | None] | None = None,
        *,
        synced: bool = False,
    ) -> Sequence[str]:
        self._refuse_when_closed()
        now = self._clock.now()
        rows = [
            QueuedEvent(new_request_id(), self._function, event, now, now, source=self._mapping)
            for event in events
        ]
        changes = PositionChanges(self._mapping, positions) if positions else None
        durability = Durability.SYNCED if synced else Durability.NORMAL
        await self._queue.accept(rows, changes, durability)
        return [row.request_id for row in rows]

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise ServiceError("eventmesh is stopping; try again")
