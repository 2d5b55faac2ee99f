"""Which deliveries one acknowledgement may cover. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def count_covered(outstanding: Iterable[int], succeeded: Collection[int]) -> int:
    """How many of the oldest outstanding delivery tags have succeeded without a gap.

    `outstanding` are all tags of the channel not settled yet, rising. Acknowledging the last
    of these "and all before it" touches no other delivery.
    """
    count = 0
    for tag in outstanding:
        if tag not in succeeded:
            break
        count += 1
    return count
