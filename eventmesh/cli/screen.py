"""The start-up screen: what runs, where its state lies, what to try next. Values in, lines out."""

from __future__ import annotations

import itertools
import platform
import shlex
from collections.abc import Iterable, Iterator, Sequence

from eventmesh import __version__
from eventmesh.app import Mesh
from eventmesh.functions.function import Function
from eventmesh.mappings.mapping import EventSourceMapping, MappingState
from eventmesh.observers.secrets import Mask, escape_controls

#: longer lists are cut: a screen is for a person
SHOWN = 40
#: a longer cell pushes the rest of its own row aside, not of all rows
WIDEST = 40


def started(mesh: Mesh, mask: Mask) -> list[str]:
    """The lines shown once every source runs or has failed. `mask` takes secrets out of what the
    file's writer chose; addresses and directories are shown as they are."""
    functions = sorted(mesh.catalog, key=lambda f: f.name)
    tips = [mask(tip) for tip in _tips(mesh)]
    if functions:
        file = shlex.quote(str(mesh.config.path))
        tips.append(f"send an event:  eventmesh invoke {functions[0].name} -f {file}")
    lines = [
        _title(mesh, len(functions)),
        *_block("functions", _aligned(map(_function, functions)), len(functions)),
        *_block("sources", map(mask, _aligned(map(_source, mesh.mappings))), len(mesh.mappings)),
        *_block("state", [f"sqlite {mesh.config.state_directory}   (survives restart)"]),
        *_block("handlers", _handlers(mesh)),
        *_block("logs", [] if (logs := mesh.config.log_directory) is None else [str(logs)]),
        *_block("server", [_server(mesh)]),
        *_block("tip", tips),
    ]
    return [escape_controls(line).rstrip() for line in lines]


def _title(mesh: Mesh, functions: int) -> str:
    counts = f"{_count(functions, 'function')}, {_count(len(mesh.mappings), 'source')}"
    python = platform.python_version()
    return f"eventmesh {__version__}  run  {mesh.config.path}   ({counts})   Python {python}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _block(name: str, rows: Iterable[str], total: int = 0) -> list[str]:
    listed = list(rows)
    if total > SHOWN:
        listed = [*listed[:SHOWN], f"... and {total - SHOWN} more"]
    names = [name, *[""] * len(listed)]
    return [f"  {label:<10} {row}" for label, row in zip(names, listed, strict=False)]


def _aligned(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Rows of cells as lines, every column as wide as its widest cell (within reason)."""
    listed = list(itertools.islice(rows, SHOWN + 1))
    columns = zip(*listed, strict=True)
    widths = [min(max(map(len, column)), WIDEST) for column in columns]
    for row in listed:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))


def _function(function: Function) -> tuple[str, ...]:
    limits = f"timeout {function.timeout_seconds:g}s", f"{function.memory_mb} MB"
    inline = "inline" if function.isolation == "inline" else ""
    return function.name, function.handler, *limits, inline


def _source(mapping: EventSourceMapping) -> tuple[str, ...]:
    is_well = mapping.state in (MappingState.ENABLED, MappingState.DISABLED)
    trouble = "" if is_well else f"{mapping.state.value.upper()}: "
    detail = mapping.detail or ("" if is_well else "not ready yet")
    return mapping.connector, mapping.resource, f"{trouble}{detail}"


def _handlers(mesh: Mesh) -> list[str]:
    storage = mesh.temporary_storage
    return [f"one process each, {storage}"] if storage else []


def _server(mesh: Mesh) -> str:
    if mesh.address is None:
        return "off"
    return f"http://{mesh.address}   invoke API, /metrics, /healthz, /readyz"


def _tips(mesh: Mesh) -> list[str]:
    """One line to try for each kind of source there is."""
    tips: dict[str, str] = {}
    for mapping in mesh.mappings:
        if mapping.connector == "s3":
            tips.setdefault("s3", f"drop a file:  cp photo.jpg {mapping.resource}/")
        elif mapping.connector == "http" and mesh.address:
            method, _, path = mapping.resource.rpartition(" ")
            verb = "" if method in ("", "ANY", "GET") else f" -X {method}"
            tips.setdefault("http", f"call it:  curl{verb} http://{mesh.address}{path}")
    return list(tips.values())
