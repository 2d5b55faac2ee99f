"""Events and destinations: from what stands in the file to validated options of connectors.

An event is one key, the connector's name, with its options or their short form; or
`type: package.module:attribute` with the options beside it. `name` and `enabled` belong to the
mapping, not to the connector: they stand beside the connector's key, or among its options unless
the connector has an option of that name itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eventmesh.config import complaints, shape
from eventmesh.config.document import KeyPath
from eventmesh.config.hints import did_you_mean
from eventmesh.config.problems import Findings
from eventmesh.connectors import Options
from eventmesh.errors import ConnectorError
from eventmesh.functions.function import DestinationReference
from eventmesh.pulling import PullOptions

Role = Literal["source", "destination"]
Model = TypeVar("Model", bound=BaseModel)
#: finds the options model of a connector in a role; raises ConnectorError
OptionsFor = Callable[[str, Role], type[Options]]

#: the destination that is another function of the same file
FUNCTION_DESTINATION = "function"
ESCAPE_HATCH = "type"


class MappingKeys(BaseModel):
    """The keys of an event that belong to the mapping, whatever its connector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="The mapping's name; positions are stored under it.",
    )
    enabled: bool = Field(default=True, description="Whether the source runs at all.")
    on_failure: Any | None = Field(
        default=None,
        description="Where records of batches that were given up go; for queues and streams.",
    )


@dataclass(frozen=True, slots=True)
class MappingConfig:
    """One source bound to one function. `options` are validated and resolved; `line` is where the
    event stands in the file."""

    name: str
    function: str
    connector: str
    options: Options
    enabled: bool
    line: int
    on_failure: DestinationReference | None = None


