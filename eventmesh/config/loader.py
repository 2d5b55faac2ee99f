"""mappings.yaml to a `LoadedConfig`, or a ConfigError with every mistake of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from eventmesh.config import places
from eventmesh.config.document import MAX_BYTES, MAX_PROBLEMS, KeyPath, decode, parse_document
from eventmesh.config.dotenv import parse_dotenv
from eventmesh.config.interpolation import interpolate
from eventmesh.config.model import FunctionSettings, MappingsFile, is_text_path
from eventmesh.config.places import Places
from eventmesh.config.problems import Findings
from eventmesh.config.wiring import (
    MappingConfig,
    OptionsFor,
    Wiring,
    check_names,
)
from eventmesh.errors import ConfigError, Problem
from eventmesh.functions.function import AsyncInvokeConfig, DestinationReference, Function

__all__ = ["LoadedConfig", "MappingConfig", "OptionsFor", "load"]

_DESTINATIONS = ("on_success", "on_failure", "dead_letter_queue")


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration, ready to run. Paths are absolute; `secrets` are the values that came
    from the environment (8 characters or more), to be masked wherever text is shown."""

    model: MappingsFile
    functions: tuple[Function, ...]
    mappings: tuple[MappingConfig, ...]
    base_directory: Path
    path: Path
    warnings: tuple[Problem, ...] = ()
    secrets: frozenset[str] = frozenset()
    #: where each function's handler stands: line and column, from 1
    handler_places: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def state_directory(self) -> Path:
        return places.absolute(self.base_directory, self.model.state)

    @property
    def log_directory(self) -> Path | None:
        directory = self.model.logs.directory
        return None if directory is None else places.absolute(self.base_directory, directory)

    @property
    def host_paths(self) -> tuple[Path, ...]:
        """Where mappings.yaml lies, and the absolute paths that sources and destinations name."""
        named = places.absolute_paths(self.mappings, self.functions)
        return (self.base_directory, *map(Path, sorted(named)))


@dataclass(frozen=True, slots=True)
class _Parts:
    """What of a function is not in its settings."""

    places: Places
    destinations: Mapping[str, DestinationReference | None]


def load(path: Path, *, environ: Mapping[str, str], options_for: OptionsFor) -> LoadedConfig:
    """Read and check the file at `path`; blocks on the file system.

    `environ` (and a `.env` beside the file, which it overrides) fills `${VAR}`; `options_for`
    finds a connector's options by name and role. Raises ConfigError with all problems, sorted.
    """
    file, base_directory = str(path), Path(path).absolute().parent
    document = parse_document(_read(Path(path), file), file)
    variables, dotenv_problems = _dotenv(base_directory / ".env")
    filled = interpolate(document, {**variables, **environ}, is_text_path)
    findings = Findings(document)
    findings.secrets = filled.secrets
    findings.add_mistakes(filled.mistakes)
    data = _without_empty_functions(filled.data)
    model = _validate(findings, data)
    wiring = Wiring(findings, base_directory, options_for, _function_names(data))
    parts = {name: _parts(wiring, name, raw) for name, raw in _raw_functions(data).items()}
    mappings = _mappings(wiring, data)
    if model is None or findings.problems or dotenv_problems:
        raise ConfigError([*findings.problems, *dotenv_problems[:MAX_PROBLEMS]])
    return LoadedConfig(
        model=model,
        functions=tuple(_function(model, name, parts[name]) for name in model.functions),
        mappings=mappings,
        base_directory=base_directory,
        path=Path(path).absolute(),
        warnings=_warnings(model, file),
        secrets=filled.secrets,
        handler_places={n: document.value_position(_handler(n)) for n in model.functions},
    )


def _handler(function: str) -> KeyPath:
    return ("functions", function, "handler")


