"""A mesh in the foreground: from start to a signal to the exit code."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Literal

from eventmesh.app import Mesh

#: tells a person where the mesh is
Tell = Callable[[Mesh], None]
#: how a served mesh ended
Ending = Literal["drained", "drain timed out", "interrupted", "source unreachable"]
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: how long start-up waits for sources before it shows what it has
SOURCES_SECONDS = 10.0


class _Signals:
    """Counts SIGTERM and SIGINT: the first asks to stop, the second to stop now."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.stop_now = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._received)

    def _received(self) -> None:
        (self.stop_now if self.stop.is_set() else self.stop).set()

    def restore(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def serve(
    mesh: Mesh,
    *,
    strict: bool = False,
    ready: Tell,
    stopping: Tell,
) -> Ending:
    """Run `mesh` until SIGTERM or SIGINT; a second one stops at once. `ready` is called when
    sources run.

    With `strict`, a source that cannot be reached ends it. Raises what `Mesh.start` raises.
    """
    signals = _Signals()
    try:
        starting = asyncio.create_task(mesh.start())
        await _either(starting, signals.stop)
        await starting
        try:
            return await _until_stopped(mesh, signals, strict, ready, stopping)
        except BaseException:
            await mesh.stop(0)
            raise
    finally:
        signals.restore()


async def _until_stopped(
    mesh: Mesh, signals: _Signals, strict: bool, ready: Tell, stopping: Tell
) -> Ending:
    await _either(mesh.sources_settled(SOURCES_SECONDS), signals.stop)
    if strict and mesh.troubles():
        await mesh.stop(0)
        return "source unreachable"
    if not signals.stop.is_set():
        ready(mesh)
    await signals.stop.wait()
    stopping(mesh)
    return await _drain(mesh, signals)


async def _drain(mesh: Mesh, signals: _Signals) -> Ending:
    draining = asyncio.create_task(mesh.stop(mesh.config.model.drain_timeout))
    await _either(asyncio.shield(draining), signals.stop_now)
    if not draining.done():
        draining.cancel()
        return "interrupted"
    return "drained" if await draining else "drain timed out"


async def _either(work: Awaitable[None] | asyncio.Future[bool], event: asyncio.Event) -> None:
    """Wait for `work` or `event`, whichever is first; neither is cancelled when it was a task."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait(
            {asyncio.ensure_future(work), waiting}, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        waiting.cancel()
