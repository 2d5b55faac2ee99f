"""What the tests against AWS emulators share: names of their own, and a context."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from eventmesh.clock import SystemClock
from eventmesh.connectors import SourceContext
from tests.unit.connectors.recording_bucket_target import Announcements, NoRoutes


def new_name(what: str) -> str:
    """A name no other test has."""
    return f"{what}-{uuid.uuid4().hex[:12]}"


def make_context(positions: Any = None) -> SourceContext:
    return SourceContext(
        mapping="fn-sqs",
        clock=SystemClock(),
        log=logging.getLogger("eventmesh.test.aws"),
        positions=positions,
        routes=NoRoutes(),
        announce=Announcements(),
    )


async def called(function: Callable[..., Any], **arguments: Any) -> Any:
    """A call of boto3, off the event loop."""
    return await asyncio.to_thread(lambda: function(**arguments))


async def until(
    condition: Callable[[], Awaitable[bool]] | Callable[[], bool], seconds: float = 20.0
) -> None:
    """Wait until `condition` holds; looks every 50 ms."""
    async with asyncio.timeout(seconds):
        while True:
            held = condition()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.05)
