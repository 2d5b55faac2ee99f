"""Event patterns parsed into trees, and trees into closures over a record's fields (semantics 3.6).

A pattern is one tree for each combination of its `$or` branches. Below an array of objects all keys
of a tree must hold in the same element. A key `a.b` and the nested `a`, `b` are the same, in
patterns and in records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from eventmesh.mappings.filter_operators import (
    OPERATORS,
    RESERVED,
    PatternError,
    Predicate,
    compile_operator,
    describe_unknown,
    is_number,
)

#: deepest nesting of a pattern, so that hostile ones do not end the stack
_DEEPEST = 64
#: as on AWS
_MOST_COMBINATIONS = 1000

#: what a field that is not there looks like
MISSING = object()
_OBJECTS = (dict, Mapping)
_ARRAYS = (list, tuple)

Path = tuple[str, ...]


@dataclass(slots=True)
class Leaf:
    """The alternatives of one field: `accepts` tests a scalar, `absent` says whether the field may
    be missing, `wanted` is the pattern's own list."""

    wanted: Sequence[Any]
    accepts: Predicate
    absent: bool

    def test(self, value: Any) -> bool:
        """Whether a field's value fits: a scalar, any scalar in an array, or none at all."""
        if value is MISSING or isinstance(value, _OBJECTS):
            return self.absent
        if isinstance(value, _ARRAYS):
            return self._test_array(value)
        return self.accepts(value)

    def _test_array(self, values: Sequence[Any]) -> bool:
        found = False
        for value in flatten(values):
            if not isinstance(value, _OBJECTS):
                if self.accepts(value):
                    return True
                found = True
        return self.absent and not found

    def compiled(self) -> Predicate:
        accepts, test = self.accepts, self.test
        if self.absent or any(_takes_other_types(one) for one in self.wanted):
            return test
        # what accepts nothing but texts, numbers and literals need not know what it is given
        return lambda value: accepts(value) or (value.__class__ is list and test(value))


@dataclass(eq=False)
class Node:
    """A key of a pattern: its own alternatives, or keys below it (both where `a` and `a.b` are
    asked for)."""

    leaf: Leaf | None = None
    children: dict[str, Node] = field(default_factory=dict)

    @cached_property
    def absent(self) -> bool:
        """Whether a record without this key fits: every alternative list has `exists: false`."""
        return (self.leaf is None or self.leaf.absent) and all(
            child.absent for child in self.children.values()
        )

    @cached_property
    def test(self) -> Predicate:
        """Whether a value fits; MISSING is one. Never raises."""
        if self.leaf is None:
            return _compile_branch(self)
        own = self.leaf.compiled()
        if not self.children:
            return own
        below = _compile_branch(self)
        return lambda value: own(value) and below(value)

    def paths(self) -> Iterator[Path]:
        """Every path that leads to alternatives, from here."""
        if self.leaf is not None:
            yield ()
        for key, child in self.children.items():
            for path in child.paths():
                yield (key, *path)

    def touches(self, value: Any) -> bool:
        """Whether any scalar that this node asks about is in `value`."""
        if isinstance(value, _ARRAYS):
            return any(self.touches(one) for one in flatten(value))
        if isinstance(value, _OBJECTS):
            return any(child.touches(value.get(key)) for key, child in self.children.items()
                       if key in value)
        return self.leaf is not None


def flatten(values: Sequence[Any]) -> Iterator[Any]:
    """The elements of an array and of all arrays in it, none of them an array; as deep as it is."""
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
    """The test of a value that must be an object, or an array with one, whose keys all fit."""
    match = _match_keys([(key, child.test) for key, child in node.children.items()])
    dotted = frozenset(
        ".".join(path[:length]) for path in node.paths() for length in range(2, len(path) + 1)
    )
    # a missing key would count as absent before its dotted spelling was looked for
    eager = any(child.absent and child.children for child in node.children.values())

    def match_object(value: Mapping[str, Any]) -> bool:
        if dotted and not dotted.isdisjoint(value):
            return match(_nest(value, dotted))
        return match(value)

    def match_other(value: Any) -> bool:
        if isinstance(value, _ARRAYS):
            return _match_elements(node, match_object, value)
        return match_object(value) if isinstance(value, Mapping) else node.absent

    if not dotted:
        return lambda value: match(value) if value.__class__ is dict else match_other(value)
    if eager:
        return lambda value: match_object(value) if value.__class__ is dict else match_other(value)
    return (
        lambda value: match(value) or match_object(value)
        if value.__class__ is dict
        else match_other(value)
    )


