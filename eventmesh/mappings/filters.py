"""Filter criteria: event patterns compiled to plain functions of a record's fields (semantics 3.6).

    passes = compile_pattern({"body": {"type": [{"prefix": "order."}], "total": [100]}})
    passes({"body": {"type": "order.paid", "total": 100.0}})   # True

The whole operator set of AWS's matcher is there; `strict` leaves what event source mappings list.
Everything here is pure: nothing waits, and matching never raises.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from eventmesh.mappings.filter_operators import PatternError
from eventmesh.mappings.filter_patterns import PatternReader, Rule
from eventmesh.mappings.filter_trees import MISSING, Node, flatten, nest, plant

__all__ = [
    "FieldsTest",
    "Mismatch",
    "PatternError",
    "Payload",
    "compile_filters",
    "compile_pattern",
    "explain_pattern",
    "validate_filters",
]

#: semantics 3.1: longest pattern AWS takes, in characters of JSON
_LONGEST_PATTERN = 4096
_LONGEST_SHOWN = 80
_MOST_SHOWN = 20

#: says whether a record with these fields passes
FieldsTest = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Payload:
    """The field that holds a record's payload, and what happens when the payload is text and the
    pattern asks for an object, or the other way round (semantics 3.6, type mismatch).

    `drop`: no match (SQS). `refuse`: no match, and patterns that ask for text are mistakes
    (Kinesis, DynamoDB). `ignore`: only the rest of the pattern counts (Kafka, MQ).
    """

    key: str
    mismatch: Literal["drop", "refuse", "ignore"] = "drop"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a record did not pass: at `path` (`body.total`) the pattern wants the JSON list `wanted`,
    and the record holds `found`."""

    path: str
    wanted: str
    found: str


def compile_pattern(
    pattern: Mapping[str, Any], *, strict: bool = False, payload: Payload | None = None
) -> FieldsTest:
    """A function that says whether a record's fields match `pattern`.

    `strict` refuses what AWS's event source mappings do not list (wildcard, cidr, nested
    anything-but ...). Raises PatternError for the first mistake.
    """
    rules, problems = _read(pattern, strict, payload)
    if problems:
        raise problems[0]
    return _join([_compile_rule(rule, payload) for rule in rules])


def compile_filters(
    patterns: Sequence[Mapping[str, Any]], *, strict: bool = False, payload: Payload | None = None
) -> FieldsTest | None:
    """A function that says whether any of `patterns` matches; None when there are none, and so
    every record passes. Raises PatternError."""
    if not patterns:
        return None
    return _join([compile_pattern(one, strict=strict, payload=payload) for one in patterns])


def validate_filters(
    patterns: Sequence[Any], *, strict: bool = False, payload: Payload | None = None
) -> list[str]:
    """Every mistake in every pattern, each as `[0].body.total: what is wrong (hint: ...)`."""
    return [
        str(problem.at(f"[{index}]"))
        for index, pattern in enumerate(patterns)
        for problem in _read(pattern, strict, payload)[1]
    ]


def explain_pattern(pattern: Mapping[str, Any], fields: Mapping[str, Any]) -> list[Mismatch]:
    """Which keys of `pattern` these fields fail; [] when they match.

    Of several ways to match (`$or` branches, elements of an array) the nearest is explained.
    Raises PatternError.
    """
    rules, problems = _read(pattern, False, None)
    if problems:
        raise problems[0]
    if compile_pattern(pattern)(fields):
        return []
    return min((_explain(plant(rule), fields, "") for rule in rules), key=len)


def _read(
    pattern: Any, strict: bool, payload: Payload | None
) -> tuple[list[Rule], list[PatternError]]:
    reader = PatternReader(strict)
    rules = reader.read(pattern)
    problems = reader.problems
    if payload is not None and payload.mismatch == "refuse":
        problems += _refuse_text(rules, payload.key)
    if strict and not problems and len(json.dumps(pattern)) > _LONGEST_PATTERN:
        reason = "Invalid filter pattern definition."
        problems.append(PatternError(reason, f"over {_LONGEST_PATTERN} characters of JSON"))
    return rules, problems


def _refuse_text(rules: Sequence[Rule], key: str) -> list[PatternError]:
    if not any((key,) in rule for rule in rules):
        return []
    hint = f"the payload is JSON; name its fields: {key}: {{field: [...]}}"
    return [PatternError("Invalid filter pattern definition.", hint, key)]


def _join(tests: Sequence[FieldsTest]) -> FieldsTest:
    if len(tests) == 1:
        return tests[0]

    def match(fields: Mapping[str, Any]) -> bool:
        for test in tests:
            if test(fields):
                return True
        return False

    return match


def _compile_rule(rule: Rule, payload: Payload | None) -> FieldsTest:
    root = plant(rule)
    asked = None if payload is None else root.children.get(payload.key)
    if payload is None or asked is None:
        return root.test
    key = payload.key
    match, fits = root.test, _compile_payload_check(asked)
    if payload.mismatch != "ignore":
        return lambda fields: fits(fields.get(key, MISSING)) and match(fields)
    rest = plant({path: leaf for path, leaf in rule.items() if path[0] != key}).test
    return lambda fields: match(fields) if fits(fields.get(key, MISSING)) else rest(fields)


def _compile_payload_check(asked: Node) -> Callable[[Any], bool]:
    """Whether a payload is of the kind that the pattern asks for: JSON where it names fields."""
    if asked.leaf is None:
        return lambda value: isinstance(value, (dict, list))
    absent = asked.leaf.absent
    return lambda value: absent if value is MISSING else not isinstance(value, (dict, list))


def _explain(node: Node, value: Any, path: str) -> list[Mismatch]:
    if node.test(value):
        return []
    failed = []
    if node.leaf is not None and not node.leaf.test(value):
        wanted = _shorten(json.dumps(list(node.leaf.wanted), ensure_ascii=False))
        failed.append(Mismatch(path, wanted, _show_found(value)))
    if not node.children:
        return failed
    objects = [value] if isinstance(value, Mapping) else []
    if isinstance(value, (list, tuple)):
        objects = node.candidates(value)
    return failed + min((_explain_keys(node, one, path) for one in objects or [{}]), key=len)


def _explain_keys(node: Node, value: Mapping[str, Any], path: str) -> list[Mismatch]:
    nested = nest(value, node.dotted)
    failed: list[Mismatch] = []
    for key, child in node.children.items():
        below = f"{path}.{key}" if path else key
        failed += _explain(child, nested.get(key, MISSING), below)
    return failed


def _show_found(value: Any) -> str:
    if value is MISSING:
        return "nothing"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        shown = [_show_found(one) for one in islice(flatten(value), _MOST_SHOWN)]
        return _shorten(f"[{', '.join(shown)}]")
    return _shorten(json.dumps(value, ensure_ascii=False, default=str))


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
