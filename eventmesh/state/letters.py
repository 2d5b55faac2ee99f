"""What a store decides about dead letters, whatever it keeps them in."""

from __future__ import annotations

from collections.abc import Sequence

from eventmesh.errors import StateError
from eventmesh.state.contract import DeadLetter, QueuedEvent

#: fewer characters of a request id name nothing
PREFIX_LENGTH = 4


def choose_request(prefix: str, candidates: Sequence[str]) -> str | None:
    """Which of the request ids that begin with `prefix` it means: itself, or the only one.

    Raises StateError when it could mean several.
    """
    if prefix in candidates:
        return prefix
    if len(prefix) < PREFIX_LENGTH or not candidates:
        return None
    if len(candidates) > 1:
        raise StateError(
            f"`{prefix}` begins several request ids ({', '.join(sorted(candidates)[:2])}, ...); "
            "write more of the one you mean"
        )
    return candidates[0]


def missing_letter(letter: DeadLetter) -> StateError:
    return StateError(
        f"the dead letter of request {letter.request_id} is gone (purged meanwhile); "
        "nothing was queued again"
    )


def revive(letter: DeadLetter, now: float) -> QueuedEvent:
    """The letter's event as if accepted `now`: its age and attempts start again (semantics 2.1)."""
    return QueuedEvent(
        request_id=letter.request_id,
        function=letter.function,
        payload=letter.payload,
        accepted_at=now,
        due_at=now,
        qualifier=letter.qualifier,
        source=letter.source,
    )
