"""Noticing changes by looking again and again, for file systems that tell nothing.

The walk of the whole directory is what counts. Where the system has notifications without closing
(macOS), watchfiles says when the next walk is worth while. Its own polling is not used: it follows
symlinks out of the bucket.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from watchfiles import awatch

from eventmesh.clock import Clock
from eventmesh_connectors.s3.catalogue import Listing
from eventmesh_connectors.s3.hints import Hints
from eventmesh_connectors.s3.keys import KeyFilter
from eventmesh_connectors.s3.tree import walk


class PollingWatcher:
    """Notices nothing by itself: the follower scans at its interval."""

    sees_closing = False

    def __init__(self, root: bytes, key_filter: KeyFilter, clock: Clock) -> None:
        self._root = root
        self._filter = key_filter
        self._clock = clock

    def scan(self) -> Listing:
        return walk(self._root, b"", self._filter)

    def collect(self) -> Hints:
        return Hints()

    async def wait(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    async def close(self) -> None:
        pass


class WakingWatcher(PollingWatcher):
    """Asks for a scan soon after anything below the bucket changed."""

    def __init__(
        self, root: bytes, key_filter: KeyFilter, clock: Clock, pause_seconds: float
    ) -> None:
        super().__init__(root, key_filter, clock)
        self._pause_seconds = pause_seconds
        self._woken = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    def collect(self) -> Hints:
        woken = self._woken.is_set()
        self._woken.clear()
        return Hints(rescan=woken)

    async def wait(self, seconds: float) -> None:
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen())
            await self._clock.sleep(0)
            self._woken.set()  # look once more: nobody listened since the first walk
        elif self._listener.done():
            await self._clock.sleep(min(seconds, self._pause_seconds))
            self._woken.set()  # plain polling is what is left
        elif await self._clock.wait(self._woken, seconds):
            # one walk for a burst, not one for each file
            await self._clock.sleep(min(seconds, self._pause_seconds))

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})

    async def _listen(self) -> None:
        path, recursive = os.fsdecode(self._root), self._filter.recursive
        with suppress(OSError, RuntimeError):
            async for _ in awatch(path, watch_filter=None, recursive=recursive):
                self._woken.set()
