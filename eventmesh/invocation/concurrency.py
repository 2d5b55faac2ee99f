"""How many invocations may run at once: per function (reserved) and over the whole mesh (semantics
9.4).

Reserved concurrency is taken out of the mesh's pool for its function alone; the others share what
is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from eventmesh.errors import TooManyRequests
from eventmesh.functions.function import Function

RESERVED_EXCEEDED = "ReservedFunctionConcurrentInvocationLimitExceeded"
UNRESERVED_EXCEEDED = "ConcurrentInvocationLimitExceeded"


class ConcurrencyLimits:
    """Counts running invocations. Used from one event loop; nothing here waits except
    `wait_for_room`."""

    def __init__(self, mesh_limit: int, functions: Iterable[Function] = ()) -> None:
        self.mesh_limit = mesh_limit
        self._running: dict[str, int] = {}
        self._unreserved_running = 0
        self._reserved = {
            f.name: f.reserved_concurrency for f in functions if f.reserved_concurrency is not None
        }
        self._room = asyncio.Event()

    @property
    def unreserved_limit(self) -> int:
        return max(0, self.mesh_limit - sum(self._reserved.values()))

    @property
    def idle(self) -> bool:
        """Whether nothing runs at all."""
        return not any(self._running.values())

    def running(self, name: str) -> int:
        return self._running.get(name, 0)

    def refusal(self, name: str) -> str | None:
        """Why one more invocation of the function would be throttled now; None when it would
        run."""
        reserved = self._reserved.get(name)
        if reserved is not None:
            return RESERVED_EXCEEDED if self.running(name) >= reserved else None
        return UNRESERVED_EXCEEDED if self._unreserved_running >= self.unreserved_limit else None

    def enter(self, name: str) -> None:
        """Count one invocation in. Raises TooManyRequests; every other return needs one `leave`."""
        reason = self.refusal(name)
        if reason is not None:
            raise TooManyRequests(reason)
        self._running[name] = self.running(name) + 1
        if name not in self._reserved:
            self._unreserved_running += 1

    def leave(self, name: str) -> None:
        assert self.running(name) > 0, "I12 BoundedInFlight: left more often than entered"
        self._running[name] -= 1
        if name not in self._reserved:
            self._unreserved_running -= 1
        self._room.set()

    async def wait_for_room(self, name: str) -> None:
        """Return when an invocation of the function would not be throttled. May be cancelled."""
        while self.refusal(name) is not None:
            self._room.clear()
            await self._room.wait()
