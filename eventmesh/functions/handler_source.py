"""What a handler's module offers, read from its text without running it. For hints only: a module
may define its names in ways that cannot be seen here."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PLAIN_VALUES = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.JoinedStr)
#: longer modules are not read for a hint
_MAX_BYTES = 1024 * 1024


def split_handler(handler: str) -> tuple[str, str]:
    """Module and attribute of `pkg.module.function` or `dir/module.function`."""
    module, _, attribute = handler.rpartition(".")
    return module, attribute


def read_module(directories: Iterable[Path], module: str) -> str | None:
    """The text of a module in the first directory that has it; None when none has, or it cannot
    be read. Waits for the disk."""
    place = module.replace(".", "/")
    for directory in directories:
        for file in (directory / f"{place}.py", directory / place / "__init__.py"):
            try:
                if file.is_file() and file.stat().st_size <= _MAX_BYTES:
                    return file.read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue
    return None


def list_callables(source: str) -> list[str]:
    """Names of the functions and classes a module defines at its top, in order, private ones left
    out; [] when it cannot be parsed."""
    body = _parse(source)
    names = [node.name for node in body if isinstance(node, _DEFINITIONS)]
    return [name for name in names if not name.startswith("_")]


def is_plain_value(source: str, name: str) -> bool:
    """Whether a module's text binds `name` at its top to a number, text or collection and to
    nothing else: certainly not a handler."""
    bound = [value for node in _parse(source) for value in _values(node, name)]
    return bool(bound) and all(isinstance(value, _PLAIN_VALUES) for value in bound)


def _parse(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _values(node: ast.stmt, name: str) -> list[ast.AST | None]:
    """What a statement may bind `name` to, as far as the statement itself tells."""
    if isinstance(node, ast.Assign):
        targets = [t.id for t in node.targets if isinstance(t, ast.Name)]
        return [node.value] if name in targets else []
    if isinstance(node, ast.AnnAssign):
        named = isinstance(node.target, ast.Name) and node.target.id == name
        return [node.value] if named and node.value is not None else []
    return [node] if any(_binds(each, name) for each in ast.walk(node)) else []


def _binds(node: ast.AST, name: str) -> bool:
    if isinstance(node, _DEFINITIONS):
        return node.name == name
    if isinstance(node, ast.alias):
        return node.name == "*" or (node.asname or node.name.partition(".")[0]) == name
    return isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
