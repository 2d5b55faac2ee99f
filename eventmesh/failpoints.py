"""Named points at which a test kills the engine: `EVENTMESH_FAILPOINT=before_settle:3` ends it with
SIGKILL at the third passage.

Without the variable a passage costs one look at an empty string.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "EVENTMESH_FAILPOINT"
#: records read; a handler about to be called, and back; a position, and a queue's or an
#: asynchronous event's outcome, about to be stored, and stored; asynchronous events in their
#: transaction, before and after its commit; a payload on its way to a destination, and there
POINTS = (
    "after_fetch",
    "before_invoke",
    "after_invoke",
    "before_checkpoint",
    "after_checkpoint",
    "before_settle",
    "after_settle",
    "accepted_before_commit",
    "accepted_after_commit",
    "before_delivery",
    "after_delivery",
)

_passages: Counter[str] = Counter()


def parse(text: str) -> tuple[str, int]:
    """Name and passage (from 1) of `name:n`; `name` alone is its first; "" is none at all.

    Raises ValueError for what is no point: a test that kills nothing would prove nothing.
    """
    name, _, passage = text.partition(":")
    if not name:
        return "", 0
    if name not in POINTS or not (passage or "1").isdecimal():
        raise ValueError(f"{VARIABLE}={text}: write NAME:N, with one of {', '.join(POINTS)}")
    return name, int(passage or "1")


_armed, _fatal_passage = parse(os.environ.get(VARIABLE, ""))


def reach(name: str) -> None:
    """The engine passes the point `name`: nothing happens, or it is its end. Safe in threads."""
    if _armed and name == _armed:
        _passages[name] += 1
        if _passages[name] >= _fatal_passage:
            os.kill(os.getpid(), signal.SIGKILL)
