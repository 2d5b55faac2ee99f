"""YAML text to a tree of nodes that know where they stand. Nothing is typed or interpolated yet.

A deliberately small YAML: no tags but `!!str`, no merge keys, text keys only, no duplicate keys,
one document. Limits are checked on the parser's event stream, before anything is built from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, NoReturn

import yaml

from eventmesh.errors import ConfigError, Problem

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_ALIASES = 100
MAX_ALIASED_NODES = 10_000
#: a file with more mistakes is not read any further
MAX_PROBLEMS = 100

#: where a value stands: map keys and list indexes from the root
KeyPath = tuple[str | int, ...]

_TEXT_TAGS = {"!", "tag:yaml.org,2002:str"}
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Position(NamedTuple):
    """A line and column, counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class ScalarNode:
    """One scalar as written. `plain` scalars may be numbers, booleans or null; others are text."""

    position: Position
    text: str
    plain: bool
    size: ClassVar[int] = 1
    height: ClassVar[int] = 0


@dataclass(slots=True)
class ListNode:
    """A sequence. `size` counts nodes with aliases expanded, `height` the levels below."""

    position: Position
    items: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 1


class Entry(NamedTuple):
    """One key of a map: where the key stands, and its value."""

    position: Position
    value: Node


@dataclass(slots=True)
class MapNode:
    """A map with text keys. `size` and `height` as in `ListNode`."""

    position: Position
    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 1
    height: int = 1