def _match_elements(
    node: Node, match: Callable[[Mapping[str, Any]], bool], values: Sequence[Any]
) -> bool:
    """Whether one element fits wholly; where absence is enough, one that has a key, or all lack
    them."""
    elements = [value for value in flatten(values) if isinstance(value, _OBJECTS)]
    if not node.absent:
        return any(match(element) for element in elements)
    there = [element for element in elements if node.touches(element)]
    return not there or any(match(element) for element in there)


def _match_keys(
    children: Sequence[tuple[str, Predicate]],
) -> Callable[[Mapping[str, Any]], bool]:
    if len(children) == 1:
        ((key, test),) = children
        return lambda value: test(value.get(key, MISSING))
    if len(children) == 2:
        (key, test), (other_key, other_test) = children
        return lambda value: (
            test(value.get(key, MISSING)) and other_test(value.get(other_key, MISSING))
        )

    def match(value: Mapping[str, Any]) -> bool:
        get = value.get
        for key, test in children:  # noqa: SIM110
            if not test(get(key, MISSING)):
                return False
        return True

    return match


def _nest(value: Mapping[str, Any], dotted: frozenset[str]) -> dict[str, Any]:
    """A copy in which keys spelled `a.b` are nested; what is nested already stays."""
    nested = dict(value)
    for name in sorted(dotted.intersection(value)):
        *parents, last = name.split(".")
        place = nested
        for key in parents:
            below = place.get(key, MISSING)
            if below is not MISSING and not isinstance(below, Mapping):
                break
            place[key] = {} if below is MISSING else dict(below)
            place = place[key]
        else:
            place.setdefault(last, value[name])
    return nested


def _takes_other_types(alternative: Any) -> bool:
    """Whether an alternative also fits values it does not name."""
    return isinstance(alternative, Mapping) and not alternative.keys().isdisjoint(
        ("anything-but", "exists")
    )


