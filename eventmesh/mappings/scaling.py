"""How many batches of a queue may be in flight (semantics 5.4). Pure.

Without a maximum it starts at 5 and grows by 5 a second (AWS: 300 a minute) as long as all are
busy; after a minute in which they never were, it starts over.
"""

from __future__ import annotations

FIRST_CONCURRENCY = 5
GROWTH_PER_SECOND = 5.0
FORGET_SECONDS = 60.0
#: AWS's own bound for a mapping
MOST_CONCURRENCY = 1250


class ConcurrencyScale:
    """`limit` is the number of batches that may be in flight now."""

    def __init__(self, maximum: int | None, ceiling: int, now: float) -> None:
        self._fixed = None if maximum is None else max(1, min(maximum, ceiling))
        self._ceiling = max(1, min(ceiling, MOST_CONCURRENCY))
        self._grown = float(min(FIRST_CONCURRENCY, self._ceiling))
        self._busy_since: float | None = None
        self._last_busy = now

    @property
    def limit(self) -> int:
        return self._fixed if self._fixed is not None else int(self._grown)

    def observe(self, in_flight: int, now: float) -> None:
        """Look at the load: call it whenever a batch starts or ends, or is waiting to start."""
        if in_flight < self.limit:
            self._busy_since = None
            if now - self._last_busy >= FORGET_SECONDS:
                self._grown = float(min(FIRST_CONCURRENCY, self._ceiling))
            return
        if self._busy_since is not None:
            growth = (now - self._busy_since) * GROWTH_PER_SECOND
            self._grown = min(float(self._ceiling), self._grown + growth)
        self._busy_since = self._last_busy = now
