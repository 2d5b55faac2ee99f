"""A queue, a relay and an invoker on memory, fake time and fake handlers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eventmesh.connectors import Destination
from eventmesh.errors import DestinationError
from eventmesh.functions.catalog import FunctionCatalog
from eventmesh.functions.function import AsyncInvokeConfig, DestinationReference, Function
from eventmesh.invocation.asynchronous import AsyncQueue
from eventmesh.invocation.concurrency import ConcurrencyLimits
from eventmesh.invocation.destinations import Destinations
from eventmesh.invocation.invoker import Invoker
from eventmesh.invocation.relay import Relay
from eventmesh.state.contract import DeadLetter, QueuedEvent
from eventmesh.state.memory import MemoryStore
from eventmesh.telemetry import Telemetry, TelemetryEvent
from eventmesh.testing import FakeClock
from eventmesh.testing.pool import FakeHandler, FakePool

SINK = DestinationReference("sink", None, "the sink")


def function(name: str, reserved: int | None = None, **config: Any) -> Function:
    return Function(
        name,
        "app.handler",
        Path("/code"),
        Path("/python"),
        reserved_concurrency=reserved,
        asynchronous=AsyncInvokeConfig(**config),
    )


@dataclass
class Sink:
    """A destination that keeps what it is sent, or refuses while `down`."""

    sent: list[tuple[Any, Mapping[str, str]]] = field(default_factory=list)
    down: bool = False
    closed: bool = False

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        if self.down:
            raise DestinationError("the sink is down")
        self.sent.append((json.loads(payload), attributes))

    async def close(self) -> None:
        self.closed = True


class Harness:
    def __init__(
        self,
        clock: FakeClock,
        functions: list[Function],
        handlers: Mapping[str, FakeHandler],
        *,
        mesh_limit: int = 100,
        concurrency: int = 16,
    ) -> None:
        self.clock = clock
        self.sink = Sink()
        self.told: list[TelemetryEvent] = []
        telemetry = Telemetry()
        telemetry.subscribe(self.told.append)
        self.store = MemoryStore()
        self.pool = FakePool(handlers)
        self.catalog = FunctionCatalog(functions)
        self.limits = ConcurrencyLimits(mesh_limit, functions)
        self.invoker = Invoker(self.catalog, self.pool, self.limits, telemetry)
        self.queue = AsyncQueue(
            self.store.events, self.invoker, clock, telemetry, concurrency=concurrency
        )
        self.destinations = Destinations(self.catalog, self.queue, clock, self._build)
        self.relay = Relay(
            self.store.deliveries,
            self.destinations.find,
            clock,
            telemetry,
            self.queue.deliveries_written,
        )

    def _build(self, reference: DestinationReference) -> Destination:
        return self.sink

    async def accept(self, name: str, *events: Any) -> list[str]:
        now = self.clock.now()
        rows = [
            QueuedEvent(f"{name}-{n}", name, json.dumps(event).encode(), now, now)
            for n, event in enumerate(events)
        ]
        await self.queue.accept(rows)
        return [row.request_id for row in rows]

    def attempts(self, name: str) -> list[Any]:
        """The events a function was invoked with, in order."""
        return [json.loads(r.event) for f, r in self.pool.requests if f == name]

    async def letters(self) -> list[DeadLetter]:
        return await self.store.dead_letters.list(None, 100)

    async def backlog(self) -> int:
        return sum((await self.store.backlog()).values())