Node = ScalarNode | ListNode | MapNode


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its root (None when there is nothing but comments), its lines, and mistakes
    that did not keep it from being read further (duplicate keys, tags)."""

    file: str
    root: Node | None
    lines: tuple[str, ...]
    problems: tuple[Problem, ...] = ()

    def node(self, path: KeyPath) -> Node | None:
        """The node at `path`, or None when the file has none there."""
        node = self.root
        for step in path:
            node = child(node, step)
        return node

    def value_position(self, path: KeyPath) -> Position:
        """Where the value at `path` begins; the nearest enclosing one's when it is missing."""
        while path and self.node(path) is None:
            path = path[:-1]
        node = self.node(path)
        return node.position if node else Position(1, 1)

    def key_position(self, path: KeyPath) -> Position | None:
        """Where the last key of `path` stands; None for list items and what is missing."""
        parent = self.node(path[:-1]) if path else None
        if isinstance(parent, MapNode):
            entry = parent.entries.get(str(path[-1]))
            return entry.position if entry else None
        return None

    def line(self, number: int) -> str:
        """The text of a line, counted from 1; empty beyond the end."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


def child(node: Node | None, step: str | int) -> Node | None:
    """The node one `step` below, or None."""
    if isinstance(node, MapNode) and isinstance(step, str):
        entry = node.entries.get(step)
        return entry.value if entry else None
    if isinstance(node, ListNode) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step]
    return None


def parse_document(content: bytes, file: str, *, pure: bool = False) -> Document:
    """Read the bytes of one YAML file; `file` is the name for messages.

    `pure` forces PyYAML's Python parser, which is also used where its C parser is missing.
    Raises ConfigError with one problem when the file cannot be read any further.
    """
    text = decode(content, file)
    lines = tuple(_LINE_BREAK.split(text))
    loader = yaml.SafeLoader if pure else getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(file, lines)
    try:
        root = builder.build(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        builder.refuse(*_explained(error, lines))
    return Document(file, root, lines, tuple(builder.problems))


def decode(content: bytes, file: str) -> str:
    """The text of a UTF-8 file, without its byte order mark. Raises ConfigError."""
    if len(content) > MAX_BYTES:
        limit = f"the file is larger than {MAX_BYTES:,} bytes"
        raise ConfigError([Problem(file, 0, 0, limit, "split it into several files")])
    if content[:2] in _UTF16_MARKS or b"\0\0" in (content[0:4:2], content[1:4:2]):
        raise ConfigError([Problem(file, 1, 1, "the file is UTF-16", "save it as UTF-8")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        message = f"byte 0x{content[error.start]:02x} is not valid UTF-8"
        raise ConfigError([_problem_after(before, file, message, "save it as UTF-8")]) from None
    if match := _UNPRINTABLE.search(text):
        name = "NUL" if match[0] == "\0" else f"control character U+{ord(match[0]):04X}"
        before = text[: match.start()]
        raise ConfigError([_problem_after(before, file, f"a {name} is not allowed", "remove it")])
    return text


def _problem_after(before: str, file: str, message: str, hint: str) -> Problem:
    lines = _LINE_BREAK.split(before.removeprefix("\ufeff"))
    return Problem(file, len(lines), len(lines[-1]) + 1, message, hint, lines[-1])


class _Builder:
    """Builds the node tree from parser events, holding the limits."""

    def __init__(self, file: str, lines: tuple[str, ...]) -> None:
        self.file = file
        self.lines = lines
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node | None] = {}
        self._aliases = 0
        self._aliased_nodes = 0

    def build(self, events: Iterator[Any]) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    hint = "keep one document a file, or remove the '---' line"
                    self.refuse(_position(event), "a second YAML document starts here", hint)
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, 1)
        return None if isinstance(root, ScalarNode) and root.plain and not root.text else root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node = self._fresh(event, events, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _fresh(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        self._check_tag(event)
        if isinstance(event, yaml.ScalarEvent):
            return ScalarNode(_position(event), event.value, not event.style and not event.tag)
        self._check_depth(event, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(event, events, depth)
        return self._map(event, events, depth)

    def _list(self, start: Any, events: Iterator[Any], depth: int) -> ListNode:
        node = ListNode(_position(start))
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            item = self._node(event, events, depth + 1)
            node.items.append(item)
            _grow(node, item)
        return node

    def _map(self, start: Any, events: Iterator[Any], depth: int) -> MapNode:
        node = MapNode(_position(start))
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key, position = self._key(event), _position(event)
            value = self._node(next(events), events, depth + 1)
            _grow(node, value)
            if key in node.entries:
                first, second = node.entries[key].position.line, position.line
                where = f"on lines {first} and {second}" if first != second else "twice here"
                message = f"duplicate key '{key}': it stands {where}"
                self._report(position, message, "remove or rename one of the two")
            else:
                node.entries[key] = Entry(position, value)
        return node

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self.refuse(_position(event), "a key must be plain text", "")
        self._check_tag(event)
        if event.value == "<<" and not event.style:
            hint = "repeat the keys; an alias as a whole value (key: *name) works"
            self._report(_position(event), "merge keys ('<<') are not supported", hint)
        return str(event.value)

    def _aliased(self, event: Any, depth: int) -> Node:
        position, name = _position(event), event.anchor
        if name not in self._anchors:
            hint = f"define &{name} before it, or quote a text that starts with '*'"
            self.refuse(position, f"no anchor '&{name}' for this alias", hint)
        node = self._anchors[name]
        if node is None:
            self.refuse(position, f"the alias '*{name}' contains itself", "")
        self._aliases += 1
        self._aliased_nodes += node.size
        if self._aliases > MAX_ALIASES or self._aliased_nodes > MAX_ALIASED_NODES:
            limits = f"at most {MAX_ALIASES} aliases, {MAX_ALIASED_NODES:,} values when expanded"
            self.refuse(position, "too many aliases", limits)
        self._check_depth(event, depth + node.height - 1)
        return node

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag not in _TEXT_TAGS:
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._report(_position(event), f"the tag {shown} is not allowed", "remove the tag")

    def _check_depth(self, event: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.refuse(_position(event), f"nested more than {MAX_DEPTH} levels deep", "")

    def _report(self, position: Position, message: str, hint: str) -> None:
        line, column = position
        source = self.lines[line - 1] if line <= len(self.lines) else ""
        self.problems.append(Problem(self.file, line, column, message, hint, source))
        if len(self.problems) >= MAX_PROBLEMS:
            raise ConfigError(self.problems)

    def refuse(self, position: Position, message: str, hint: str) -> NoReturn:
        """Give up at `position`, with the problems found so far."""
        self._report(position, message, hint)
        raise ConfigError(self.problems) from None


def _grow(node: ListNode | MapNode, part: Node) -> None:
    node.size += part.size
    node.height = max(node.height, part.height + 1)


def _position(event: Any) -> Position:
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)


def _explained(error: yaml.MarkedYAMLError, lines: tuple[str, ...]) -> tuple[Position, str, str]:
    """Where a syntax error is best shown, in plain words, with a hint."""
    problem, context = error.problem or "invalid YAML", error.context or ""
    here = _mark(error.problem_mark)
    line = lines[here.line - 1] if here.line <= len(lines) else ""
    if "\t" in problem or line[here.column - 1 : here.column] == "\t":
        return here, "a tab: YAML is indented with spaces only", "replace the tab by spaces"
    if "quoted scalar" in context and "end of stream" in problem:
        hint = "close it on the same line, or double it ('') inside single quotes"
        return _mark(error.context_mark), "this quote is never closed", hint
    if "flow" in context:
        bracket = "[ ... ]" if "sequence" in context else "{ ... }"
        start = _mark(error.context_mark)
        hint = f"close it, and put commas between its parts (line {here.line} goes on differently)"
        if any("${" in each for each in lines[start.line - 1 : here.line]):
            hint = 'inside brackets a variable needs quotes: "${NAME}"'
        return start, f"this {bracket} is not well formed", hint
    if "mapping values" in problem:
        hint = "quote a text with ': ' inside, or check the indentation"
        return here, "a second 'key: value' is not allowed here", hint
    if "cannot start any token" in problem:
        character = line[here.column - 1 : here.column]
        return here, f"a value cannot start with '{character}'", "quote the value"
    if "block" in context:
        hint = f"what began on line {_mark(error.context_mark).line} goes on at its own column"
        return here, "the indentation does not match the lines above", hint
    return here, f"not valid YAML: {problem}", "quote the value, if it is meant as text"


def _mark(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
