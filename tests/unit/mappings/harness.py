"""One mapping on memory, fake time and a fake handler."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from eventmesh.functions.catalog import FunctionCatalog
from eventmesh.functions.function import Function
from eventmesh.invocation.concurrency import ConcurrencyLimits
from eventmesh.invocation.invoker import Invoker
from eventmesh.mappings.host import PollerHost, Predicate
from eventmesh.mappings.invoking import FunctionBatchTarget
from eventmesh.mappings.mapping import EventSourceMapping
from eventmesh.mappings.policy import MappingPolicy
from eventmesh.mappings.queue_poller import QueuePoller
from eventmesh.mappings.stream_poller import StreamPoller
from eventmesh.records import Record
from eventmesh.state.contract import Delivery
from eventmesh.state.memory import MemoryStore
from eventmesh.telemetry import Telemetry, TelemetryEvent
from eventmesh.testing import FakeClock
from eventmesh.testing.clock import settle
from eventmesh.testing.pool import FakeHandler, FakePool


def record(number: int, *, key: str = "", arrived_at: float = 0.0, size: int = 2) -> Record:
    """Record number `number` of shard `s`; its JSON is `size` bytes long."""
    event = json.dumps("x" * (size - 2)).encode()
    return Record(f"id-{number}", event, arrived_at, "s", str(number), key)


class Steady(Random):
    """Randomness without surprises: every delay is the longest."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Harness:
    """Runs one source. `handled` lists the event of every invocation, in order."""

    def __init__(
        self,
        clock: FakeClock,
        handler: FakeHandler,
        *,
        mesh_limit: int = 100,
        reserved: int | None = None,
        store: MemoryStore | None = None,
        owner: str = "engine",
    ) -> None:
        self.clock = clock
        self.told: list[TelemetryEvent] = []
        self.telemetry = Telemetry()
        self.telemetry.subscribe(self.told.append)
        self.store = store or MemoryStore(clock)
        function = Function(
            "f", "app.handler", Path("/code"), Path("/python"), reserved_concurrency=reserved
        )
        self.pool = FakePool({"f": handler})
        self.limits = ConcurrencyLimits(mesh_limit, [function])
        invoker = Invoker(FunctionCatalog([function]), self.pool, self.limits, self.telemetry)
        self.mapping = EventSourceMapping("m", "memory", "it", clock, self.telemetry)
        self.host = PollerHost(
            mapping="m",
            function="f",
            clock=clock,
            telemetry=self.telemetry,
            reporter=self.mapping,
            target=FunctionBatchTarget("f", "m", invoker, clock),
            checkpoints=self.store.checkpoints,
            deliveries=self.store.deliveries,
            sent_to="sink",
            owner=owner,
            random=Steady(),
        )

    def start(
        self, source: Any, policy: MappingPolicy, passes: Predicate | None = None
    ) -> asyncio.Task[None]:
        """Poll `source` in the background."""
        kind = QueuePoller if hasattr(source, "receive") else StreamPoller
        self.poller = kind(source, self.host, policy, passes)
        return self.mapping.start(self.poller)

    async def stop(self, seconds: float = 10.0) -> bool:
        stopping = asyncio.ensure_future(self.mapping.stop(seconds))
        await settle(50)
        if not stopping.done():
            await self.clock.advance(seconds)
        return await stopping

    async def run(self, seconds: float = 0.0) -> None:
        """Let everything run, and time go by."""
        await settle(60)
        await self.clock.advance(seconds)
        await settle(60)

    @property
    def events(self) -> list[Any]:
        return [json.loads(request.event) for _, request in self.pool.requests]

    @property
    def bodies(self) -> list[list[Any]]:
        """The bodies of every batch."""
        return [values_of(event) for event in self.events]

    def told_of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    async def deliveries(self) -> list[Delivery]:
        return await self.store.deliveries.pending(100)

    async def failure_records(self) -> list[dict[str, Any]]:
        return [json.loads(delivery.payload) for delivery in await self.deliveries()]

    async def positions(self) -> dict[str, str]:
        return {c.shard: c.position for c in await self.store.checkpoints.load("m")}


def values_of(event: Mapping[str, Any]) -> list[Any]:
    """The values or bodies of an event's records."""
    return [r["body"] if "body" in r else r["data"] for r in event["Records"]]


def failing_on(*poison: Any) -> FakeHandler:
    """A handler that raises when its batch holds one of `poison`."""

    def handle(event: Mapping[str, Any]) -> None:
        found = [value for value in values_of(event) if value in poison]
        if found:
            raise ValueError(f"poison {found}")

    return handle


def reporting(*poison: Any, id_key: str = "sequenceNumber") -> FakeHandler:
    """A handler that reports `poison` values as failed."""

    def handle(event: Mapping[str, Any]) -> Any:
        failed = [
            {"itemIdentifier": item.get(id_key) or item["messageId"]}
            for item, value in zip(event["Records"], values_of(event), strict=True)
            if value in poison
        ]
        return {"batchItemFailures": failed}

    return handle


class Gate:
    """A handler that waits until it is let through; `inside` are the values it holds."""

    def __init__(self) -> None:
        self.inside: list[list[Any]] = []
        self._open = asyncio.Event()

    async def __call__(self, event: Mapping[str, Any]) -> None:
        values = values_of(event)
        self.inside.append(values)
        try:
            await self._open.wait()
        finally:
            self.inside.remove(values)

    def open(self) -> None:
        self._open.set()


def call_each(handlers: Sequence[Callable[[Any], Any]]) -> FakeHandler:
    """The n-th invocation goes to the n-th handler; the last one gets the rest."""
    left = list(handlers)

    def handle(event: Any) -> Any:
        return (left.pop(0) if len(left) > 1 else left[0])(event)

    return handle
