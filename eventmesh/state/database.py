"""The open file on an event loop: one thread that writes, one that reads."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from eventmesh.errors import StateError
from eventmesh.state.faults import explain
from eventmesh.state.lock import EngineLock
from eventmesh.state.opening import Opened
from eventmesh.state.writer import GroupWriter, Write

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class Database:
    """The open file: a writing and a reading thread, and the lock. Lives on one event loop."""

    def __init__(self, opened: Opened, loop: asyncio.AbstractEventLoop) -> None:
        self._opened = opened
        self._loop = loop
        self._closed = False
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="eventmesh-state-read")
        self._writer = GroupWriter(opened.writing, opened.file, loop, opened.close_writing)

    @property
    def lock(self) -> EngineLock | None:
        return self._opened.lock

    async def write(self, work: Work[T], *, synced: bool = False, size: int = 0) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self.submit(Write(work, future, synced, size=size))
        return await future

    def submit(self, write: Write) -> None:
        self.refuse_closed()
        self._writer.submit(write)

    def undo(self, work: Work[Any]) -> None:
        """Write without a caller; taken until the last moment of `close`."""
        self._writer.submit(Write(work, self._loop.create_future()))

    def new_future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    async def read(self, work: Work[T]) -> T:
        self.refuse_closed()
        return await self._loop.run_in_executor(self._reading, self._read, work)

    def _read(self, work: Work[T]) -> T:
        try:
            return work(self._opened.reading)
        except sqlite3.Error as error:
            raise explain(error, self._opened.file) from error

    def refuse_closed(self) -> None:
        if self._closed:
            raise StateError("the state is closed: eventmesh is stopping")

    async def close(self) -> None:
        self._closed = True
        # everything before it is answered, and so what cancelled callers left is being undone
        barrier = self._loop.create_future()
        self._writer.submit(Write(None, barrier))
        with contextlib.suppress(StateError):
            await barrier
        await self._loop.run_in_executor(self._reading, self._opened.reading.close)
        self._reading.shutdown(wait=False)
        await self._writer.stop()
