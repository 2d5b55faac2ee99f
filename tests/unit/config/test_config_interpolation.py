"""`${VAR}` in scalars, and `.env` files."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh.config.document import Position, parse_document
from eventmesh.config.dotenv import parse_dotenv
from eventmesh.config.interpolation import (
    Interpolated,
    SubstitutionError,
    interpolate,
    substitute,
)

VARIABLES = {"A": "alpha", "EMPTY": "", "N": "30", "T": "true", "SECRET": "hunter2hunter2"}


def filled(text: str, is_text: bool = False) -> Interpolated:
    return interpolate(parse_document(text.encode(), "f"), VARIABLES, lambda path: is_text)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "alpha"),
        ("x${A}y${A}z", "xalphayalphaz"),
        ("${EMPTY}", ""),
        ("${A:-d}", "alpha"),
        ("${NOPE:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${NOPE:-}", ""),
        ("${NOPE:-a b:c-d}", "a b:c-d"),
        ("${A:?why}", "alpha"),
        ("${A:+set}", "set"),
        ("${NOPE:+set}", ""),
        ("${EMPTY:+set}", ""),
        ("${NOPE:-${A}}", "alpha"),
        ("${NOPE:-<${ALSO:-x}>}", "<x>"),
        ("${A:-${NOPE}}", "alpha"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$$${A}", "$${A}"),
        ("$$${A}", "$alpha"),
        ("$A $ a$", "$A $ a$"),
        ("${NOPE:-$$}", "$"),
        ("${NOPE:-$${x}}", "${x}"),
        ("no dollar", "no dollar"),
        ("}", "}"),
    ],
)
def test_substitution(text: str, result: str) -> None:
    # `$${` counts as an opened brace inside a default, so that `$${x}` can stand there
    assert substitute(text, VARIABLES, set()) == result


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("ab ${NOPE}", 3, "the variable NOPE is not set"),
        ("${NOPE:?set it first}", 0, "the variable NOPE is not set: set it first"),
        ("${EMPTY:?why ${A}}", 0, "the variable EMPTY is not set: why alpha"),
        ("${NOPE:-${ALSO}}", 8, "the variable ALSO is not set"),
        ("${A", 0, "a '${' without its '}'"),
        ("x${}", 1, "'${}' is not a variable"),
        ("${1A}", 0, "'${1A}' is not a variable"),
        ("${a.b}", 0, "'${a.b}' is not a variable"),
        ("${A-x}", 0, "'${A-x}' is not a variable"),
        ("${A:x}", 0, "'${A:x}' is not a variable"),
        ("${X:-" * 11 + "}" * 11, 50, "'${X:-}' is not a variable"),
    ],
)
def test_what_cannot_be_substituted(text: str, offset: int, message: str) -> None:
    with pytest.raises(SubstitutionError) as caught:
        substitute(text, VARIABLES, set())
    assert (caught.value.offset, str(caught.value)) == (offset, message)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("${N}", 30),
        ("${T}", True),
        ("${NOPE:-1.5}", 1.5),
        ("${NOPE:-null}", None),
        ("${EMPTY}", ""),
        ("'${N}'", "30"),
        ('"${T}"', "true"),
        ("|-\n ${N}", "30"),
        ("3${N}", 330),
        ("- ${N}\n- '${N}'\n- k: '${A}'", [30, "30", {"k": "alpha"}]),
        ("{'${A}': 1}", {"${A}": 1}),
    ],
)
def test_values_are_typed_as_yaml_unless_quoted(text: str, data: Any) -> None:
    result = filled(text)
    assert (result.data, result.mistakes) == (data, ())


@pytest.mark.parametrize("text", ["010", "1.10", "true", "null", "~", "30", "2024-01-01"])
def test_text_stays_as_written(text: str) -> None:
    assert filled(text, is_text=True).data == text


def test_a_variable_cannot_add_structure() -> None:
    document = parse_document(b"a: ${EVIL}\n", "f")
    evil = {"EVIL": "x\nb: !!python/x [1]"}
    assert interpolate(document, evil, lambda path: False).data == {"a": evil["EVIL"]}


def test_only_long_values_that_were_used_are_secrets() -> None:
    assert filled("['x${SECRET}y', '${A}', '${NOPE:-longer than eight}']").secrets == {
        "hunter2hunter2"
    }
    assert filled("${SECRET:+present}").secrets == frozenset()


def test_every_mistake_has_its_place() -> None:
    result = filled("a: x ${NOPE}\nb: ['é', \"\\t ${ALSO:-${THIS}}\"]\nc: >-\n  ${LAST}\n")
    assert result.data == {"a": None, "b": ["é", None], "c": None}
    assert [(m.path, m.position) for m in result.mistakes] == [
        (("a",), Position(1, 6)),
        (("b", 1), Position(2, 22)),
        (("c",), Position(3, 4)),
    ]
    assert result.mistakes[0].hint == (
        "set NOPE, put it into .env beside the file, or write ${NOPE:-default}"
    )


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab${}:-?+A ", max_size=25))
def test_any_text_is_substituted_or_refused(text: str) -> None:
    try:
        substitute(text, VARIABLES, set())
        offset = None
    except SubstitutionError as error:
        offset = error.offset
    assert offset is None or text.startswith("${", offset)


@given(st.text(max_size=30))
def test_doubled_dollars_are_the_text_itself(text: str) -> None:
    assert substitute(text.replace("$", "$$"), {}, set()) == text


def test_dotenv() -> None:
    text = """\
# comment
A=1
export B = two words   # said
C='single # $kept \\n'
D="double \\"q\\" \\n\\t\\\\ # in" # out
E=
F="" # empty
G=a#b

H=first
H=second
"""
    assert parse_dotenv(text, ".env") == (
        {
            "A": "1",
            "B": "two words",
            "C": "single # $kept \\n",
            "D": 'double "q" \n\t\\ # in',
            "E": "",
            "F": "",
            "G": "a#b",
            "H": "second",
        },
        [],
    )


def test_dotenv_mistakes_show_no_values() -> None:
    variables, problems = parse_dotenv('A\n=b\n1A=c\nB=\'x\nC="x\nD="x" y\nE=ok\n', "d/.env")
    assert variables == {"E": "ok"}
    assert [(p.file, p.line, p.message) for p in problems] == [
        ("d/.env", 1, "not a KEY=VALUE line"),
        ("d/.env", 2, "not a KEY=VALUE line"),
        ("d/.env", 3, "not a KEY=VALUE line"),
        ("d/.env", 4, "the quotes of B are wrong"),
        ("d/.env", 5, "the quotes of C are wrong"),
        ("d/.env", 6, "the quotes of D are wrong"),
    ]
    assert all(p.source_line == "" for p in problems)
