"""A target and a store of positions in memory, for the tests of a directory as a bucket."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from eventmesh.clock import Clock, SystemClock
from eventmesh.connectors import InvocationResult, SourceContext
from eventmesh.messages import HttpRoute


class RecordingBucketTarget:
    """Keeps what is enqueued; events and positions of a call come together or not at all."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.calls: list[tuple[list[bytes], dict[str, str | None]]] = []
        self.stored: dict[str, str] = {}
        #: raised by the next calls, one each
        self.failures: list[Exception] = []
        self.attempts = 0
        self.open = asyncio.Event()
        self.open.set()
        self._ids = itertools.count(1)

    async def invoke(self, event: bytes) -> InvocationResult:
        raise AssertionError("a bucket only enqueues")

    async def enqueue(
        self,
        events: Sequence[bytes],
        positions: Mapping[str, str | None] | None = None,
        *,
        synced: bool = False,
    ) -> Sequence[str]:
        self.attempts += 1
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.calls.append((list(events), dict(positions or {})))
        self.events.extend(events)
        for key, position in (positions or {}).items():
            if position is None:
                self.stored.pop(key, None)
            else:
                self.stored[key] = position
        return [f"request-{next(self._ids)}" for _ in events]

    async def load(self) -> dict[str, str]:
        return dict(self.stored)

    def records(self) -> list[dict[str, Any]]:
        """The record of every event, in order."""
        return [orjson.loads(event)["Records"][0] for event in self.events]

    def seen(self) -> list[tuple[str, str]]:
        """Event name and decoded key of every event, in order."""
        return [
            (record["eventName"], decoded(record["s3"]["object"]["key"]))
            for record in self.records()
        ]

    def sequencers(self) -> list[str]:
        return [record["s3"]["object"]["sequencer"] for record in self.records()]

    def keys(self) -> set[str]:
        """The catalogued keys as stored."""
        return {key for key in self.stored if not key.startswith(":")}


def decoded(key: str) -> str:
    return unquote_to_bytes(key.replace("+", "%20")).decode(errors="surrogateescape")


class NoRoutes:
    def add(self, route: HttpRoute) -> None:
        raise AssertionError("a bucket serves no routes")

    def remove(self, route: HttpRoute) -> None:
        raise AssertionError("a bucket serves no routes")


class Announcements(list[str]):
    """What a source announced."""

    def __call__(self, detail: str) -> None:
        self.append(detail)


def make_context(
    target: RecordingBucketTarget,
    announcements: Callable[[str], None],
    clock: Clock | None = None,
    mapping: str = "thumbnail-s3",
) -> SourceContext:
    return SourceContext(
        mapping=mapping,
        clock=clock or SystemClock(),
        log=logging.getLogger("eventmesh.test.s3"),
        positions=target,
        routes=NoRoutes(),
        announce=announcements,
    )
