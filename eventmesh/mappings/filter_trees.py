"""Trees of keys, compiled to closures over a record's fields (semantics 3.6).

Below an array of objects all keys of a tree must hold in the same element. A key `a.b` and the
nested `a`, `b` are the same, in patterns and in records. Matching never raises, however deep the
arrays of a record are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from eventmesh.mappings.filter_operators import Predicate

#: what a field that is not there looks like
MISSING = object()

#: where alternatives stand in a pattern; no part has a dot
Path = tuple[str, ...]
ObjectTest = Callable[[Mapping[str, Any]], bool]

_SCALARS = frozenset({str, int, float, bool, type(None)})
_ARRAYS = (list, tuple)


@dataclass(frozen=True, slots=True)
class Leaf:
    """The alternatives of one field.

    `accepts` tests a scalar; `absent` says whether the field may be missing; `typed` that nothing
    but scalars it knows is accepted. `wanted` is the pattern's own list.
    """

    wanted: Sequence[Any]
    accepts: Predicate
    absent: bool
    typed: bool

    def test(self, value: Any) -> bool:
        """Whether a field's value fits: a scalar, any scalar of an array, or MISSING."""
        if value.__class__ in _SCALARS:
            return self.accepts(value)
        if isinstance(value, _ARRAYS):
            return self._test_array(value)
        # an object is no value: exists works on leaves only
        return self.absent

    def _test_array(self, values: Sequence[Any]) -> bool:
        found = False
        for value in flatten(values):
            if value.__class__ in _SCALARS:
                if self.accepts(value):
                    return True
                found = True
        return self.absent and not found

    def compiled(self) -> Predicate:
        """`test` as a closure, shorter where the kind of value need not be looked at first."""
        accepts, test = self.accepts, self.test
        if self.absent or not self.typed:
            return test
        return lambda value: accepts(value) or (value.__class__ is list and test(value))


@dataclass(eq=False)
class Node:
    """A key of a pattern: its own alternatives, keys below it, or both (`a` and `a.b`)."""

    leaf: Leaf | None = None
    children: dict[str, Node] = field(default_factory=dict)

    @cached_property
    def absent(self) -> bool:
        """Whether a record without this key fits: all alternatives hold `exists: false`."""
        return (self.leaf is None or self.leaf.absent) and self.absent_below

    @cached_property
    def absent_below(self) -> bool:
        """Whether a value without any of the keys below fits."""
        return all(child.absent for child in self.children.values())

    @cached_property
    def test(self) -> Predicate:
        """Whether a value fits; MISSING is one."""
        if self.leaf is None:
            return _compile_branch(self)
        own = self.leaf.compiled()
        if not self.children:
            return own
        below = _compile_branch(self)
        return lambda value: own(value) and below(value)

    @cached_property
    def dotted(self) -> frozenset[str]:
        """How a record may spell the keys below in one: `b.c` for the nested `b`, `c`."""
        return frozenset(
            ".".join(path[:length]) for path in self.paths() for length in range(2, len(path) + 1)
        )

    def paths(self) -> Iterator[Path]:
        """Every path that leads to alternatives, from here."""
        if self.leaf is not None:
            yield ()
        for key, child in self.children.items():
            for path in child.paths():
                yield (key, *path)

    def candidates(self, values: Sequence[Any]) -> list[Mapping[str, Any]]:
        """The elements of an array one of which must have all keys fit; [] where it is as if the
        keys were not there. Where absence would do, only elements that have one of them count."""
        elements = [value for value in flatten(values) if isinstance(value, Mapping)]
        if not self.absent_below:
            return elements
        return [element for element in elements if self.touches(element)]

    def touches(self, value: Any) -> bool:
        """Whether `value` holds any scalar that this node asks about."""
        if isinstance(value, _ARRAYS):
            return any(self.touches(one) for one in flatten(value))
        if isinstance(value, Mapping):
            keys = nest(value, self.dotted)
            return any(
                child.touches(keys[key]) for key, child in self.children.items() if key in keys
            )
        return self.leaf is not None


def plant(rule: Mapping[Path, Leaf]) -> Node:
    """The tree of a conjunction of alternatives."""
    root = Node()
    for path, leaf in rule.items():
        node = root
        for key in path:
            node = node.children.setdefault(key, Node())
        node.leaf = leaf
    return root


def flatten(values: Sequence[Any]) -> Iterator[Any]:
    """The elements of an array and of the arrays in it, however deep; none of them an array."""
    waiting = [iter(values)]
    while waiting:
        for value in waiting[-1]:
            if isinstance(value, _ARRAYS):
                waiting.append(iter(value))
                break
            yield value
        else:
            waiting.pop()


def _compile_branch(node: Node) -> Predicate:
    """The test of an object whose keys must all fit, or of an array with such an object in it."""
    match = _compile_keys([(key, child.test) for key, child in node.children.items()])
    dotted = node.dotted

    def match_object(value: Mapping[str, Any]) -> bool:
        if dotted and not value.keys().isdisjoint(dotted):
            return match(nest(value, dotted))
        return match(value)

    def match_other(value: Any) -> bool:
        if isinstance(value, _ARRAYS):
            elements = node.candidates(value)
            return any(match_object(one) for one in elements) if elements else node.absent_below
        return match_object(value) if isinstance(value, Mapping) else node.absent_below

    # a missing key passes as absent before its dotted spelling would be looked for
    if any(child.absent and child.children for child in node.children.values()):
        return lambda value: match_object(value) if value.__class__ is dict else match_other(value)
    if not dotted:
        return lambda value: match(value) if value.__class__ is dict else match_other(value)

    def match_again(value: dict[str, Any]) -> bool:
        return not value.keys().isdisjoint(dotted) and match(nest(value, dotted))

    return lambda value: (
        match(value) or match_again(value) if value.__class__ is dict else match_other(value)
    )


def _compile_keys(children: Sequence[tuple[str, Predicate]]) -> ObjectTest:
    # one and two keys are what patterns have, and unrolled they take half the time
    if len(children) == 1:
        ((key, test),) = children
        return lambda value: test(value.get(key, MISSING))
    if len(children) == 2:
        (key, test), (second_key, second_test) = children
        return lambda value: (
            test(value.get(key, MISSING)) and second_test(value.get(second_key, MISSING))
        )

    def match(value: Mapping[str, Any]) -> bool:
        get = value.get
        for key, test in children:
            if not test(get(key, MISSING)):
                return False
        return True

    return match


def nest(value: Mapping[str, Any], dotted: frozenset[str]) -> dict[str, Any]:
    """A copy in which keys spelled `a.b` are nested; what is nested already stays."""
    nested = dict(value)
    for name in sorted(dotted & value.keys()):
        *parents, last = name.split(".")
        place = nested
        for key in parents:
            below = place.get(key, {})
            if not isinstance(below, Mapping):
                break
            place[key] = dict(below)
            place = place[key]
        else:
            place.setdefault(last, value[name])
    return nested