@dataclass(slots=True)
class Wiring:
    """Validates the events and destinations of one file; mistakes go to `findings`."""

    findings: Findings
    base_directory: Path
    options_for: OptionsFor
    function_names: tuple[str, ...]
    _types: dict[tuple[str, Role], type[Options] | str] = field(default_factory=dict)

    def mapping(self, function: str, event: Any, path: KeyPath) -> MappingConfig | None:
        """The mapping that the event at `path` describes; None when it has mistakes."""
        connector = self._connector(event, path)
        if connector is None:
            return None
        is_escaped = connector == ESCAPE_HATCH
        name = str(event[ESCAPE_HATCH]) if is_escaped else connector
        options_type = self._options_type(name, "source", (*path, connector))
        options_path = path if is_escaped else (*path, connector)
        beside, raw = _split(event, connector)
        inside, raw = _taken_out(raw, options_type)
        keys = self._keys((beside, path), (inside, options_path))
        options = self._options(options_type, raw, options_path)
        if options is None or keys is None:
            return None
        failure_path = (*(path if "on_failure" in beside else options_path), "on_failure")
        found = self._mapping(function, name, options, keys, (*path, connector))
        if found is None or keys.on_failure is None:
            return found
        return self._with_on_failure(found, keys.on_failure, failure_path)

    def _with_on_failure(
        self, mapping: MappingConfig, raw: Any, path: KeyPath
    ) -> MappingConfig | None:
        if not isinstance(mapping.options, PullOptions):
            message = f"'{mapping.connector}' invokes asynchronously: retries are the function's"
            self.findings.add(path, message, "move 'on_failure' to the function", at="key")
            return None
        reference = self.destination(mapping.function, raw, path)
        return None if reference is None else replace(mapping, on_failure=reference)

    def _mapping(
        self, function: str, connector: str, options: Options, keys: MappingKeys, path: KeyPath
    ) -> MappingConfig | None:
        position = self.findings.document.key_position(path)
        resolved = self._resolved(options, path)
        if resolved is None:
            return None
        return MappingConfig(
            name=keys.name or f"{function}/{connector}:{options.resource}",
            function=function,
            connector=connector,
            options=resolved,
            enabled=keys.enabled,
            line=position.line if position else 0,
        )

    def _resolved(self, options: Options, path: KeyPath) -> Options | None:
        try:
            return options.resolved(self.base_directory)
        except (ValueError, OSError) as error:
            self.findings.add(path, str(error), at="key")
            return None

    def destination(self, function: str, raw: Any, path: KeyPath) -> DestinationReference | None:
        """The destination at `path` of `function`; None when it has mistakes."""
        if not isinstance(raw, dict) or len(raw) != 1:
            hint = "write {directory: ./failed}, or {function: NAME} for another function"
            self.findings.add(path, f"'{path[-1]}' is one destination by its name", hint)
            return None
        ((connector, value),) = raw.items()
        inner = (*path, connector)
        if connector == FUNCTION_DESTINATION:
            return self._function_destination(function, value, inner)
        options_type = self._options_type(connector, "destination", inner)
        options = self._options(options_type, value, inner)
        resolved = None if options is None else self._resolved(options, inner)
        if options is None or resolved is None:
            return None
        return DestinationReference(connector, resolved, options.resource)

    def _function_destination(
        self, function: str, target: Any, path: KeyPath
    ) -> DestinationReference | None:
        if not isinstance(target, str):
            written = complaints.written(self.findings.document.node(path))
            self.findings.add(path, *complaints.wrong_kind(path, "text", target, written))
        elif target == function:
            message = "a function cannot be a destination for itself"
            self.findings.add(path, message, "name another function or a connector")
        elif target not in self.function_names:
            others = [name for name in self.function_names if name != function]
            hint = did_you_mean(target, others, "other functions")
            self.findings.add(path, f"there is no function '{target}'", hint)
        else:
            return DestinationReference(FUNCTION_DESTINATION, target, target)
        return None

    def _connector(self, event: Any, path: KeyPath) -> str | None:
        """The key that names the event's connector, or None when there is not exactly one."""
        if not isinstance(event, dict):
            hint = f"write '- {event}:' and its options" if isinstance(event, str) else ""
            self.findings.add(path, "an event is a connector's name with its options", hint)
            return None
        if ESCAPE_HATCH in event:
            return self._escape_hatch(event, path)
        names = [key for key in event if key not in MappingKeys.model_fields]
        if len(names) == 1:
            return str(names[0])
        if not names:
            hint = "such as '- s3: ./uploads'"
            self.findings.add(path, "this event names no connector", hint)
        elif event[names[0]] is None:
            message = f"'{names[1]}' stands beside '{names[0]}', not below it"
            hint = f"indent the options of '{names[0]}' further than its name"
            self.findings.add((*path, names[1]), message, hint, at="key")
        else:
            message = f"one event has one connector, not '{names[0]}' and '{names[1]}'"
            hint = f"start '{names[1]}' as an event of its own, with '- '"
            self.findings.add((*path, names[1]), message, hint, at="key")
        return None

    def _escape_hatch(self, event: dict[str, Any], path: KeyPath) -> str | None:
        value, inner = event[ESCAPE_HATCH], (*path, ESCAPE_HATCH)
        if isinstance(value, str) and ":" in value:
            return ESCAPE_HATCH
        hint = "write package.module:attribute; an installed connector is written '- NAME: ...'"
        self.findings.add(inner, "'type' is a connector of your own project", hint)
        return None

    def _options_type(self, connector: str, role: Role, path: KeyPath) -> type[Options] | None:
        known = self._types.get((connector, role))
        if known is None:
            try:
                known = self.options_for(connector, role)
            except ConnectorError as error:
                known = str(error)
            self._types[connector, role] = known
        if isinstance(known, str):
            self.findings.add(path, known, at="key")
            return None
        return known

    def _keys(self, *parts: tuple[dict[str, Any], KeyPath]) -> MappingKeys | None:
        """The mapping's own keys, from beside the connector and from among its options."""
        given: dict[str, Any] = {}
        is_valid = True
        for part, path in parts:
            for key in part.keys() & given.keys():
                message = f"'{key}' stands beside the connector and among its options"
                self.findings.add((*path, key), message, "remove one of them", at="key")
            is_valid &= not part or self._validated(MappingKeys, part, path) is not None
            given.update(part)
        return MappingKeys(**given) if is_valid else None

    def _options(
        self, options_type: type[Options] | None, raw: Any, path: KeyPath
    ) -> Options | None:
        if options_type is None:
            return None
        if isinstance(raw, str) and options_type.short_form is None:
            hint = f"options: {', '.join(shape.fields_by_key(options_type))}"
            self.findings.add(path, f"'{path[-1]}' takes a map of options, not a text", hint)
            return None
        return self._validated(options_type, {} if raw is None else raw, path)

    def _validated(self, model: type[Model], raw: Any, path: KeyPath) -> Model | None:
        self.findings.add_inexact(model, raw, path)
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            self.findings.add_validation(error, model, path)
            return None


def _split(event: dict[str, Any], connector: str) -> tuple[dict[str, Any], Any]:
    """The mapping's own keys that stand beside the connector's, and the connector's options."""
    if connector == ESCAPE_HATCH:
        return {}, {key: value for key, value in event.items() if key != ESCAPE_HATCH}
    return {key: value for key, value in event.items() if key != connector}, event[connector]


def _taken_out(raw: Any, options_type: type[Options] | None) -> tuple[dict[str, Any], Any]:
    """The mapping's own keys among a connector's options, and the options without them."""
    if not isinstance(raw, dict):
        return {}, raw
    own = shape.fields_by_key(options_type) if options_type else {}
    inside = {key: raw[key] for key in MappingKeys.model_fields if key in raw and key not in own}
    return inside, {key: value for key, value in raw.items() if key not in inside}


def check_names(findings: Findings, mappings: Iterable[tuple[MappingConfig, KeyPath]]) -> None:
    """Positions are stored by mapping name, so no two mappings may share one."""
    lines: dict[str, int] = {}
    for mapping, path in mappings:
        if mapping.name in lines:
            both = f"lines {lines[mapping.name]} and {mapping.line}"
            message = f"two mappings are named '{mapping.name}': {both}"
            findings.add(path, message, "give one of them a 'name:' of its own", at="key")
        else:
            lines[mapping.name] = mapping.line
