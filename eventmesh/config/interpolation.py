"""`${VAR}` in scalar values, after parsing: a variable can never add structure or move a line.

${VAR}          its value; unset is a mistake     ${VAR:-text}    text when unset or empty
${VAR:?why}     a mistake with this reason        ${VAR:+text}    text when set and not empty
$$              a dollar sign                     any other $     itself
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eventmesh.config.document import (
    Document,
    KeyPath,
    ListNode,
    MapNode,
    Node,
    Position,
    ScalarNode,
)
from eventmesh.config.scalars import resolve_scalar

_READABLE = ("./", "../", "~/", "cron(", "rate(", "at(")
_ADDRESS = re.compile(r"[\w.-]+:\d{1,5}")
#: a shorter value is no secret, and masking it would garble every log line
MIN_SECRET_LENGTH = 8
_MAX_NESTING = 10
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SubstitutionError(ValueError):
    """A `${...}` that cannot be replaced. `offset` is where it begins in the text."""

    def __init__(self, offset: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Mistake:
    """A failed substitution at a value: where it stands, what is wrong and what to do."""

    path: KeyPath
    position: Position
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Interpolated:
    """Plain data (maps, lists, scalars), the environment's values used in it, and mistakes."""

    data: Any
    secrets: frozenset[str]
    mistakes: tuple[Mistake, ...]


def interpolate(
    document: Document, variables: Mapping[str, str], is_text: Callable[[KeyPath], bool]
) -> Interpolated:
    """The document's data with variables put in. Where `is_text(path)`, scalars stay as written;
    elsewhere an unquoted one is typed as YAML types it, also when it came from a variable."""
    walk = _Walk(document, variables, is_text)
    data = walk.data(document.root, ())
    secrets = frozenset(value for value in walk.used if may_be_secret(value))
    return Interpolated(data, secrets, tuple(walk.mistakes))


@dataclass(slots=True)
class _Walk:
    document: Document
    variables: Mapping[str, str]
    is_text: Callable[[KeyPath], bool]
    used: set[str] = field(default_factory=set)
    mistakes: list[Mistake] = field(default_factory=list)

    def data(self, node: Node | None, path: KeyPath) -> Any:
        if isinstance(node, MapNode):
            entries = node.entries.items()
            return {key: self.data(entry.value, (*path, key)) for key, entry in entries}
        if isinstance(node, ListNode):
            return [self.data(item, (*path, index)) for index, item in enumerate(node.items)]
        return None if node is None else self._scalar(node, path)

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        text = node.text
        if "$" in text:
            try:
                text = substitute(text, self.variables, self.used)
            except SubstitutionError as error:
                position = _within(self.document, node, error.offset)
                self.mistakes.append(Mistake(path, position, str(error), error.hint))
                return None
            if not text:
                return text
        return text if not node.plain or (text and self.is_text(path)) else resolve_scalar(text)


def substitute(text: str, variables: Mapping[str, str], used: set[str]) -> str:
    """`text` with its variables put in; their values are added to `used`. Raises
    SubstitutionError."""
    return _Substitution(text, variables, used).until(len(text), 0)


class _Substitution:
    """Reads one text from left to right."""

    def __init__(self, text: str, variables: Mapping[str, str], used: set[str]) -> None:
        self.text = text
        self.variables = variables
        self.used = used
        self.at = 0

    def until(self, end: int, nesting: int) -> str:
        parts = []
        while self.at < end:
            dollar = self.text.find("$", self.at, end)
            if dollar < 0 or dollar + 1 >= end:
                parts.append(self.text[self.at : end])
                self.at = end
                break
            parts.append(self.text[self.at : dollar])
            self.at = dollar
            parts.append(self._dollar(nesting))
        return "".join(parts)

    def _dollar(self, nesting: int) -> str:
        following = self.text[self.at + 1]
        if following == "{":
            return self._variable(nesting)
        self.at += 2 if following == "$" else 1
        return "$"

    def _variable(self, nesting: int) -> str:
        start = self.at
        end = self._closing(start)
        match = _NAME.match(self.text, start + 2)
        rest = self.text[match.end() : end] if match else ""
        if match is None or nesting >= _MAX_NESTING or rest[:2] not in ("", ":-", ":?", ":+"):
            shown = self.text[start : end + 1]
            hint = "write ${NAME} or ${NAME:-default}; $${ is a plain ${"
            raise SubstitutionError(start, f"'{shown}' is not a variable", hint)
        self.at = match.end() + 2
        word = self.until(end, nesting + 1) if self._needs_word(match[0], rest[:2]) else ""
        self.at = end + 1
        return self._chosen(start, match[0], rest[:2], word)

    def _closing(self, start: int) -> int:
        depth, at = 0, start
        while at < len(self.text):
            if self.text.startswith("$$", at) or self.text.startswith("${", at):
                depth += self.text[at + 1] == "{"
                at += 2
                continue
            depth -= self.text[at] == "}"
            if depth == 0:
                return at
            at += 1
        hint = "close it with '}'; $${ is a plain ${"
        raise SubstitutionError(start, "a '${' without its '}'", hint)

    def _needs_word(self, name: str, operator: str) -> bool:
        present = bool(self.variables.get(name))
        return operator == ":+" if present else operator in (":-", ":?")

    def _chosen(self, start: int, name: str, operator: str, word: str) -> str:
        value = self.variables.get(name)
        if operator == ":+":
            return word
        if value or (value is not None and not operator):
            self.used.add(value)
            return value
        if operator == ":-":
            return word
        message = f"the variable {name} is not set" + (f": {word}" if word else "")
        hint = f"set {name}, put it into .env beside the file, or write ${{{name}:-default}}"
        raise SubstitutionError(start, message, hint)


def _within(document: Document, node: ScalarNode, offset: int) -> Position:
    """Where `node.text[offset:]` stands in the file, as well as can be told."""
    line, column = node.position
    name = re.match(r"\$\{[A-Za-z0-9_]*", node.text[offset:])
    found = document.line(line).find(name[0] if name else "${", column - 1)
    return Position(line, found + 1) if found >= 0 else node.position


def may_be_secret(value: str) -> bool:
    """Whether a value from the environment is masked: all are that are long enough, but for what
    people must be able to read in a log: paths, addresses, schedules."""
    if len(value) < MIN_SECRET_LENGTH or _ADDRESS.fullmatch(value):
        return False
    return not (value.startswith(_READABLE) or _names_a_place(value))


def _names_a_place(value: str) -> bool:
    """An absolute path in a directory that exists: random text that starts with `/` is none."""
    if not value.startswith("/") or "\0" in value:
        return False
    first = value.split("/", 2)[1]
    return bool(first) and os.path.isdir(f"/{first}")