def _read(path: Path, file: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problem = Problem(file, 0, 0, "the file does not exist", "give the path of a mappings.yaml")
    except IsADirectoryError:
        problem = Problem(file, 0, 0, "this is a directory", f"give {path / 'mappings.yaml'}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = Problem(file, 0, 0, f"the file cannot be read: {reason}", "")
    raise ConfigError([problem])


def _dotenv(path: Path) -> tuple[dict[str, str], list[Problem]]:
    """Variables of the `.env` beside the file, none when there is no such file."""
    if not path.is_file():
        return {}, []
    try:
        return parse_dotenv(decode(_read(path, str(path)), str(path)), str(path))
    except ConfigError as error:
        # its lines may hold secrets, so none is shown
        problems = [Problem(p.file, p.line, p.column, p.message, p.hint) for p in error.problems]
        return {}, problems


def _validate(findings: Findings, data: Any) -> MappingsFile | None:
    if not isinstance(data, dict):
        findings.add((), "the file must be a map that starts with 'functions:'")
        return None
    findings.add_inexact(MappingsFile, data)
    try:
        return MappingsFile.model_validate(data)
    except ValidationError as error:
        findings.add_validation(error, MappingsFile)
        return None


def _without_empty_functions(data: Any) -> Any:
    """An empty file, and `functions:` with nothing below, are a mesh without functions."""
    if data is None:
        return {}
    if isinstance(data, dict) and data.get("functions", ...) is None:
        return {key: value for key, value in data.items() if key != "functions"}
    return data


def _function_names(data: Any) -> tuple[str, ...]:
    functions = data.get("functions") if isinstance(data, dict) else None
    return tuple(functions) if isinstance(functions, dict) else ()


def _raw_functions(data: Any) -> dict[str, dict[str, Any]]:
    """The settings of every function as written, as far as they are maps."""
    functions = data.get("functions") if isinstance(data, dict) else None
    if not isinstance(functions, dict):
        return {}
    return {name: raw for name, raw in functions.items() if isinstance(raw, dict)}


def _parts(wiring: Wiring, name: str, raw: Mapping[str, Any]) -> _Parts:
    path: KeyPath = ("functions", name)
    found = places.find_places(wiring.findings, wiring.base_directory, raw, path)
    destinations = {
        key: wiring.destination(name, raw[key], (*path, key))
        for key in _DESTINATIONS
        if raw.get(key) is not None
    }
    return _Parts(found, destinations)


def _mappings(wiring: Wiring, data: Any) -> tuple[MappingConfig, ...]:
    found = [
        (mapping, path)
        for function, event, path in _raw_events(data)
        if (mapping := wiring.mapping(function, event, path)) is not None
    ]
    check_names(wiring.findings, found)
    return tuple(mapping for mapping, _ in found)


def _raw_events(data: Any) -> Iterator[tuple[str, Any, KeyPath]]:
    for function, raw in _raw_functions(data).items():
        events = raw.get("events")
        for index, event in enumerate(events if isinstance(events, list) else ()):
            yield function, event, ("functions", function, "events", index)


def _function(model: MappingsFile, name: str, parts: _Parts) -> Function:
    settings = model.functions[name]
    return Function(
        name=name,
        handler=settings.handler,
        code_directory=parts.places.code,
        python=parts.places.python,
        timeout_seconds=settings.timeout,
        memory_mb=settings.memory,
        ephemeral_storage_mb=settings.ephemeral_storage,
        environment=settings.env,
        layers=parts.places.layers,
        reserved_concurrency=settings.reserved_concurrency,
        provisioned_concurrency=settings.provisioned_concurrency,
        isolation=settings.isolation,
        region=model.region,
        account_id=model.account_id,
        asynchronous=_asynchronous(settings, parts),
        strict_json=settings.strict_json,
    )


def _asynchronous(settings: FunctionSettings, parts: _Parts) -> AsyncInvokeConfig:
    return AsyncInvokeConfig(
        maximum_retry_attempts=settings.maximum_retry_attempts,
        maximum_event_age_seconds=settings.maximum_event_age,
        on_success=parts.destinations.get("on_success"),
        on_failure=parts.destinations.get("on_failure"),
        dead_letter_queue=parts.destinations.get("dead_letter_queue"),
    )


def _warnings(model: MappingsFile, file: str) -> tuple[Problem, ...]:
    if model.functions:
        return ()
    hint = "add 'functions:' with a handler and its events"
    return (Problem(file, 0, 0, "there are no functions, so nothing will run", hint),)
