"""A target and its positions in memory, for the tests of push sources that enqueue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from eventmesh.clock import Clock
from eventmesh.connectors import InvocationResult, SourceContext
from eventmesh.messages import HttpRoute


class MemoryPositions(dict[str, str]):
    """Positions that outlive their source, as in a store."""

    async def load(self) -> dict[str, str]:
        return dict(self)


@dataclass
class RecordingTarget:
    """Keeps what is enqueued: events and positions of one call together, or neither."""

    positions: MemoryPositions = field(default_factory=MemoryPositions)
    #: every successful call: its events, decoded, and its positions
    calls: list[tuple[list[Any], dict[str, str | None]]] = field(default_factory=list)
    #: raised by the next calls, one each
    failures: list[Exception] = field(default_factory=list)
    #: set by every successful call
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def invoke(self, event: bytes) -> InvocationResult:
        raise AssertionError("this source only enqueues")

    async def enqueue(
        self,
        events: Sequence[bytes],
        positions: Mapping[str, str | None] | None = None,
        *,
        synced: bool = False,
    ) -> Sequence[str]:
        if self.failures:
            raise self.failures.pop(0)
        self.calls.append(([orjson.loads(event) for event in events], dict(positions or {})))
        for key, position in (positions or {}).items():
            if position is None:
                self.positions.pop(key, None)
            else:
                self.positions[key] = position
        self.changed.set()
        return [f"request-{len(self.calls)}-{number}" for number in range(len(events))]

    async def until(self, count: int, seconds: float = 30) -> None:
        """Wait until `count` events came, in real time; TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds):
            while len(self.events) < count:
                self.changed.clear()
                await self.changed.wait()

    @property
    def events(self) -> list[Any]:
        return [event for events, _ in self.calls for event in events]

    @property
    def times(self) -> list[str]:
        """The `time` of every event, in order."""
        return [event["time"] for event in self.events]


class NoRoutes:
    def add(self, route: HttpRoute) -> None:
        raise AssertionError("this source serves no routes")

    def remove(self, route: HttpRoute) -> None:
        raise AssertionError("this source serves no routes")


class Announcements(list[str]):
    """What a source announced."""

    def __call__(self, detail: str) -> None:
        self.append(detail)


def make_context(
    target: RecordingTarget,
    clock: Clock,
    announcements: Announcements | None = None,
    mapping: str = "nightly",
) -> SourceContext:
    return SourceContext(
        mapping=mapping,
        clock=clock,
        log=logging.getLogger("eventmesh.test.source"),
        positions=target.positions,
        routes=NoRoutes(),
        announce=Announcements() if announcements is None else announcements,
        region="eu-west-1",
        account_id="123456789012",
        function_name="report",
    )
