"""The one thread that writes: it takes whatever waits, commits it as one transaction, and answers
all callers at once.

A write belongs to the event loop until `submit`, then to the thread, then to the loop again.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from eventmesh import failpoints
from eventmesh.state.contract import QueuedEvent
from eventmesh.state.event_rows import insert_events
from eventmesh.state.faults import explain, is_fsync_failure, is_storage_fault, unsynced

#: most writes and bytes of payload in one transaction
GROUP_WRITES = 1000
GROUP_BYTES = 4 * 1024 * 1024

#: SQLite's `synchronous`: FULL syncs the log at each commit, NORMAL only when it is folded back
_LEVELS = {True: "FULL", False: "NORMAL"}


@dataclass(slots=True, eq=False)
class Write:
    """One call's part of a transaction: `events` to insert, then `work` on the connection.

    `work` may run twice (its group is tried again piece by piece when one piece failed), so it has
    no effect but in the database. `abandoned` is called on the loop with a result whose caller was
    cancelled.
    """

    work: Callable[[sqlite3.Connection], Any] | None
    future: asyncio.Future[Any]
    synced: bool = False
    events: Sequence[QueuedEvent] = ()
    size: int = 0
    abandoned: Callable[[Any], None] | None = None


@dataclass(slots=True)
class _Answer:
    write: Write
    result: Any = None
    error: BaseException | None = None


class GroupWriter:
    """Owns the connection and its thread. All methods are called on the event loop and never
    wait."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        file: Path,
        loop: asyncio.AbstractEventLoop,
        release: Callable[[], None],
    ) -> None:
        """`release` runs in the thread after its last commit. Blocks until the thread runs."""
        self._connection = connection
        self._file = file
        self._loop = loop
        self._release = release
        self._gathered: list[Write] = []
        self._inbox: SimpleQueue[list[Write] | None] = SimpleQueue()
        self._waiting: deque[Write] = deque()
        self._stopping = False
        self._synced: bool | None = None
        self._broken = False
        self._stopped: asyncio.Future[None] = loop.create_future()
        # a daemon: an engine that forgets to close must still be able to exit
        self._thread = threading.Thread(target=self._run, name="eventmesh-state-write", daemon=True)
        self._thread.start()

    def submit(self, write: Write) -> None:
        """Queue a write. All of one turn of the loop travel together."""
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(write)

    def stop(self) -> asyncio.Future[None]:
        """Commit what was submitted, then end the thread; the future is done when it has let go of
        the file."""
        self._hand_over()
        self._inbox.put(None)
        return self._stopped

    def _hand_over(self) -> None:
        if self._gathered:
            self._inbox.put(self._gathered)
            self._gathered = []

    def _deliver(self, answers: Sequence[_Answer]) -> None:
        for answer in answers:
            write, future = answer.write, answer.write.future
            if future.done():
                if answer.error is None and write.abandoned is not None:
                    write.abandoned(answer.result)
            elif answer.error is not None:
                future.set_exception(answer.error)
            else:
                future.set_result(answer.result)

    # what follows runs in the thread

    def _run(self) -> None:
        # RuntimeError: the loop was closed without closing the store; nobody is left to answer
        with contextlib.suppress(RuntimeError):
            while group := self._take_group():
                self._loop.call_soon_threadsafe(self._deliver, self._commit(group))
        self._release()
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopped.set_result, None)

    def _take_group(self) -> list[Write]:
        """What waits, up to the limits; waits for something unless stopping. [] at the end."""
        while not self._stopping and (not self._waiting or not self._inbox.empty()):
            writes = self._inbox.get()
            self._stopping = writes is None
            self._waiting.extend(writes or ())
        group: list[Write] = []
        size = 0
        while self._waiting and len(group) < GROUP_WRITES and size < GROUP_BYTES:
            group.append(self._waiting.popleft())
            size += group[-1].size
        return group

    def _commit(self, group: Sequence[Write]) -> list[_Answer]:
        try:
            results = self._transact(group)
        except BaseException as error:
            if len(group) == 1 or self._broken or is_storage_fault(error):
                return [_Answer(write, error=self._explain(error)) for write in group]
            # one of them is wrong: each alone, so that it fails alone
            return [answer for write in group for answer in self._commit([write])]
        return [_Answer(write, result) for write, result in zip(group, results, strict=True)]

    def _transact(self, group: Sequence[Write]) -> list[Any]:
        if self._broken:
            raise unsynced(self._file)
        connection = self._connection
        self._set_synced(any(write.synced for write in group))
        connection.execute("BEGIN IMMEDIATE")
        try:
            events = [event for write in group for event in write.events]
            insert_events(connection, events)
            results = [write.work(connection) if write.work else None for write in group]
            if events:
                failpoints.reach("accepted_before_commit")
            connection.execute("COMMIT")
            if events:
                failpoints.reach("accepted_after_commit")
        except BaseException as error:
            self._broken = is_fsync_failure(error)
            # SQLite itself has rolled back after some errors
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results

    def _set_synced(self, synced: bool) -> None:
        if synced == self._synced:
            return
        # this pragma acts when it is compiled: `execute` may reuse a compiled one,
        # `executescript` never does
        self._connection.executescript(f"PRAGMA synchronous = {_LEVELS[synced]}")
        self._synced = synced

    def _explain(self, error: BaseException) -> BaseException:
        if self._broken:
            return unsynced(self._file)
        return explain(error, self._file) if isinstance(error, sqlite3.Error) else error
