"""Files that are not complete yet, and when to look at them again. Pure: time is passed in."""

from __future__ import annotations

from dataclasses import dataclass

_FIRST_DELAY_SECONDS = 0.005
_LONGEST_DELAY_SECONDS = 5.0


@dataclass(slots=True)
class _Wait:
    reasons: int
    due: float
    stamp: bytes = b""
    since: float = 0.0
    delay: float = 0.0


class WaitingFiles:
    """Keys looked at in vain, with the reasons for the look. `now` is monotonic seconds."""

    def __init__(self, settle_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._waits: dict[bytes, _Wait] = {}

    def __len__(self) -> int:
        return len(self._waits)

    def __contains__(self, key: bytes) -> bool:
        return key in self._waits

    def is_settled(self, key: bytes, stamp: bytes, reasons: int, now: float) -> bool:
        """Whether `key` looked like `stamp` for the whole settle time; if not, it waits until it
        may have."""
        wait = self._waits.get(key)
        if wait is None or wait.stamp != stamp:
            self._waits[key] = _Wait(reasons, now + self._settle_seconds, stamp, now)
            return self._settle_seconds <= 0
        wait.reasons |= reasons
        wait.due = max(now, wait.since + self._settle_seconds)
        return now - wait.since >= self._settle_seconds

    def postpone(self, key: bytes, reasons: int, now: float) -> None:
        """Someone writes `key`: look again soon, then ever less often.

        The first delay is short because the kernel tells of a close just before it counts the
        writer out.
        """
        wait = self._waits.get(key)
        before = wait.delay if wait is not None else 0.0
        delay = min(before * 2, _LONGEST_DELAY_SECONDS) or _FIRST_DELAY_SECONDS
        self._waits[key] = _Wait(reasons, now + delay, delay=delay)

    def take(self, key: bytes) -> int:
        """Wait for `key` no longer; the reasons it waited for, 0 when it did not."""
        wait = self._waits.pop(key, None)
        return wait.reasons if wait is not None else 0

    def due(self, now: float) -> dict[bytes, int]:
        """The keys to look at again now, and why. They wait on until taken."""
        return {key: wait.reasons for key, wait in self._waits.items() if wait.due <= now}

    def next_due(self) -> float | None:
        """When the next key is due; None when nothing waits."""
        return min((wait.due for wait in self._waits.values()), default=None)
