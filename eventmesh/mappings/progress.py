"""How far a shard is finished when several lanes work on it (invariants I1 NoSkip, I3 Monotone).

Pure. Records are numbered as they are read; each lane finishes its own in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from eventmesh.state.invariants import check

NO_SKIP = "no-skip"


class ShardProgress:
    """The low watermark of a shard: the last record before the first unfinished one."""

    def __init__(self, lanes: int) -> None:
        #: positions of the records from number `_first` on; the watermark is just before
        self._positions: list[str] = []
        self._first = 0
        self._unfinished: list[deque[int]] = [deque() for _ in range(lanes)]
        self._watermark: str | None = None

    @property
    def pending(self) -> int:
        """Records handed to lanes that are not finished."""
        return sum(map(len, self._unfinished))

    @property
    def span(self) -> int:
        """Records read beyond the watermark, filtered ones among them."""
        self._advance()
        return len(self._positions)

    @property
    def watermark(self) -> str | None:
        """Position of the last record that may be checkpointed; None before there is one."""
        self._advance()
        return self._watermark

    def read(self, positions: Sequence[str]) -> int:
        """Records were read; returns the number of the first. What no lane gets is finished."""
        number = self._first + len(self._positions)
        self._positions.extend(positions)
        return number

    def assign(self, lane: int, numbers: Iterable[int]) -> None:
        """A lane got records, by number, rising."""
        self._unfinished[lane].extend(numbers)

    def finish(self, lane: int, count: int) -> None:
        """A lane finished its next `count` records."""
        unfinished = self._unfinished[lane]
        check(
            NO_SKIP, count <= len(unfinished), f"{count} finished of {len(unfinished)} unfinished"
        )
        if count == len(unfinished):
            unfinished.clear()
            return
        for _ in range(count):
            unfinished.popleft()

    def _advance(self) -> None:
        low = min((lane[0] for lane in self._unfinished if lane), default=None)
        end = self._first + len(self._positions) if low is None else low
        count = end - self._first
        check(NO_SKIP, count >= 0, "an unfinished record lies before the watermark")
        if count:
            self._watermark = self._positions[count - 1]
            del self._positions[:count]
            self._first = end
