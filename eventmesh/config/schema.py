"""The JSON Schema of mappings.yaml, for editors and for the printed reference.

Every connector's options are part of it. A scalar may also be a text with `${VAR}` in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from eventmesh.config import shape
from eventmesh.config.model import FunctionSettings, MappingsFile
from eventmesh.config.wiring import ESCAPE_HATCH, FUNCTION_DESTINATION, MappingKeys
from eventmesh.connectors import Connector, Options
from eventmesh.pulling import PullOptions

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_VARIABLE = {"type": "string", "pattern": r"\$\{"}
_SCALARS = ("integer", "number", "boolean")

Schema = dict[str, Any]


def json_schema(connectors: Mapping[str, Connector]) -> Schema:
    """The whole file's schema (Draft 2020-12), with the options of the given connectors by name."""
    definitions: Schema = {"variable": _VARIABLE}
    schema = _model_schema(MappingsFile, "", definitions)
    sources = {n: c.source_options for n, c in connectors.items() if c.source_options}
    targets = {n: c.destination_options for n, c in connectors.items() if c.destination_options}
    definitions["event"] = _event(sources, definitions)
    definitions["destination"] = _destination(targets, definitions)
    properties = definitions[FunctionSettings.__name__]["properties"]
    properties["events"]["items"] = {"$ref": "#/$defs/event"}
    for name in ("on_success", "on_failure", "dead_letter_queue"):
        description = properties[name]["description"]
        properties[name] = {"$ref": "#/$defs/destination", "description": description}
    return {"$schema": DIALECT, **schema, "$defs": definitions}


def _event(sources: Mapping[str, type[Options]], definitions: Schema) -> Schema:
    """One connector's key with its options, or an import string and its options."""
    every = _model_schema(MappingKeys, "", {})["properties"]
    every["on_failure"] = {
        "$ref": "#/$defs/destination",
        "description": every["on_failure"]["description"],
    }
    pushed = {key: rule for key, rule in every.items() if key != "on_failure"}
    alternatives = []
    for name, options in sources.items():
        value = _options_schema(name, "source", options, definitions)
        own = every if issubclass(options, PullOptions) else pushed
        for key, rule in own.items():
            definitions[f"{name}-source"]["properties"].setdefault(key, rule)
        alternatives.append(_object({name: value, **own}, [name]))
    path = {"type": "string", "pattern": ":", "description": "package.module:attribute"}
    alternatives.append({"type": "object", "properties": {ESCAPE_HATCH: path, **every}})
    alternatives[-1]["required"] = [ESCAPE_HATCH]
    return {"description": "What triggers the function.", "oneOf": alternatives}


def _destination(targets: Mapping[str, type[Options]], definitions: Schema) -> Schema:
    """One connector's key with its options, or another function."""
    function = {"type": "string", "description": "Another function of this file."}
    alternatives = [_object({FUNCTION_DESTINATION: function}, [FUNCTION_DESTINATION])]
    for name, options in targets.items():
        value = _options_schema(name, "destination", options, definitions)
        alternatives.append(_object({name: value}, [name]))
    return {"description": "Where records go.", "oneOf": alternatives}


def _object(properties: Schema, required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _options_schema(name: str, role: str, options: type[Options], definitions: Schema) -> Schema:
    """What may stand below a connector's name; its options go to `definitions`."""
    key = f"{name}-{role}"
    definitions[key] = {"properties": {}, **_model_schema(options, f"{key}-", definitions)}
    forms: list[Schema] = [{"$ref": f"#/$defs/{key}"}]
    if options.short_form is not None:
        field = options.model_fields[options.short_form]
        forms.append({"type": "string", "description": field.description or options.short_form})
    if not definitions[key].get("required"):
        forms.append({"type": "null"})
    return {"anyOf": forms}


def _model_schema(model: type[BaseModel], prefix: str, definitions: Schema) -> Schema:
    """A model's schema with `${VAR}` allowed and every spelling of its keys; the models inside it
    go to `definitions` under `prefix`."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    for name, inner in schema.pop("$defs", {}).items():
        definitions[f"{prefix}{name}"] = _open_to_variables(inner)
    _add_spellings(model, schema, definitions, prefix)
    return _open_to_variables(schema)


def _add_spellings(
    model: type[BaseModel], schema: Schema, definitions: Schema, prefix: str
) -> None:
    """pydantic writes down only the first spelling of a key, and may call it required."""
    for each in shape.models_within(model):
        target = schema if each is model else definitions.get(f"{prefix}{each.__name__}", {})
        for name, info in each.model_fields.items():
            first, *others = shape.spellings(name, info)
            for other in others:
                rule = target["properties"][first]
                target["properties"][other] = {**rule, "description": f"Same as {first}."}
            if others and first in target.get("required", ()):
                target["required"].remove(first)


def _open_to_variables(rule: Schema) -> Schema:
    """A copy in which `${VAR}` may stand for every number, boolean, choice and pattern."""
    opened = {key: value for key, value in rule.items() if key != "title"}
    if "properties" in rule:
        rules = rule["properties"].items()
        opened["properties"] = {name: _open_to_variables(each) for name, each in rules}
    for key in ("items", "additionalProperties"):
        if isinstance(rule.get(key), dict):
            opened[key] = _open_to_variables(rule[key])
    if "anyOf" in rule:
        opened["anyOf"] = [_open_to_variables(each) for each in rule["anyOf"]]
    if rule.get("type") in _SCALARS or not rule.keys().isdisjoint(("enum", "const", "pattern")):
        kept: Schema = {key: opened.pop(key) for key in ("description", "default") if key in opened}
        return {**kept, "anyOf": [opened, {"$ref": "#/$defs/variable"}]}
    return opened
