"""Event patterns read into conjunctions: one for each combination of `$or` branches (semantics
3.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from eventmesh.mappings.filter_trees import Leaf, Path

#: deepest nesting of a pattern, `$or` included, so that none can end the stack
_DEEPEST = 32
#: as on AWS
_MOST_COMBINATIONS = 1000
_ARRAYS = (list, tuple)

#: alternatives that must all fit
Rule = dict[Path, Leaf]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the reader is: the fields' `path`, and `shown`, which has `$or` branches in it."""

    path: Path = ()
    shown: str = ""
    depth: int = 0
    inside_or: bool = False

    def below(self, key: str) -> _Place:
        shown = f"{self.shown}.{key}" if self.shown else key
        parts = key.split(".")
        depth = self.depth + len(parts)
        return replace(self, path=(*self.path, *parts), shown=shown, depth=depth)

    def branch(self, index: int) -> _Place:
        shown = f"{self.shown}.$or[{index}]" if self.shown else f"$or[{index}]"
        return replace(self, shown=shown, depth=self.depth + 1, inside_or=True)


class PatternReader:
    """Reads one pattern. `problems` gathers every mistake, so that all are reported at once.

    `strict` refuses what AWS's event source mappings do not list.
    """

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self.problems: list[PatternError] = []

    def read(self, pattern: Any) -> list[Rule]:
        """A record passes when all of one rule fits. Worthless where there are `problems`."""
        if not isinstance(pattern, Mapping):
            self.problems.append(
                PatternError("Filter is not an object", 'write {"field": ["value"]}')
            )
            return []
        return self._read_object(pattern, _Place(), [{}])

    def _read_object(
        self, pattern: Mapping[Any, Any], place: _Place, rules: list[Rule]
    ) -> list[Rule]:
        """`rules` with the fields of `pattern` added; more of them where it has `$or`."""
        if not pattern:
            raised = PatternError("Empty objects are not allowed", "leave it out to pass all")
            self.problems.append(raised.at(place.shown))
        for key, value in pattern.items():
            try:
                rules = self._read_field(key, value, place, rules)
            except PatternError as error:
                self.problems.append(error.at(place.shown))
        return rules

    def _read_field(self, key: Any, value: Any, place: _Place, rules: list[Rule]) -> list[Rule]:
        _check_key(key, place)
        if key == "$or":
            return self._read_or(value, place, rules)
        if isinstance(value, Mapping):
            return self._read_object(value, place.below(key), rules)
        leaf = _read_alternatives(key, value, self._strict)
        path = place.below(key).path
        for rule in rules:
            if path in rule:
                # whether both count or the last wins differs between AWS's compilers
                reason = f"Path `{'.'.join(path)}` cannot be allowed multiple times"
                raise PatternError(reason, "say all of it in one place", key)
            rule[path] = leaf
        return rules

    def _read_or(self, branches: Any, place: _Place, rules: list[Rule]) -> list[Rule]:
        _check_branches(branches)
        forked: list[Rule] = []
        for index, branch in enumerate(branches):
            copies = [dict(rule) for rule in rules]
            forked += self._read_object(branch, place.branch(index), copies)
            if len(forked) > _MOST_COMBINATIONS:
                reason = f"Rule is too complex: more than {_MOST_COMBINATIONS} combinations"
                raise PatternError(reason, "use fewer branches", "$or")
        return forked


def _read_alternatives(key: str, values: Any, strict: bool) -> Leaf:
    if not isinstance(values, _ARRAYS):
        hint = f"put the value in a list: {key}: [{_shorten(values)}]"
        raise PatternError(f'"{key}" must be an object or an array', hint, key)
    if not values:
        raise PatternError("Empty arrays are not allowed", "give one value or more", key)
    try:
        return _compile_alternatives(values, strict)
    except PatternError as error:
        raise error.at(key) from None


def _compile_alternatives(values: Sequence[Any], strict: bool) -> Leaf:
    tests = _compile_scalars(values)
    absent, typed = False, True
    for index, value in enumerate(values):
        try:
            name = _check_alternative(value)
            if name == "exists":
                present = _require_bool(value[name])
                absent = absent or not present
                tests += [_accept_any] if present else []
            elif name:
                tests.append(compile_operator(name, value[name], strict))
        except PatternError as error:
            raise error.at(f"[{index}]") from None
        typed = typed and name not in ("exists", "anything-but")
    return Leaf(values, _join(tests), absent, typed)


def _compile_scalars(values: Sequence[Any]) -> list[Predicate]:
    """Tests of the values that stand for themselves: true is not 1, and "1" is not 1."""
    texts = frozenset(value for value in values if isinstance(value, str))
    numbers = frozenset(value for value in values if is_number(value))
    tests: list[Predicate] = []
    if texts:
        tests.append(lambda value: value.__class__ is str and value in texts)
    if numbers:
        tests.append(
            lambda value: (value.__class__ is int or value.__class__ is float) and value in numbers
        )
    return tests + [_is(value) for value in values if value is None or isinstance(value, bool)]


def _is(wanted: bool | None) -> Predicate:
    return lambda value: value is wanted


def _accept_any(value: Any) -> bool:
    return True


def _join(tests: Sequence[Predicate]) -> Predicate:
    if not tests:
        return lambda value: False
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        one, other = tests
        return lambda value: one(value) or other(value)
    return lambda value: any(test(value) for test in tests)


def _check_key(key: Any, place: _Place) -> None:
    if not isinstance(key, str):
        raise PatternError(f"the key {key!r} is not a text", f'write "{key}"')
    if place.depth + key.count(".") >= _DEEPEST:
        raise PatternError(f"the pattern is nested more than {_DEEPEST} levels deep")
    if place.inside_or and key in RESERVED:
        raise PatternError(
            f"{key} is Ruler reserved fieldName which cannot be used inside $or.",
            f'to compare a field write {{"field": [{{"{key}": ...}}]}}',
        )


def _check_branches(branches: Any) -> None:
    if not isinstance(branches, _ARRAYS):
        raise PatternError("It must be an Array followed with $or.", "", "$or")
    if not all(isinstance(branch, Mapping) for branch in branches):
        raise PatternError("Only JSON object is allowed in array of $or relationship.", "", "$or")
    if len(branches) < 2:
        raise PatternError("There must have at least 2 Objects in $or relationship.", "", "$or")


def _check_alternative(value: Any) -> str:
    """The operator's name, "" for a value that stands for itself."""
    if isinstance(value, Mapping):
        return _operator_of(value)
    if value is None or isinstance(value, (str, bool)) or is_number(value):
        return ""
    hint = "no lists in the list" if isinstance(value, _ARRAYS) else "put it in quotes"
    raise PatternError("Match value must be String, number, true, false, or null", hint)


def _operator_of(expression: Mapping[Any, Any]) -> str:
    if not expression:
        raise PatternError("Match expression name not found", 'such as {"prefix": "a"}')
    name = next(iter(expression))
    if name not in OPERATORS:
        raise describe_unknown(name)
    if len(expression) > 1:
        raise PatternError("Only one key allowed in match expression", "give each its own object")
    return str(name)


def _require_bool(operand: Any) -> bool:
    if not isinstance(operand, bool):
        raise PatternError("exists match pattern must be either true or false.")
    return operand


def _shorten(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
