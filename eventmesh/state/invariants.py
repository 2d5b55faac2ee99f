"""What must hold whatever happens, as named assertions that stay on in production (`python -O`
does not remove them)."""

from __future__ import annotations

from collections.abc import Sequence

from eventmesh.state.contract import Finished, Postponed

#: an event is settled exactly once, by whoever claimed it
SETTLE_CLAIMED = "settle-claimed"
#: a settlement speaks of one event: its dead letter carries the same request
FAILURE_ATOMIC = "failure-atomic"


class InvariantBroken(AssertionError):
    """A bug in eventmesh, never a condition to handle. `name` is one of this module's names."""

    def __init__(self, name: str, detail: str) -> None:
        self.name = name
        super().__init__(f"invariant {name} broken: {detail}")


def check(name: str, holds: bool, detail: str) -> None:
    """Raise InvariantBroken unless `holds`."""
    if not holds:
        raise InvariantBroken(name, detail)


def check_settled(settlements: Sequence[Finished | Postponed], hit: int) -> None:
    """Raise InvariantBroken unless `hit` claimed events went, and each dead letter is its
    event's."""
    check(
        SETTLE_CLAIMED,
        hit == len(settlements),
        f"{len(settlements) - hit} of {len(settlements)} settled events are not claimed; among "
        f"requests {', '.join(one.event.request_id for one in settlements[:5])}",
    )
    for one in settlements:
        letter = one.dead_letter if isinstance(one, Finished) else None
        if letter is not None:
            check(
                FAILURE_ATOMIC,
                letter.request_id == one.event.request_id,
                f"the dead letter of {one.event.request_id} names {letter.request_id}",
            )
