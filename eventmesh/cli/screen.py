"""The start-up screen: what runs, where its state lies, what to try next. Values in, lines out."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from eventmesh import __version__
from eventmesh.app import Mesh
from eventmesh.functions.function import Function
from eventmesh.mappings.mapping import EventSourceMapping, MappingState

#: longer lists are cut: a screen is for a person
SHOWN = 40


def started(mesh: Mesh) -> list[str]:
    """The lines shown once every source runs or has failed."""
    functions = sorted(mesh.catalog, key=lambda f: f.name)
    return [
        _title(mesh, len(functions)),
        *_block("functions", (_function(f) for f in functions)),
        *_block("sources", (_source(m) for m in mesh.mappings)),
        *_block("state", [f"sqlite {mesh.config.state_directory}   (survives restart)"]),
        *_block("handlers", [f"one process each, {mesh.temporary_storage}"]),
        *_block("server", [_server(mesh)]),
        *_block("tip", _tips(mesh, functions)),
    ]


def _title(mesh: Mesh, functions: int) -> str:
    counts = f"{_count(functions, 'function')}, {_count(len(mesh.mappings), 'source')}"
    python = platform.python_version()
    return f"eventmesh {__version__}  run  {mesh.config.path}   ({counts})   Python {python}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _block(name: str, rows: Iterable[str]) -> list[str]:
    listed = list(rows)
    if len(listed) > SHOWN:
        listed = [*listed[:SHOWN], f"... and {len(listed) - SHOWN} more"]
    names = [name, *[""] * len(listed)]
    return [f"  {label:<10} {row}" for label, row in zip(names, listed, strict=False)]


def _function(function: Function) -> str:
    limits = f"timeout {function.timeout_seconds:g}s  {function.memory_mb} MB"
    inline = "  inline" if function.isolation == "inline" else ""
    return f"{function.name:<14} {function.handler:<24} {limits}{inline}"


def _source(mapping: EventSourceMapping) -> str:
    trouble = "" if mapping.state is MappingState.ENABLED else f"{mapping.state.value.upper()}: "
    return f"{mapping.connector:<9} {mapping.resource:<34} {trouble}{mapping.detail}"


def _server(mesh: Mesh) -> str:
    if mesh.address is None:
        return "off"
    return f"http://{mesh.address}   invoke API, /metrics, /healthz, /readyz"


def _tips(mesh: Mesh, functions: list[Function]) -> list[str]:
    """One line to try for each kind of source there is."""
    tips: dict[str, str] = {}
    for mapping in mesh.mappings:
        if mapping.connector == "s3":
            tips.setdefault("s3", f"drop a file:  cp photo.jpg {mapping.resource}/")
        elif mapping.connector == "http" and mesh.address:
            method, _, path = mapping.resource.rpartition(" ")
            verb = "" if method in ("", "ANY", "GET") else f" -X {method}"
            tips.setdefault("http", f"call it:  curl{verb} http://{mesh.address}{path}")
    if functions:
        name = functions[0].name
        tips["invoke"] = f"send an event:  eventmesh invoke {name} -f {mesh.config.path}"
    return list(tips.values())
