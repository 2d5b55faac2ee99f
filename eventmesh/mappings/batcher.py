"""When a batch closes: it is full, its window is over, or it would get too large (semantics 3.5).

Pure: records in order, the time passed in (of a monotonic clock). Sizes are arithmetic on the
records' bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from typing import Literal

from eventmesh.mappings.policy import MappingPolicy
from eventmesh.records import Record

#: why a batch closed. `oversize`: its one record is larger than an event may be
FillReason = Literal["size", "window", "bytes", "drain", "oversize"]

_event = attrgetter("event")
#: a sleep may end a little before its time
_TOLERANCE_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that go to the handler together; `size_bytes` is their event's size."""

    records: Sequence[Record]
    reason: FillReason
    size_bytes: int


def events_bytes(records: Sequence[Record]) -> int:
    """The bytes of the records' JSON, each with a separator."""
    return sum(map(len, map(_event, records))) + len(records)


class Batcher:
    """Gathers the records of one lane. `overhead_bytes` is what the event holds besides records."""

    def __init__(self, policy: MappingPolicy, now: float, overhead_bytes: int = 0) -> None:
        self.overhead_bytes = overhead_bytes
        self._policy = policy
        self._records: list[Record] = []
        self._bytes = 0
        self._window_start = now

    def __len__(self) -> int:
        return len(self._records)

    @property
    def size_bytes(self) -> int:
        """The bytes of what is gathered."""
        return self._bytes

    @property
    def records(self) -> Sequence[Record]:
        """What is gathered and not taken yet, in order."""
        return self._records

    def add(self, records: Sequence[Record], now: float) -> None:
        """Gather `records` behind the others."""
        if not records:
            return
        if not self._records:
            self._open_window(now)
        self._records.extend(records)
        self._bytes += events_bytes(records)

    def due_at(self) -> float | None:
        """When `take` gives a batch without another record: a time (maybe past), None when
        empty."""
        if not self._records:
            return None
        if len(self._records) >= self._policy.batch_size or self._too_large():
            return float("-inf")
        return self._window_start + self._policy.window_seconds

    def take(self, now: float, *, drain: bool = False, reserved_bytes: int = 0) -> Batch | None:
        """The next batch that closed by `now`, None when none did; `drain` closes any.

        `reserved_bytes` of the event are wanted for something else (a window's state).
        """
        due = self.due_at()
        if due is None:
            return None
        count, size = self._fitting(reserved_bytes)
        if count == 0:
            return self._cut(1, "oversize")
        if count < min(len(self._records), self._policy.batch_size):
            return self._cut(count, "bytes", size)
        if count == self._policy.batch_size:
            return self._cut(count, "size", size)
        over = due <= now + _TOLERANCE_SECONDS
        if over or drain:
            return self._cut(count, "window" if over else "drain", size)
        return None

    def restart_window(self, now: float) -> None:
        """The previous invocation ended: where the window counts from there, it starts now."""
        if not self._policy.window_from_first_record:
            self._window_start = now

    def clear(self) -> Sequence[Record]:
        """Forget and return what is gathered."""
        records, self._records, self._bytes = self._records, [], 0
        return records

    def _open_window(self, now: float) -> None:
        """The first record of a batch came: windows that went by without one do not count."""
        length = self._policy.window_seconds
        if self._policy.window_from_first_record or not length:
            self._window_start = now
        elif now > self._window_start:
            self._window_start += (now - self._window_start) // length * length

    def _too_large(self) -> bool:
        return self.overhead_bytes + self._bytes > self._policy.largest_event_bytes

    def _fitting(self, reserved_bytes: int) -> tuple[int, int | None]:
        """How many records the next batch may hold, and their bytes where known."""
        count = min(len(self._records), self._policy.batch_size)
        room = self._policy.largest_event_bytes - self.overhead_bytes - reserved_bytes
        if self._bytes <= room:
            return count, self._bytes if count == len(self._records) else None
        sizes = list(accumulate(len(r.event) + 1 for r in self._records[:count]))
        fitting = bisect_right(sizes, room)
        return fitting, sizes[fitting - 1] if fitting else None

    def _cut(self, count: int, reason: FillReason, size: int | None = None) -> Batch:
        if count == len(self._records):
            records, self._records = self._records, []
        else:
            records = self._records[:count]
            del self._records[:count]
        if size is None:
            size = events_bytes(records)
        self._bytes -= size
        return Batch(records, reason, size + self.overhead_bytes)
