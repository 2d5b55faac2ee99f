"""When a connection has taken too long, decided once a second from what can be seen of it.

Nothing is noted per request: a phase's time counts from the sweep that first saw it, so it is over
one sweep before its limit at the latest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from eventmesh.http.limits import Limits

SWEEP_SECONDS = 1.0


class Phase(Enum):
    """What a connection is at."""

    NEW = "connected, nothing sent"
    IDLE = "between requests"
    HEAD = "a request's line and headers are coming"
    BODY = "a request's body is coming"
    BUSY = "the handler works, or reading is paused"
    WRITING = "the client takes the response too slowly"
    CLOSING = "the last response is sent"


@dataclass(frozen=True, slots=True)
class Sight:
    """A connection at one moment. `mark` changes with every step forward that resets the time."""

    phase: Phase
    mark: int
    received: int = 0


class Deadline:
    """One connection's time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seconds = {
            Phase.NEW: limits.head_seconds,
            Phase.IDLE: limits.keep_alive_seconds,
            Phase.HEAD: limits.head_seconds,
            Phase.BODY: limits.body_seconds,
            Phase.WRITING: limits.write_stall_seconds,
            Phase.CLOSING: limits.linger_seconds,
        }
        self._step: tuple[Phase, int] | None = None
        self._since = 0.0
        self._rate_since = 0.0
        self._rate_received = 0

    def is_over(self, now: float, sight: Sight) -> bool:
        """Whether the connection seen now (monotonic seconds) has used up its time."""
        step = (sight.phase, sight.mark)
        if step != self._step:
            self._step = step
            self._since = self._rate_since = now
            self._rate_received = sight.received
            return False
        if now - self._since >= self._seconds.get(sight.phase, float("inf")) - SWEEP_SECONDS:
            return True
        return sight.phase is Phase.BODY and self._is_too_slow(now, sight.received)

    def _is_too_slow(self, now: float, received: int) -> bool:
        seconds = self._limits.body_rate_seconds
        if now - self._rate_since < seconds - SWEEP_SECONDS:
            return False
        if received - self._rate_received < self._limits.body_bytes_per_second * seconds:
            return True
        self._rate_since, self._rate_received = now, received
        return False
