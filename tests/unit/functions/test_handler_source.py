"""What a handler's module offers, from its text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.functions.handler_source import (
    is_plain_value,
    list_callables,
    read_module,
    split_handler,
)

SOURCE = """
import os
from .inner import imported as handler, other
LIMIT: int = 3
names = ["a"]
maybe = None
if LIMIT: maybe = os.getcwd
def first(event, context): ...
async def second(event, context): ...
class Third: ...
def _private(): ...
wrapped = first
called = other()
"""


def test_callables_in_their_order() -> None:
    assert list_callables(SOURCE) == ["first", "second", "Third"]
    assert list_callables("def x(:") == []
    assert list_callables("(" * 100_000) == []


@pytest.mark.parametrize("name", ["LIMIT", "names"])
def test_plain_values(name: str) -> None:
    assert is_plain_value(SOURCE, name)


@pytest.mark.parametrize(
    "name",
    [
        "first",
        "Third",
        "handler",
        "other",
        "os",
        "wrapped",
        "called",
        "maybe",
        "absent",
        "_private",
    ],
)
def test_what_may_be_a_handler(name: str) -> None:
    assert not is_plain_value(SOURCE, name)


def test_a_star_import_may_bring_anything() -> None:
    assert not is_plain_value("handler = 1\nfrom x import *\n", "handler")


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ("app.handler", ("app", "handler")),
        ("pkg.mod.fn", ("pkg.mod", "fn")),
        ("dir/mod.fn", ("dir/mod", "fn")),
        ("nodots", ("", "nodots")),
    ],
)
def test_splitting(handler: str, expected: tuple[str, str]) -> None:
    assert split_handler(handler) == expected


def test_modules_are_found_in_the_first_place_that_has_them(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    (two / "pkg").mkdir(parents=True)
    one.mkdir()
    (two / "app.py").write_text("second")
    (two / "pkg" / "__init__.py").write_text("package")
    (two / "pkg" / "mod.py").write_text("module")
    assert read_module([one, two], "app") == "second"
    (one / "app.py").write_text("first")
    assert read_module([one, two], "app") == "first"
    assert read_module([one, two], "pkg") == "package"
    assert read_module([one, two], "pkg.mod") == read_module([one, two], "pkg/mod") == "module"
    assert read_module([one, two], "absent") is None
    assert read_module([one], "\0") is None
    (one / "bad.py").write_bytes(b"\xff\xfe")
    assert read_module([one], "bad") is None


@given(st.text())
def test_any_text_will_do(source: str) -> None:
    assert isinstance(list_callables(source), list)
    assert is_plain_value(source, "x") in (True, False)
