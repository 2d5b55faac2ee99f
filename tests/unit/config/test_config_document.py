"""YAML text to nodes with positions, with PyYAML's C parser and its Python one alike."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh.config.document import (
    Document,
    ListNode,
    MapNode,
    Node,
    Position,
    ScalarNode,
    parse_document,
)
from eventmesh.config.interpolation import interpolate
from eventmesh.config.scalars import resolve_scalar
from eventmesh.errors import ConfigError

TEXT = """\
# a comment
functions:
  äö: {handler: "x", list: [1,
      two]}
  g:
    - - a
    - |
      block
"""


def data_of(document: Document) -> Any:
    return interpolate(document, {}, lambda path: False).data


@pytest.mark.parametrize("pure", [False, True])
def test_positions_of_keys_and_values(pure: bool) -> None:
    document = parse_document(TEXT.encode(), "f", pure=pure)
    assert document.key_position(("functions",)) == Position(2, 1)
    assert document.value_position(("functions",)) == Position(3, 3)
    assert document.key_position(("functions", "äö", "handler")) == Position(3, 8)
    assert document.value_position(("functions", "äö", "handler")) == Position(3, 17)
    assert document.value_position(("functions", "äö", "list", 1)) == Position(4, 7)
    assert document.key_position(("functions", "äö", "list", 1)) is None
    assert document.value_position(("functions", "g", 0, 0)) == Position(6, 9)
    assert document.value_position(("functions", "g", 1)) == Position(7, 7)


def test_a_missing_place_is_its_parent() -> None:
    document = parse_document(TEXT.encode(), "f")
    assert document.key_position(("functions", "g", "nope")) is None
    assert document.value_position(("functions", "äö", "nope", 3)) == Position(3, 7)
    assert document.node(("functions", "g", 9)) is None
    assert document.node(("functions", "g", "0")) is None
    assert parse_document(b"", "f").value_position(("x",)) == Position(1, 1)


def test_lines_are_kept_for_messages() -> None:
    document = parse_document(b"a: 1\r\nb: 2\rc: 3\n", "f")
    assert [document.line(n) for n in range(6)] == ["", "a: 1", "b: 2", "c: 3", "", ""]
    assert document.key_position(("c",)) == Position(3, 1)


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "a: [1,\nb: 2",
        "a: 'x",
        "a: {b",
        "\ta: 1",
        "a:\n\t- b",
        "a: b: c",
        "- a\nb: c",
        "a: ]",
        "a: >%",
    ],
)
def test_both_parsers_refuse_the_same(text: str, pure: bool) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_document(text.encode(), "f", pure=pure)
    assert [p.line for p in caught.value.problems] in ([1], [2])


@pytest.mark.parametrize("pure", [False, True])
def test_sizes_and_heights_count_aliases_expanded(pure: bool) -> None:
    root = parse_document(b"a: &a [x, [y]]\nb: [*a, *a]\n", "f", pure=pure).root
    assert isinstance(root, MapNode)
    assert (root.entries["a"].value.size, root.entries["a"].value.height) == (4, 2)
    assert (root.size, root.height) == (1 + 4 + 9, 4)


def test_aliases_share_their_value() -> None:
    document = parse_document(b"a: &x {k: 1}\nb: *x\nc: [*x]\n", "f")
    assert data_of(document) == {"a": {"k": 1}, "b": {"k": 1}, "c": [{"k": 1}]}
    assert document.value_position(("b", "k")) == Position(1, 11)


def test_problems_that_do_not_stop_reading() -> None:
    document = parse_document(b"a: !x 1\na: 2\n<<: 3\n'<<': 4\n", "f")
    assert [(p.line, p.column, p.message) for p in document.problems] == [
        (1, 4, "the tag !x is not allowed"),
        (2, 1, "duplicate key 'a': it stands on lines 1 and 2"),
        (3, 1, "merge keys ('<<') are not supported"),
        (4, 1, "duplicate key '<<': it stands on lines 3 and 4"),
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("+3", 3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("2e3", 2000.0),
        ("-1.5E-1", -0.15),
        *[
            (text, text)
            for text in (
                "no", "yes", "on", "off", "y", "n", "010", "0o10", "0x1F", "1_000", "12:30:00",
                "2024-01-01", "1.2.3", ".inf", ".nan", "1e999", "-", "+", ".", "e3", "9" * 101, "٣",
            )
        ],
    ],
)  # fmt: skip
def test_plain_scalars(text: str, value: object) -> None:
    resolved = resolve_scalar(text)
    assert (type(resolved), resolved) == (type(value), value)


def test_quoted_and_tagged_scalars_are_text() -> None:
    document = parse_document(b"""{a: "1", b: 'true', c: !!str 5, d: ! 6, e: ""}""", "f")
    assert data_of(document) == {"a": "1", "b": "true", "c": "5", "d": "6", "e": ""}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(value=values, flow=st.booleans())
def test_what_is_dumped_is_read_back(value: object, flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow).replace("$", "$$")
    for pure in (False, True):
        document = parse_document(text.encode(), "f", pure=pure)
        assert document.problems == ()
        assert data_of(document) == interpolated_keys(value)


def interpolated_keys(value: object) -> object:
    """Variables are put into values only, so `$$` stays in keys."""
    if isinstance(value, dict):
        return {k.replace("$", "$$"): interpolated_keys(v) for k, v in value.items()}
    return [interpolated_keys(each) for each in value] if isinstance(value, list) else value


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-[]{},'\"#&*!|>%@ \n\t?~0$", max_size=40))
def test_any_text_is_read_or_refused_with_a_place_in_it(text: str) -> None:
    for pure in (False, True):
        try:
            document = parse_document(text.encode(), "f", pure=pure)
            problems = document.problems
            assert document.root is None or places_are_in_file(document.root, document)
        except ConfigError as error:
            problems = tuple(error.problems)
        assert all(p.line >= 1 and p.column >= 1 for p in problems)


def places_are_in_file(node: Node, document: Document) -> bool:
    parts: list[Node] = []
    if isinstance(node, MapNode):
        parts = [entry.value for entry in node.entries.values()]
    elif isinstance(node, ListNode):
        parts = node.items
    else:
        assert isinstance(node, ScalarNode)
    # an empty value at the end of the file stands on the line after it
    inside = 1 <= node.position.line <= len(document.lines) + 1 and node.position.column >= 1
    return inside and all(places_are_in_file(part, document) for part in parts)
