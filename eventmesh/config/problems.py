"""From mistakes to `Problem` values at their place in the file, and to text for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ValidationError

from eventmesh.config import complaints, shape
from eventmesh.config.document import (
    MAX_PROBLEMS,
    Document,
    KeyPath,
    ListNode,
    MapNode,
    Position,
    child,
)
from eventmesh.config.interpolation import Mistake
from eventmesh.errors import Problem

_MAX_SHOWN = 120


class Findings:
    """Collects the mistakes of one file. Where a value is already known to be bad, more about the
    same value is not said; environment values never appear in a message."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.secrets: frozenset[str] = frozenset()
        self._problems = list(document.problems)
        self._settled: set[KeyPath] = set()

    @property
    def problems(self) -> list[Problem]:
        """All problems so far, sorted by place; when there are too many, this is said first."""
        if not self.is_full:
            return sorted(self._problems)
        message = f"only the first {MAX_PROBLEMS} mistakes found are shown"
        return [Problem(self.document.file, 0, 0, message), *sorted(self._problems)]

    @property
    def is_full(self) -> bool:
        """Whether further mistakes are no longer collected."""
        return len(self._problems) >= MAX_PROBLEMS

    def add(
        self, path: KeyPath, message: str, hint: str = "", *, at: Literal["key", "value"] = "value"
    ) -> None:
        """A mistake in the value at `path`, or in its key. Missing places move up to the parent."""
        if path not in self._settled:
            self._settled.add(path)
            self._put(anchor(self.document, path, at), message, hint)

    def add_mistakes(self, mistakes: Iterable[Mistake]) -> None:
        """Variables that could not be put in."""
        for mistake in mistakes:
            self._settled.add(mistake.path)
            self._put(mistake.position, mistake.message, mistake.hint)

    def add_inexact(self, model: type[BaseModel], value: object, prefix: KeyPath = ()) -> None:
        """Scalars of `value` (which stands at `prefix`) that pydantic would silently convert."""
        for path, expected in shape.inexact_scalars(model, value):
            if self.is_full:
                break
            written = complaints.written(self.document.node((*prefix, *path)))
            message, hint = complaints.wrong_kind(path, expected, _at(value, path), written)
            self.add((*prefix, *path), message, hint)

    def add_validation(
        self, error: ValidationError, model: type[BaseModel], prefix: KeyPath = ()
    ) -> None:
        """Everything pydantic found wrong with the value at `prefix`."""
        grouped: dict[KeyPath, list[complaints.Detail]] = {}
        for detail in error.errors(include_url=False):
            path, is_key = self._real_path(prefix, detail)
            if is_key:
                self.add(
                    path, *complaints.explain_key(path[len(prefix) :], model, detail), at="key"
                )
            else:
                grouped.setdefault(path, []).append(detail)
        for path, details in complaints.most_specific(grouped).items():
            if self.is_full:
                break
            self._add_details(path, len(prefix), model, details)

    def _add_details(
        self, path: KeyPath, depth: int, model: type[BaseModel], details: list[complaints.Detail]
    ) -> None:
        written = complaints.written(self.document.node(path))
        message, hint = complaints.explain(path[depth:], model, details, written)
        is_key = details[0]["type"] in ("extra_forbidden", "missing")
        self.add(path, message, hint, at="key" if is_key else "value")

    def _real_path(self, prefix: KeyPath, detail: complaints.Detail) -> tuple[KeyPath, bool]:
        """pydantic's location without the names of union members, and whether a key is meant."""
        path, node = prefix, self.document.node(prefix)
        for step in detail["loc"]:
            if (below := child(node, step)) is not None:
                path, node = (*path, step), below
        if detail["type"] == "missing" and isinstance(node, MapNode):
            path = (*path, detail["loc"][-1])
        return path, bool(detail["loc"]) and detail["loc"][-1] == "[key]"

    def _put(self, position: Position, message: str, hint: str) -> None:
        if self.is_full:
            return
        source = self.document.line(position.line)
        file = self.document.file
        self._problems.append(
            Problem(file, *position, self._masked(message), self._masked(hint), source)
        )

    def _masked(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def anchor(document: Document, path: KeyPath, at: Literal["key", "value"]) -> Position:
    """Where a problem at `path` is shown: its key, or its value; a map or list that begins on a
    line further down is shown at its key."""
    while path and document.node(path) is None:
        path, at = path[:-1], "key"
    value, key = document.value_position(path), document.key_position(path)
    is_collection = isinstance(document.node(path), (MapNode, ListNode))
    if key and (at == "key" or (is_collection and key.line < value.line)):
        return key
    return value


def format_problem(problem: Problem, severity: str = "error") -> str:
    """`file:line:column: error: message`, the line with a caret below, and the hint. No newline at
    the end; control characters of the file are shown as `?`."""
    if not problem.line:
        place = problem.file
    else:
        place = f"{problem.file}:{problem.line}:{problem.column}"
    parts = [_printable(f"{place}: {severity}: {problem.message}")]
    if problem.source_line.strip():
        line, column = _window(problem.source_line, problem.column - 1)
        blank = "".join("\t" if character == "\t" else " " for character in line[:column])
        parts += [f"{problem.line:>6} | {line}".rstrip(), f"       | {blank}^"]
    if problem.hint:
        parts.append(_printable(f"  hint: {problem.hint}"))
    return "\n".join(parts)


def _window(line: str, column: int) -> tuple[str, int]:
    """The part of a long line around `column`, and the column in it."""
    start = max(0, column - _MAX_SHOWN // 2) if len(line) > _MAX_SHOWN else 0
    return _printable(line[start : start + _MAX_SHOWN]), column - start


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in text)


def _at(value: object, path: KeyPath) -> object:
    for step in path:
        value = value[step] if isinstance(value, (Mapping, list)) else None  # type: ignore[index]
    return value
