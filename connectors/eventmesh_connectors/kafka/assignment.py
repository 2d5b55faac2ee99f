"""What one generation of the group gave us, until it is taken away (semantics 6.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from .client import Partition
from .records import name_shard


class Assignment:
    """Partitions that are ours. They are shown to the engine, perhaps drained, and ended.

    Nothing is committed for a partition before the engine opened it under this very assignment: a
    late commit of an earlier one could undo another member's progress (invariant I5 Fence).
    """

    def __init__(self, partitions: frozenset[Partition]) -> None:
        self.partitions = partitions
        self.named = {name_shard(one): one for one in sorted(partitions)}
        self.opened: set[Partition] = set()
        #: offsets that brokers said they do not keep
        self.unreadable: dict[Partition, int] = {}
        #: the engine knows of it
        self.shown = False
        #: it is being taken away: the engine shall finish what runs
        self.revoked = False
        #: the engine is done with all of it
        self.released = asyncio.Event()
        #: nothing may be read or committed any more
        self.ended = asyncio.Event()

    @property
    def is_live(self) -> bool:
        return not self.revoked and not self.ended.is_set()

    @property
    def shards(self) -> Mapping[str, Sequence[str]]:
        """As the engine wants them; no partition has parents."""
        return dict.fromkeys(self.named, ())

    def committable(self, offsets: Mapping[Partition, int]) -> dict[Partition, int]:
        """Those that may still be committed."""
        if self.ended.is_set():
            return {}
        return {one: offset for one, offset in offsets.items() if one in self.opened}
