"""What to do next with one batch of a stream: invoke, wait, give up, done (semantics 4.3, 4.4).

Pure: the caller invokes and tells the outcome, with the time passed in: `now` is the wall clock's
(ages), `monotonic` the other (delays). Records are finished from
the first to the last, so `finished` is how far the checkpoint may move within the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from eventmesh.mappings.policy import MappingPolicy
from eventmesh.records import Record

RETRY_ATTEMPTS_EXHAUSTED = "RetryAttemptsExhausted"
RECORD_AGE_EXCEEDED = "RecordAgeExceeded"
PAYLOAD_SIZE_EXCEEDED = "MaximumPayloadSizeExceeded"

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
#: a sleep may end a little before its time
_TOLERANCE_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Invoke:
    """Hand these records to the handler, as attempt number `attempt`."""

    records: Sequence[Record]
    attempt: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be done for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """These records go no further: record them, then call `gave_up`."""

    records: Sequence[Record]
    condition: str
    #: `approximateInvokeCount` of the failure record
    invoke_count: int


@dataclass(frozen=True, slots=True)
class Done:
    """Every record is finished."""


Decision = Invoke | Wait | GiveUp | Done


def retry_delay(failures: int, random: Random) -> float:
    """Seconds before the next attempt after `failures` in a row: 1, 2, 4 ... 60, less up to half
    of it at random."""
    longest = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * random.uniform(0.5, 1.0)


class BatchAttempts:
    """One batch on its way. The current batch is what lies between `finished` and the last cut."""

    def __init__(self, records: Sequence[Record], policy: MappingPolicy, random: Random) -> None:
        self.records = records
        self.finished = 0
        self._policy = policy
        self._random = random
        #: where the current batch ends, then the ones that bisecting set apart, nearest last
        self._ends = [len(records)]
        self._attempts = 0
        self._throttles = 0
        self._due_at = float("-inf")

    @property
    def attempts(self) -> int:
        """Failed attempts of the current batch."""
        return self._attempts

    def next(self, now: float, monotonic: float) -> Decision:
        """What to do now. Ages count before an attempt: only the expired prefix is given up."""
        if not self._ends:
            return Done()
        expired = self._expired(now)
        if expired:
            records = self.records[self.finished : self.finished + expired]
            return GiveUp(records, RECORD_AGE_EXCEEDED, max(1, self._attempts))
        if self._exhausted():
            return GiveUp(self._current(), RETRY_ATTEMPTS_EXHAUSTED, self._attempts)
        if monotonic < self._due_at - _TOLERANCE_SECONDS:
            return Wait(self._until_due(now, monotonic))
        return Invoke(self._current(), self._attempts + 1)

    def succeeded(self) -> None:
        """The current batch was handled."""
        self._finish(self._ends[-1] - self.finished)

    def failed(self, monotonic: float) -> bool:
        """The handler failed; returns whether the batch was bisected, which uses no attempt."""
        self._throttles = 0
        end = self._ends[-1]
        if self._policy.bisect and end - self.finished > 1:
            self._ends.append(self.finished + (end - self.finished + 1) // 2)
            self._start_over()
            return True
        self._attempts += 1
        self._due_at = monotonic + retry_delay(self._attempts, self._random)
        return False

    def reported(self, first_failed: int, monotonic: float) -> bool:
        """The handler reported failures, the lowest at `first_failed` of the current batch: what
        is before it is finished, the rest is a new batch. Returns whether it was bisected."""
        if first_failed == 0:
            return self.failed(monotonic)
        self._finish(first_failed)
        return False

    def throttled(self, monotonic: float) -> None:
        """No handler ran: no attempt is used, the next one waits (semantics 4.3)."""
        self._throttles += 1
        self._due_at = monotonic + retry_delay(self._throttles, self._random)

    def hurry(self) -> None:
        """There is room again for what was throttled: the next attempt need not wait longer."""
        if self._throttles:
            self._due_at = float("-inf")

    def gave_up(self, decision: GiveUp) -> None:
        """The records of `decision` are recorded, or nobody wants to know."""
        attempts = self._attempts
        self._finish(len(decision.records))
        if decision.condition == RECORD_AGE_EXCEEDED and self._ends:
            self._attempts = attempts

    def _current(self) -> Sequence[Record]:
        if self.finished == 0 and self._ends[-1] == len(self.records):
            return self.records
        return self.records[self.finished : self._ends[-1]]

    def _finish(self, count: int) -> None:
        self.finished += count
        while self._ends and self._ends[-1] <= self.finished:
            self._ends.pop()
        self._start_over()

    def _start_over(self) -> None:
        self._attempts = self._throttles = 0
        self._due_at = float("-inf")

    def _exhausted(self) -> bool:
        return 0 <= self._policy.maximum_retries < self._attempts

    def _expired(self, now: float) -> int:
        """How many records at the start of the current batch are too old."""
        limit = self._policy.maximum_age_seconds
        if limit < 0:
            return 0
        count = 0
        for record in self.records[self.finished : self._ends[-1]]:
            if now - record.arrived_at <= limit:
                break
            count += 1
        return count

    def _until_due(self, now: float, monotonic: float) -> float:
        """The wait ends early when the first record gets too old meanwhile."""
        wait = self._due_at - monotonic
        if self._policy.maximum_age_seconds >= 0:
            arrived = self.records[self.finished].arrived_at
            expires = arrived + self._policy.maximum_age_seconds
            wait = min(wait, max(0.0, expires - now) + _TOLERANCE_SECONDS)
        return wait
