"""pydantic's errors in plain words: what was given, what is allowed, what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails as Detail

from eventmesh.config import shape
from eventmesh.config.document import KeyPath, Node, ScalarNode
from eventmesh.config.hints import did_you_mean, nearest
from eventmesh.units import parse_duration

__all__ = ["Detail", "explain", "explain_key", "most_specific", "written", "wrong_kind"]

_MAX_VALUE = 60
_RAISED = ("value_error", "assertion_error")
#: pydantic's type errors -> what was expected there
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a map of keys and values",
    "mapping_type": "a map of keys and values",
    "model_type": "a map of settings",
    "model_attributes_type": "a map of settings",
    "path_type": "a path",
    "none_required": "nothing",
}


def most_specific(
    grouped: Mapping[KeyPath, list[Detail]],
) -> dict[KeyPath, list[Detail]]:
    """Without the type errors of a union's other members: a list with a bad item is meant to be
    a list."""
    inner = {path[:end] for path in grouped for end in range(len(path))}
    return {
        path: details
        for path, details in grouped.items()
        if path not in inner or any(each["type"] not in _EXPECTED for each in details)
    }


def written(node: Node | None) -> str:
    """A scalar as it stands in the file; "" for anything else."""
    return node.text if isinstance(node, ScalarNode) else ""


def explain(
    path: KeyPath, model: type[BaseModel], details: Sequence[Detail], text: str
) -> tuple[str, str]:
    """Message and hint for pydantic's `details` about one value at `path` below `model`; `text` is
    the scalar as written."""
    expected = [_EXPECTED[each["type"]] for each in details if each["type"] in _EXPECTED]
    if len(expected) == len(details):
        alternatives = " or ".join(dict.fromkeys(expected))
        return wrong_kind(path, alternatives, details[0]["input"], text)
    detail = next(each for each in details if each["type"] not in _EXPECTED)
    field = shape.field_at(model, path)
    if detail["type"] == "extra_forbidden":
        return _unknown_key(path, model, detail)
    if detail["type"] == "missing":
        field = shape.field_at(model, detail["loc"])
        return f"'{detail['loc'][-1]}' is missing", _description(field)
    if detail["type"] in ("literal_error", "enum"):
        return _no_choice(path, detail, text)
    return _wrong_value(path, detail, field, text)


def explain_key(path: KeyPath, model: type[BaseModel], detail: Detail) -> tuple[str, str]:
    """Message and hint for a key at `path` that is itself not allowed."""
    if detail["type"] in _RAISED:
        return str(detail.get("ctx", {}).get("error", detail["msg"])), ""
    hint = _description(shape.field_at(model, path[:-1]))
    return f"'{str(path[-1])[:_MAX_VALUE]}' is not a valid name", hint


def wrong_kind(path: KeyPath, expected: str, given: object, text: str) -> tuple[str, str]:
    """Message and hint for a value of another kind than `expected`."""
    message = f"{_subject(path)} must be {expected}, not {_shown(given, text)}"
    return message, _kind_hint(expected, given, text)


def _kind_hint(expected: str, given: object, text: str) -> str:
    if "text" in expected.split() and isinstance(given, (bool, int, float)):
        return f'quote it: "{text or given}"'
    if given is None:
        empty_text = '; "" is the empty text' if "text" in expected.split() else ""
        return f"give a value, or remove the key{empty_text}"
    if expected == "true or false" and str(given).lower() in ("no", "off", "n", "yes", "on", "y"):
        meant = str(str(given).lower() in ("yes", "on", "y")).lower()
        return f"write {meant}; quote '{given}' only where text is meant"
    if expected == "a whole number" and isinstance(given, float) and given.is_integer():
        return f"write {int(given)}"
    if "number" in expected and isinstance(given, str):
        return _number_hint(given)
    if expected == "a list" and isinstance(given, str):
        return f"write [{text or given}]"
    return ""


def _number_hint(given: str) -> str:
    digits = given.strip().lstrip("+-").lstrip("0")
    if given.strip().isdigit() and digits:
        return f"write {digits} without quotes or leading zeros; quote it only where text is meant"
    return ""


def _unknown_key(path: KeyPath, model: type[BaseModel], detail: Detail) -> tuple[str, str]:
    parent = shape.model_at(model, path[:-1])
    fields = shape.fields_by_key(parent) if parent else {}
    key = str(path[-1])
    if key in fields:
        same = [each for each, info in fields.items() if info is fields[key] and each != key]
        return f"'{key}' means the same as '{same[0]}', which is given too", "remove one of them"
    return f"unknown key '{key[:_MAX_VALUE]}'", did_you_mean(key, fields)


def _no_choice(path: KeyPath, detail: Detail, text: str) -> tuple[str, str]:
    choices = detail.get("ctx", {}).get("expected", "")
    message = f"{_subject(path)} must be {choices}, not {_shown(detail['input'], text)}"
    known = [choice.strip("'") for choice in choices.replace(" or ", ", ").split(", ")]
    near = nearest(detail["input"], known) if isinstance(detail["input"], str) else None
    return message, f"did you mean '{near}'?" if near else ""


def _wrong_value(
    path: KeyPath, detail: Detail, field: FieldInfo | None, text: str
) -> tuple[str, str]:
    kind, context, subject = detail["type"], detail.get("ctx", {}), _subject(path)
    given, hint = _shown(detail["input"], text), _description(field)
    if kind in _RAISED:
        said = str(context.get("error", detail["msg"]))
        return f"{subject}: {said}" if path else said, hint
    if kind.startswith(("greater_than", "less_than")):
        return f"{subject} must be {_range(field, context)}, not {given}", hint
    if "max_length" in context or "min_length" in context:
        return f"{subject} {_length(kind, context)}", hint
    if kind == "string_pattern_mismatch":
        return f"{subject} cannot be {given}", hint or f"allowed pattern: {context.get('pattern')}"
    said = detail["msg"].removeprefix("Input ")
    return f"{subject} {said[:1].lower()}{said[1:]}, not {given}", hint


def _length(kind: str, context: Mapping[str, Any]) -> str:
    """The rest of a sentence about something too long or too short."""
    limit = (
        f"at most {context['max_length']}"
        if "max_length" in context
        else (f"at least {context['min_length']}")
    )
    if kind.startswith("string"):
        return f"must have {limit} characters"
    return f"has {context.get('actual_length')} entries, {limit} are allowed"


def _range(field: FieldInfo | None, context: Mapping[str, Any]) -> str:
    """The allowed range, both ends where the field tells them."""
    bounds = dict(context)
    for constraint in field.metadata if field else ():
        for end in ("ge", "gt", "le", "lt"):
            if hasattr(constraint, end):
                bounds[end] = getattr(constraint, end)
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    parts = [f"{word} {bounds[end]:g}" for end, word in words.items() if end in bounds]
    text = " and ".join(parts)
    if "ge" in bounds and "le" in bounds:
        text = f"from {bounds['ge']:g} to {bounds['le']:g}"
    constraints = field.metadata if field else ()
    seconds = any(getattr(each, "func", None) is parse_duration for each in constraints)
    return f"{text} seconds" if seconds else text


def _subject(path: KeyPath) -> str:
    """The value as a sentence's subject: its key, or the entry of which list."""
    if not path:
        return "this"
    if isinstance(path[-1], int):
        of = f" of '{path[-2]}'" if len(path) > 1 else ""
        return f"entry {path[-1] + 1}{of}"
    return f"'{path[-1]}'"


def _shown(given: object, text: str) -> str:
    """A value as a person would name it, as written where that is known."""
    if given is None:
        return "empty"
    if isinstance(given, dict):
        return "a map"
    if isinstance(given, (list, tuple)):
        return "a list"
    if isinstance(given, bool):
        return str(given).lower()
    shown = str(given) if "$" in text or not text else text
    shown = shown if len(shown) <= _MAX_VALUE else shown[: _MAX_VALUE - 3] + "..."
    return f"the text '{shown}'" if isinstance(given, str) else f"the number {shown}"


def _description(field: FieldInfo | None) -> str:
    return (field.description or "") if field else ""
