"""Which slots are to be fired now, by the policy for missed runs. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import islice
from typing import Literal

from .slots import Timetable

MissedRuns = Literal["none", "one", "all"]

#: due slots are counted one by one up to here; beyond, only the newest are looked for
_COUNTED = 1000
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Spread:
    """The flexible time window: a delay for each slot, the same one whenever it is asked for."""

    window: timedelta = timedelta()
    seed: bytes = b""

    def moment(self, slot: datetime) -> datetime:
        """When `slot` is fired: within the window that begins with it."""
        if not self.window:
            return slot
        digest = blake2b(b"%s %d" % (self.seed, slot.timestamp()), digest_size=4).digest()
        return slot + self.window * (int.from_bytes(digest, "big") / 2**32)


@dataclass(frozen=True, slots=True)
class FiringRules:
    """When slots are fired and what becomes of those that were missed."""

    timetable: Timetable
    spread: Spread
    missed_runs: MissedRuns
    maximum_missed_runs: int


@dataclass(frozen=True, slots=True)
class Decision:
    """`fire` holds the slots to enqueue, in order; every slot up to `decided_until` is settled.

    `passed_over` counts the slots that were due and are not fired; None when they were too many
    to count.
    """

    fire: tuple[datetime, ...]
    decided_until: datetime
    passed_over: int | None = 0


def decide(rules: FiringRules, last_fire: datetime, now: datetime, *, starting: bool) -> Decision:
    """What to fire of the slots after `last_fire` that are due at `now`.

    While running, the newest due slot is fired however late it is; older ones were missed. At the
    start (`starting`) all of them were missed. Of missed ones, `none` fires nothing, `one` the
    newest, `all` the newest `maximum_missed_runs`. A `now` before `last_fire` fires nothing.
    """
    limit = rules.maximum_missed_runs if rules.missed_runs == "all" else 1
    newest, count = _newest_due(rules, last_fire, now, limit)
    if not newest:
        return Decision((), last_fire)
    fire = () if starting and rules.missed_runs == "none" else tuple(newest)
    return Decision(fire, newest[-1], None if count is None else count - len(fire))


def next_moment(rules: FiringRules, last_fire: datetime) -> datetime | None:
    """When the first slot after `last_fire` is to be fired; None when there is none."""
    slot = rules.timetable.next_after(last_fire)
    return None if slot is None else rules.spread.moment(slot)


def _newest_due(
    rules: FiringRules, last_fire: datetime, now: datetime, limit: int
) -> tuple[list[datetime], int | None]:
    counted = max(_COUNTED, limit)
    due = list(islice(_due(rules, last_fire, now), counted + 1))
    if len(due) <= counted:
        return due[-limit:], len(due)
    # a long gap: every slot before the window is due, so look back from there
    surely_due = now - rules.spread.window
    recent = deque(_due(rules, max(last_fire, surely_due), now), maxlen=limit)
    older = _backwards(rules.timetable, surely_due, last_fire, limit - len(recent))
    return [*reversed(older), *recent], None


def _due(rules: FiringRules, last_fire: datetime, now: datetime) -> Iterator[datetime]:
    """The due slots in order. One whose moment has not come holds back those after it: so one
    position tells what was fired, and no slot leaves its own window."""
    for slot in rules.timetable.after(last_fire):
        if rules.spread.moment(slot) > now:
            return
        yield slot


def _backwards(
    timetable: Timetable, until: datetime, after: datetime, limit: int
) -> list[datetime]:
    found: list[datetime] = []
    while len(found) < limit:
        slot = timetable.last_until(until)
        if slot is None or slot <= after:
            break
        found.append(slot)
        until = slot - _INSTANT
    return found
