"""Problems as people see them, and the small decisions behind them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, Field, ValidationError, field_validator

from eventmesh.config import shape
from eventmesh.config.document import parse_document
from eventmesh.config.hints import did_you_mean, nearest
from eventmesh.config.interpolation import interpolate
from eventmesh.config.problems import Findings, format_problem
from eventmesh.errors import Problem
from eventmesh.units import Duration


def test_format() -> None:
    problem = Problem("m.yaml", 8, 9, "unknown key 'x'", "did you mean 'y'?", "        x: 5")
    assert format_problem(problem) == (
        "m.yaml:8:9: error: unknown key 'x'\n"
        "     8 |         x: 5\n"
        "       |         ^\n"
        "  hint: did you mean 'y'?"
    )


def test_format_of_a_whole_file_and_a_warning() -> None:
    problem = Problem("m.yaml", 0, 0, "the file does not exist")
    assert format_problem(problem) == "m.yaml: error: the file does not exist"
    assert format_problem(problem, "warning") == "m.yaml: warning: the file does not exist"


def test_format_keeps_tabs_under_tabs() -> None:
    text = format_problem(Problem("f", 1, 3, "m", "", "\ta\tb"))
    assert text.splitlines()[1:] == ["     1 | \ta\tb", "       | \t ^"]


def test_format_shows_no_control_characters() -> None:
    text = format_problem(Problem("f", 1, 1, "m\x1b[31m\nx", "h\x07", "a\x1b]0;x\x07"))
    assert text == "f:1:1: error: m?[31m?x\n     1 | a?]0;x?\n       | ^\n  hint: h?"


def test_format_of_a_long_line_shows_the_part_around() -> None:
    text = format_problem(Problem("f", 1, 5001, "m", "", "x" * 5000 + "HERE" + "y" * 5000))
    _, line, caret = text.splitlines()
    assert len(line) < 140
    assert line[caret.index("^") :].startswith("HERE")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("BatchSize", "batch_size"),
        ("batch-size", "batch_size"),
        ("BATCH SIZE", "batch_size"),
        ("bacth_size", "batch_size"),
        ("bathc", None),
        ("tiemout", "timeout"),
        ("bogus", None),
        ("", None),
        ("timeout" * 10_000, None),
    ],
)
def test_nearest(name: str, near: str | None) -> None:
    assert nearest(name, ["batch_size", "timeout", "logs"]) == near


def test_did_you_mean() -> None:
    assert did_you_mean("a1", ["b", "a"]) == "known keys: a, b"
    assert did_you_mean("x", [], "functions") == "there are no functions"
    many = [f"k{n:02}" for n in range(40)]
    assert did_you_mean("other", many) == f"known keys: {', '.join(many[:30])}, ..."


class Inner(BaseModel):
    count: int = 0
    kind: Literal[1, "a"] = 1


class Outer(BaseModel):
    flag: bool = False
    either: bool | str = False
    maybe: int | None = None
    numbers: list[int] = []
    mixed: int | list[int] = 0
    by_name: dict[str, float] = {}
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    wait: Duration = 0
    union: Annotated[Duration, Field(gt=0)] | None = None
    lenient: int = 0
    short: int = Field(0, validation_alias=AliasChoices("long_name", "short"))
    anything: Any = None

    @field_validator("lenient", mode="before")
    @classmethod
    def _length(cls, value: Any) -> Any:
        return len(value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"flag": "no"}, [(("flag",), "true or false")]),
        ({"flag": 0}, [(("flag",), "true or false")]),
        ({"flag": True, "either": "no"}, []),
        ({"maybe": "10"}, [(("maybe",), "a whole number")]),
        ({"maybe": None}, []),
        ({"numbers": [1, "2", 3.0]}, [(("numbers", 1), "a whole number")] * 1
         + [(("numbers", 2), "a whole number")]),
        ({"numbers": "12"}, []),
        ({"mixed": "1"}, [(("mixed",), "a whole number")]),
        ({"mixed": ["1"]}, [(("mixed", 0), "a whole number")]),
        ({"by_name": {"a": 1, "b": "2"}}, [(("by_name", "b"), "a number")]),
        ({"inner": {"count": True}}, [(("inner", "count"), "a whole number")]),
        ({"inner": {"kind": True}}, [(("inner", "kind"), "1 or a")]),
        ({"inner": {"kind": "b"}}, []),
        ({"inners": [{}, {"count": "1"}]}, [(("inners", 1, "count"), "a whole number")]),
        ({"wait": "5m", "union": "5m", "lenient": "12345"}, []),
        ({"short": "1"}, [(("short",), "a whole number")]),
        ({"anything": {"a": ["1"]}, "unknown": 1}, []),
        ([], []),
    ],
)  # fmt: skip
def test_scalars_that_would_be_converted(value: Any, found: list[Any]) -> None:
    assert list(shape.inexact_scalars(Outer, value)) == found


def test_fields_and_models_by_path() -> None:
    assert shape.model_at(Outer, ("inners", 3)) is Inner
    assert shape.model_at(Outer, ("inner",)) is Inner
    assert shape.model_at(Outer, ("by_name",)) is None
    assert shape.field_at(Outer, ("inner", "count")) is Inner.model_fields["count"]
    assert shape.field_at(Outer, ("long_name",)) is Outer.model_fields["short"]
    assert shape.field_at(Outer, ("nope", "count")) is None
    assert shape.field_at(Outer, ()) is None
    assert set(shape.models_within(Outer)) == {Outer, Inner}


def found_in(text: str, model: type[BaseModel]) -> list[Problem]:
    document = parse_document(text.encode(), "f")
    findings = Findings(document)
    data = interpolate(document, {}, lambda path: False).data
    findings.add_inexact(model, data)
    try:
        model.model_validate(data)
    except ValidationError as error:
        findings.add_validation(error, model)
    return findings.problems


def test_union_members_are_no_part_of_a_message() -> None:
    (problem,) = found_in("mixed: {a: 1}\n", Outer)
    assert (problem.column, problem.message) == (
        8,
        "'mixed' must be a whole number or a list, not a map",
    )
    (problem,) = found_in("mixed: [1, x]\n", Outer)
    assert (problem.column, problem.message) == (
        12,
        "entry 2 of 'mixed' must be a whole number, not the text 'x'",
    )


def test_a_value_is_complained_about_once() -> None:
    assert len(found_in("numbers: ['x']\nflag: maybe\n", Outer)) == 2


def test_other_kinds_of_errors_keep_their_words() -> None:
    class Model(BaseModel):
        multiple: int = Field(0, multiple_of=5, description="In fives.")
        when: Annotated[list[int], Field(min_length=2)] = [1, 2]

    problems = found_in("multiple: 7\nwhen: [1]\n", Model)
    assert [(p.message, p.hint) for p in problems] == [
        ("'multiple' should be a multiple of 5, not the number 7", "In fives."),
        ("'when' has 1 entries, at least 2 are allowed", ""),
    ]


@given(
    text=st.text(max_size=300), column=st.integers(1, 400), line=st.integers(0, 5), hint=st.text()
)
def test_any_problem_can_be_shown(text: str, column: int, line: int, hint: str) -> None:
    shown = format_problem(Problem("f", line, column, text, hint, text))
    assert all(c.isprintable() or c in "\t\n" for c in shown)
    assert len(shown.split("\n")) <= 4
