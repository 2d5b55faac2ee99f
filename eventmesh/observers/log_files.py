"""A log file for each function: everything its handlers write, with Lambda's START, END and REPORT
lines, as CloudWatch would keep it."""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from pathlib import Path

from eventmesh import telemetry
from eventmesh.observers.secrets import Mask, escape_controls

logger = logging.getLogger("eventmesh.log_files")

#: text waiting to be written; what comes while there is more is dropped, counted and reported
WAITING_BYTES = 16 * 1024 * 1024


class LogFiles:
    """A telemetry subscriber. `<directory>/<function>.log` is appended to from a thread of its own,
    so that a slow disk never stops the engine; each write opens the file anew, so that it may be
    rotated at any time."""

    def __init__(self, directory: Path, mask: Mask) -> None:
        """Makes the directory (mode 0700) when it is missing. Waits for the disk; raises
        OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable", str(directory))
        self._directory = directory
        self._mask = mask
        self._texts: dict[str, list[bytes]] = defaultdict(list)
        self._dropped: dict[str, int] = defaultdict(int)
        self._waiting = 0
        self._failing = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="eventmesh log files", daemon=True)
        self._thread.start()

    def __call__(self, event: telemetry.TelemetryEvent) -> None:
        """Takes `LogText`; never waits for the disk."""
        if not isinstance(event, telemetry.LogText):
            return
        with self._changed:
            if self._waiting > WAITING_BYTES:
                self._dropped[event.function] += event.text.count(b"\n")
                return
            self._texts[event.function].append(event.text)
            self._waiting += len(event.text)
            self._changed.notify()

    def close(self, seconds: float = 2.0) -> None:
        """Write what is waiting, for up to `seconds`, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while self._wait():
            with self._changed:
                texts, self._texts = self._texts, defaultdict(list)
                dropped, self._dropped = self._dropped, defaultdict(int)
                self._waiting = 0
            for function in texts.keys() | dropped.keys():
                self._append(function, texts.get(function, []), dropped.get(function, 0))

    def _wait(self) -> bool:
        """Until there is something to write; False when there is nothing and never will be."""
        with self._changed:
            while not (self._texts or self._dropped or self._closed):
                self._changed.wait()
            return bool(self._texts or self._dropped)

    def _append(self, function: str, texts: list[bytes], dropped: int) -> None:
        text = clean_text(b"".join(texts), self._mask)
        if dropped:
            text += f"({dropped} log lines dropped: the disk was too slow)\n"
        try:
            append_to(self._directory / f"{function}.log", text.encode("utf-8", "replace"))
            self._failing = False
        except OSError as error:
            if not self._failing:
                logger.warning("log lines are lost: %s", error)
            self._failing = True


def clean_text(text: bytes, mask: Mask) -> str:
    """Whole lines without secrets and control characters; each ends with a line feed."""
    lines = mask(text.decode("utf-8", "replace")).split("\n")
    if lines[-1] == "":
        lines.pop()
    return "".join(f"{escape_controls(line)}\n" for line in lines)


def append_to(file: Path, data: bytes) -> None:
    """Append to a file that only we may read, never through a symlink. Waits for the disk; raises
    OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(file, flags, 0o600), "ab", buffering=0) as stream:
        view = memoryview(data)
        while view:
            view = view[stream.write(view) or 0 :]
