"""Shard trees: which shards follow which, and where a shard without a position begins (semantics
4.1). Pure.

Streams split and merge their shards; a shard is read after its parents. Listings are what the
service says now: parents whose records are gone are missing from them, and nothing can wait for
these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListedShard:
    """One shard of a listing. `first` is the lowest sequence number it ever held; "" where the
    service does not say."""

    id: str
    parents: tuple[str, ...] = ()
    first: str = ""
    closed: bool = False


def living_family(shards: Iterable[ListedShard]) -> dict[str, tuple[str, ...]]:
    """Every shard with its listed parents, parents before children.

    Parents that are not listed are left out. A shard that would be its own ancestor waits for
    nobody on that circle, so that no listing, however wrong, starves a shard.
    """
    listed = {shard.id: shard.parents for shard in shards}
    family = {
        shard: tuple(p for p in dict.fromkeys(parents) if p in listed and p != shard)
        for shard, parents in listed.items()
    }
    ordered: dict[str, tuple[str, ...]] = {}
    for shard in family:
        _place(shard, family, ordered)
    return ordered


def _place(
    shard: str, family: Mapping[str, tuple[str, ...]], ordered: dict[str, tuple[str, ...]]
) -> None:
    """Put `shard` behind its ancestors, without recursion: trees of years of splits are deep."""
    path = [(shard, iter(family[shard]))] if shard not in ordered else []
    above = {shard}
    cut: dict[str, set[str]] = {}
    while path:
        child, parents = path[-1]
        parent = next(parents, None)
        if parent is None:
            path.pop()
            above.discard(child)
            gone = cut.get(child, ())
            ordered[child] = tuple(p for p in family[child] if p not in gone)
        elif parent in above:
            cut.setdefault(child, set()).add(parent)
        elif parent not in ordered:
            above.add(parent)
            path.append((parent, iter(family[parent])))


def is_before(one: str, other: str) -> bool:
    """Whether sequence number `one` is lower than `other`. They are numbers, not texts (semantics
    4.5); what is no number is before nothing."""
    return one.isdecimal() and other.isdecimal() and int(one) < int(other)


class Ancestry:
    """What one reader of a stream learned of its shards, to decide where one without a position
    begins.

    The starting position is for the shards that were there at the start. What came later, or
    follows a shard that was read, begins at its beginning: everything in it is new.
    """

    def __init__(self) -> None:
        self.family: dict[str, tuple[str, ...]] = {}
        self._shards: dict[str, ListedShard] = {}
        self._initial: frozenset[str] | None = None
        self._read: set[str] = set()
        self._placed: set[str] = set()

    def observe(self, shards: Sequence[ListedShard]) -> dict[str, tuple[str, ...]]:
        """Take in a listing; returns its family, parents before children."""
        self._shards = {shard.id: shard for shard in shards}
        self.family = living_family(shards)
        if self._initial is None:
            self._initial = frozenset(self.family)
        self._read.intersection_update(self.family)
        self._placed.intersection_update(self.family)
        return self.family

    def listed(self, shard: str) -> ListedShard | None:
        """The shard as it was listed last; None when it is gone, or too new."""
        return self._shards.get(shard)

    def resumed(self, shard: str) -> None:
        """The shard is read on from a position."""
        self._read.add(shard)

    def placed(self, shard: str) -> None:
        """The shard is read from the starting position."""
        self._placed.add(shard)

    def begins_at_its_beginning(self, shard: str) -> bool:
        """Whether the starting position does not count for `shard`.

        A parent that was not opened here was finished before: by an earlier run, or another
        engine.
        """
        if shard in self._read or self._initial is None or shard not in self._initial:
            return True
        return any(parent not in self._placed for parent in self.family.get(shard, ()))
