"""What a pydantic model accepts, read from its fields: known keys, ranges, exact scalar types.

pydantic turns `no` into False and "10" into 10 where a field is a boolean or a number. In a file
that people write that hides mistakes, so such values are found here before validation.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from eventmesh.config.document import KeyPath

_LISTS = (list, tuple, set, frozenset, Sequence, Set)
_MAPS = (dict, Mapping)
_SCALARS = (str, int, float, bool, types.NoneType)


@functools.cache
def fields_by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Every spelling a model accepts for a key -> its field."""
    fields: dict[str, FieldInfo] = {}
    for name, info in model.model_fields.items():
        fields.update(dict.fromkeys(spellings(name, info), info))
    return fields


def spellings(name: str, info: FieldInfo) -> tuple[str, ...]:
    """The keys that mean one field, the first one first."""
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(choice for choice in alias.choices if isinstance(choice, str))
    return (alias if isinstance(alias, str) else name,)


def field_at(model: type[BaseModel], path: KeyPath) -> FieldInfo | None:
    """The field that `path` (keys below `model`) names, or None."""
    parent = model_at(model, path[:-1]) if path else None
    return fields_by_key(parent).get(str(path[-1])) if parent else None


def model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model of the map that `path` leads to, or None when it is no map of known keys."""
    annotations: list[Any] = [model]
    for step in path:
        annotations = [below for each in annotations for below in _below(each, step)]
    models = [each for each in annotations if _is_model(each)]
    return models[0] if models else None


def models_within(model: type[BaseModel]) -> list[type[BaseModel]]:
    """`model` and every model that its fields can hold, each once."""
    found: list[type[BaseModel]] = []
    waiting: list[Any] = [model]
    while waiting:
        each = waiting.pop()
        if _is_model(each) and each not in found:
            found.append(each)
            waiting.extend(info.annotation for info in each.model_fields.values())
        else:
            waiting.extend(get_args(each))
    return found


def _below(annotation: Any, step: str | int) -> list[Any]:
    if _is_model(annotation):
        info = fields_by_key(annotation).get(str(step))
        return _members(info.annotation) if info else []
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in _MAPS and arguments:
        return _members(arguments[1])
    return _members(arguments[0]) if origin in _LISTS and arguments else []


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a union, without `Annotated`."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for each in get_args(annotation) for member in _members(each)]
    return [annotation]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def inexact_scalars(annotation: Any, value: Any) -> Iterator[tuple[KeyPath, str]]:
    """Where `value` holds a text, boolean or fraction that pydantic would convert: the path below
    it, and what is expected there."""
    if get_origin(annotation) is Annotated:
        base, *metadata = get_args(annotation)
        if not _converts(metadata):
            yield from inexact_scalars(base, value)
    elif get_origin(annotation) in (Union, types.UnionType):
        members = [each for each in get_args(annotation) if _may_take(each, value)]
        found = [list(inexact_scalars(member, value)) for member in members]
        if found and all(found):
            yield from found[0]
    elif _is_model(annotation) and isinstance(value, dict):
        yield from _inexact_fields(annotation, value)
    elif isinstance(value, (dict, list)):
        yield from _inexact_parts(annotation, value)
    elif value is not None and (expected := _expected(annotation, value)):
        yield (), expected


def _inexact_fields(model: type[BaseModel], value: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    annotations = _exact_annotations(model)
    for key, part in value.items():
        if key in annotations:
            for path, expected in inexact_scalars(annotations[key], part):
                yield (key, *path), expected


@functools.cache
def _exact_annotations(model: type[BaseModel]) -> dict[str, Any]:
    """Annotations by key, without fields whose validators convert on purpose."""
    validators = model.__pydantic_decorators__.field_validators.values()
    converted = {n for v in validators if v.info.mode != "after" for n in v.info.fields}
    return {
        key: info.annotation
        for name, info in model.model_fields.items()
        for key in spellings(name, info)
        if name not in converted and "*" not in converted and not _converts(info.metadata)
    }


def _may_take(annotation: Any, value: Any) -> bool:
    """Whether a union's member can be meant by `value` at all."""
    origin = get_origin(annotation)
    if isinstance(value, (dict, list)):
        return annotation not in _SCALARS and origin is not Literal
    return annotation is not types.NoneType and origin not in (*_LISTS, *_MAPS)


def _inexact_parts(annotation: Any, value: Any) -> Iterator[tuple[KeyPath, str]]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(value, dict) and origin in _MAPS and arguments:
        parts: Iterator[tuple[str | int, Any]] = iter(value.items())
        part_type = arguments[1]
    elif isinstance(value, list) and origin in _LISTS and arguments:
        parts, part_type = enumerate(value), arguments[0]
    else:
        return
    for step, part in parts:
        for path, expected in inexact_scalars(part_type, part):
            yield (step, *path), expected


def _expected(annotation: Any, value: Any) -> str:
    """What a scalar type wants when it would silently convert `value`; "" when all is well."""
    if get_origin(annotation) is Literal:
        exact = any(
            value == choice and type(value) is type(choice) for choice in get_args(annotation)
        )
        equal = any(value == choice for choice in get_args(annotation))
        return " or ".join(map(str, get_args(annotation))) if equal and not exact else ""
    if annotation is bool and type(value) is not bool:
        return "true or false"
    if annotation is int and type(value) is not int:
        return "a whole number"
    if annotation is float and type(value) not in (int, float):
        return "a number"
    return ""


def _converts(metadata: Sequence[Any]) -> bool:
    """Whether a before, plain or wrap validator is among an annotation's metadata."""
    return any(type(each).__name__ in _CONVERTING for each in metadata)


_CONVERTING = {"BeforeValidator", "PlainValidator", "WrapValidator"}
