"""Message groups of a queue: within one, records are handled one batch after the other, in order
(semantics 5.5, invariant I4 SingleFlight). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eventmesh.records import Record
from eventmesh.state.invariants import check

SINGLE_FLIGHT = "single-flight"


class MessageGroups:
    """Which groups have a batch in flight, and what came for them meanwhile. Records without a key
    are of no group."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Record]] = {}

    def __len__(self) -> int:
        """Records that wait for their group."""
        return sum(map(len, self._waiting.values()))

    @property
    def waiting(self) -> Sequence[Record]:
        """Records that wait for their group."""
        return [record for records in self._waiting.values() for record in records]

    def admit(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records whose group is free; the others wait until it ends."""
        if not self._waiting:
            return records
        free = []
        for record in records:
            waiting = self._waiting.get(record.key)
            if waiting is None:
                free.append(record)
            else:
                waiting.append(record)
        return free

    def begin(self, records: Iterable[Record]) -> frozenset[str]:
        """A batch of `records` goes off: its groups, in flight from now on."""
        keys = frozenset(record.key for record in records if record.key)
        for key in keys:
            check(SINGLE_FLIGHT, key not in self._waiting, f"group {key} is in flight already")
            self._waiting[key] = []
        return keys

    def take(self, keys: Iterable[str]) -> list[Record]:
        """What waits for groups that failed: it must go back with their failed records. The groups
        stay in flight."""
        taken: list[Record] = []
        for key in keys:
            taken += self._waiting[key]
            self._waiting[key] = []
        return taken

    def end(self, keys: Iterable[str]) -> list[Record]:
        """The batch ended: what waited for its groups, in order."""
        return [record for key in keys for record in self._waiting.pop(key, ())]

    def drop_waiting(self) -> None:
        """What waits was given back; the groups stay in flight."""
        for key in self._waiting:
            self._waiting[key] = []

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()
