"""Paths of a function's settings, made absolute and looked up: code, layers, interpreter."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from eventmesh.config.document import KeyPath
from eventmesh.config.problems import Findings
from eventmesh.config.wiring import MappingConfig
from eventmesh.functions.function import Function


@dataclass(frozen=True, slots=True)
class Places:
    """Where a function's parts are. Zips stay paths to the zip."""

    code: Path
    python: Path
    layers: tuple[Path, ...]


def absolute(base_directory: Path, text: str) -> Path:
    """`text` taken from `base_directory`. Symlinks stay: a venv's interpreter is one, and finds
    its packages by its own path."""
    expanded = os.path.expanduser(text)
    return Path(os.path.normpath(os.path.join(base_directory, expanded)))


def absolute_paths(
    mappings: Sequence[MappingConfig], functions: Iterable[Function]
) -> frozenset[str]:
    """Every absolute path among the options of mappings and of the functions' destinations."""
    chosen = [mapping.options for mapping in mappings]
    destinations = [m.on_failure for m in mappings]
    for function in functions:
        config = function.asynchronous
        destinations += [config.on_success, config.on_failure, config.dead_letter_queue]
    options = [*chosen, *(d.options for d in destinations if d is not None)]
    return frozenset(path for one in options for path in paths_of(one))


def paths_of(options: Any) -> list[str]:
    """Every absolute path among the options of one source or destination."""
    return [text for text in _texts(_plain(options)) if text.startswith("/")]


def _plain(options: Any) -> Any:
    return options.model_dump() if isinstance(options, BaseModel) else options


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _texts(one)


def find_places(
    findings: Findings, base_directory: Path, settings: Mapping[str, Any], path: KeyPath
) -> Places:
    """The places of the function whose raw settings stand at `path`; missing ones are reported.
    Values that are no paths are left to the model's own checks."""
    code = settings.get("code", ".")
    python = settings.get("python")
    layers = settings.get("layers")
    return Places(
        _package(findings, base_directory, code, (*path, "code"), "the code package"),
        _interpreter(findings, base_directory, python, (*path, "python")),
        tuple(
            _package(findings, base_directory, layer, (*path, "layers", index), "the layer")
            for index, layer in enumerate(layers if isinstance(layers, list) else ())
        ),
    )


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _package(findings: Findings, base: Path, value: Any, path: KeyPath, what: str) -> Path:
    """A directory or a .zip."""
    if not _is_path(value):
        return base
    place = absolute(base, value)
    if place.is_dir():
        return place
    if not place.exists():
        findings.add(path, f"{what} '{value}' does not exist", f"looked for {place}")
    elif place.suffix.lower() != ".zip":
        hint = "give the directory, or pack the file into a .zip"
        findings.add(path, f"{what} '{value}' is neither a directory nor a .zip", hint)
    elif not os.access(place, os.R_OK):
        findings.add(path, f"{what} '{value}' cannot be read", "check its permissions")
    return place


def _interpreter(findings: Findings, base: Path, value: Any, path: KeyPath) -> Path:
    """An executable file; a bare name such as `python3.12` is also looked up in PATH."""
    if not _is_path(value):
        return Path(sys.executable)
    place = absolute(base, value)
    if os.sep not in value and not place.exists() and (found := shutil.which(value)):
        return Path(found)
    if place.is_dir():
        inside = place / "bin" / "python"
        hint = f"write {value.rstrip('/')}/bin/python" if inside.exists() else ""
        findings.add(path, f"the interpreter '{value}' is a directory", hint)
    elif not place.exists():
        findings.add(path, f"the interpreter '{value}' does not exist", f"looked for {place}")
    elif not os.access(place, os.X_OK):
        findings.add(path, f"the interpreter '{value}' is not executable", f"chmod +x {place}")
    return place