class Parser:
    """Reads one pattern. `problems` gathers every mistake, so that all are reported at once."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self.problems: list[PatternError] = []

    def parse(self, pattern: Any) -> list[Node]:
        """One tree for each combination of `$or` branches; incomplete when there are problems."""
        if not isinstance(pattern, Mapping):
            self._refuse(PatternError("Filter is not an object", 'such as {body: {type: ["a"]}}'))
            return []
        rules = self._read_object(pattern, (), [{}], inside_or=False)
        return [_plant(rule) for rule in rules]

    def _refuse(self, error: PatternError, path: Path = ()) -> None:
        self.problems.append(error.at(".".join(path)) if path else error)

    def _read_object(
        self,
        pattern: Mapping[Any, Any],
        path: Path,
        rules: list[dict[Path, Leaf]],
        inside_or: bool,
    ) -> list[dict[Path, Leaf]]:
        """`rules`, each with the fields of `pattern` added; several for each where it has `$or`."""
        if not pattern:
            self._refuse(PatternError("Empty objects are not allowed"), path)
        for key, value in pattern.items():
            try:
                _check_key(key, path, inside_or)
                if key == "$or":
                    rules = self._read_or(value, path, rules)
                elif isinstance(value, Mapping):
                    below = (*path, *key.split("."))
                    rules = self._read_object(value, below, rules, inside_or)
                else:
                    leaf = self._read_alternatives(key, value, path)
                    for rule in rules:
                        rule[(*path, *key.split("."))] = leaf
            except PatternError as error:
                self._refuse(error, path)
        return rules

    def _read_or(
        self, branches: Any, path: Path, rules: list[dict[Path, Leaf]]
    ) -> list[dict[Path, Leaf]]:
        _check_branches(branches)
        forked: list[dict[Path, Leaf]] = []
        for index, branch in enumerate(branches):
            own = [dict(rule) for rule in rules]
            before = len(self.problems)
            forked += self._read_object(branch, path, own, inside_or=True)
            del before, index
            if len(forked) > _MOST_COMBINATIONS:
                raise PatternError(
                    f"Rule is too complex: $or makes more than {_MOST_COMBINATIONS} combinations"
                )
        return forked

    def _read_alternatives(self, key: str, values: Any, path: Path) -> Leaf:
        if not isinstance(values, _ARRAYS):
            raise PatternError(
                f'"{key}" must be an object or an array',
                f"put the value in a list: {key}: [{_shorten(values)}]",
                key,
            )
        if not values:
            raise PatternError("Empty arrays are not allowed", "one value or more", key)
        try:
            return compile_alternatives(values, self._strict)
        except PatternError as error:
            raise error.at(key) from None


def compile_alternatives(values: Sequence[Any], strict: bool) -> Leaf:
    """The alternatives of a field, one of which must fit. Raises PatternError."""
    predicates = []
    absent = False
    for index, value in enumerate(values):
        if not isinstance(value, Mapping):
            _check_scalar(value, index)
            continue
        try:
            name = _operator_of(value)
            if name != "exists":
                predicates.append(compile_operator(name, value[name], strict))
                continue
        except PatternError as error:
            raise error.at(f"[{index}]") from None
        if not isinstance(value[name], bool):
            raise PatternError("exists match pattern must be either true or false.", "", f"[{index}]")
        absent = absent or not value[name]
        if value[name]:
            predicates.append(_accept_any)
    return Leaf(values, _join(_compile_scalars(values) + predicates), absent)


def _compile_scalars(values: Sequence[Any]) -> list[Predicate]:
    """Tests of the values that stand for themselves; true is not 1, and "1" is not 1."""
    texts = frozenset(value for value in values if isinstance(value, str))
    numbers = frozenset(value for value in values if is_number(value))
    literals = [value for value in values if value is None or isinstance(value, bool)]
    tests: list[Predicate] = []
    if len(texts) == 1:
        (text,) = texts
        tests.append(lambda value: value.__class__ is str and value == text)
    elif texts:
        tests.append(lambda value: value.__class__ is str and value in texts)
    if numbers:
        tests.append(
            lambda value: (value.__class__ is int or value.__class__ is float) and value in numbers
        )
    tests += [lambda value, wanted=wanted: value is wanted for wanted in literals]
    return tests


def _join(tests: Sequence[Predicate]) -> Predicate:
    if not tests:
        return lambda value: False
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        one, other = tests
        return lambda value: one(value) or other(value)
    return lambda value: any(test(value) for test in tests)


def _accept_any(value: Any) -> bool:
    return True


def _check_key(key: Any, path: Path, inside_or: bool) -> None:
    if not isinstance(key, str):
        raise PatternError(f"the key {key} is not a text", f'write "{key}"')
    if len(path) + key.count(".") >= _DEEPEST:
        raise PatternError(f"nested more than {_DEEPEST} levels deep")
    if inside_or and key in RESERVED:
        raise PatternError(
            f"{key} is Ruler reserved fieldName which cannot be used inside $or.",
            f'to compare a field write {{field: [{{"{key}": ...}}]}}',
        )


def _check_branches(branches: Any) -> None:
    if not isinstance(branches, _ARRAYS):
        raise PatternError("It must be an Array followed with $or.", "", "$or")
    if not all(isinstance(branch, Mapping) for branch in branches):
        raise PatternError("Only JSON object is allowed in array of $or relationship.", "", "$or")
    if len(branches) < 2:
        raise PatternError("There must have at least 2 Objects in $or relationship.", "", "$or")


def _check_scalar(value: Any, index: int) -> None:
    if not (value is None or isinstance(value, (str, bool)) or is_number(value)):
        raise PatternError(
            "Match value must be String, number, true, false, or null",
            "put it in quotes" if not isinstance(value, _ARRAYS) else "lists are not nested",
            f"[{index}]",
        )


def _operator_of(expression: Mapping[Any, Any]) -> str:
    if not expression:
        raise PatternError("Match expression name not found")
    name = next(iter(expression))
    if name not in OPERATORS:
        raise describe_unknown(name)
    if len(expression) > 1:
        raise PatternError("Only one key allowed in match expression", "one operator an object")
    return str(name)


def _plant(rule: Mapping[Path, Leaf]) -> Node:
    root = Node()
    for path, leaf in rule.items():
        node = root
        for key in path:
            node = node.children.setdefault(key, Node())
        node.leaf = leaf
    return root


def _shorten(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
