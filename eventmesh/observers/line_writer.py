"""Writes lines to a stream from a thread of its own, so that a slow terminal or a full pipe never
stops the engine."""

from __future__ import annotations

import queue
import threading
from typing import TextIO

#: calls waiting to be written; more are dropped, counted and reported
WAITING = 10_000


class LineWriter:
    """`write` never waits. Lines that find the queue full are dropped; how many is written when
    there is room again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._queue: queue.Queue[list[str] | None] = queue.Queue(WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="eventmesh log", daemon=True)
        self._thread.start()

    def write(self, lines: list[str]) -> None:
        try:
            self._queue.put_nowait(lines)
        except queue.Full:
            self._dropped += len(lines)

    def close(self, seconds: float = 2.0) -> None:
        """Write what is waiting, for up to `seconds`, and end the thread."""
        try:
            self._queue.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            if dropped:
                lines = [*lines, f"({dropped} log lines dropped: the output was too slow)"]
            try:
                self._stream.write("\n".join(lines) + "\n")
                if self._queue.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                return
