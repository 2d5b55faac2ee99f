"""The map in docs/architecture.md, held: imports go downwards only, and the plugin door is one for
all."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventmesh

ROOT = Path(__file__).parents[2]
GROUND = {
    "errors", "clock", "units", "messages", "connectors", "failpoints", "pulling", "records",
    "tasks", "telemetry",
}  # fmt: skip
#: room or module -> what it may import of eventmesh, besides itself
MAY_IMPORT = {
    "errors": set(),
    "clock": set(),
    "failpoints": set(),
    "tasks": set(),
    "units": set(),
    "messages": set(),
    "connectors": {"clock", "messages"},
    "telemetry": {"connectors"},
    "records": set(),
    "pulling": {"connectors", "records", "units"},
    "functions": GROUND,
    "state": GROUND,
    "http": GROUND,
    "environments": GROUND | {"functions"},
    "invocation": GROUND | {"functions", "environments", "state"},
    "mappings": GROUND | {"functions", "environments", "state", "invocation"},
    "observers": GROUND,
    "config": GROUND | {"functions"},
    "registry": GROUND,
    "api": GROUND | {"functions", "state", "invocation", "observers"},
    "app": GROUND | {
        "api", "config", "environments", "functions", "http", "invocation", "mappings", "observers",
        "state",
    },
    "serving": GROUND | {"app"},
    "oneshot": GROUND | {
        "api", "config", "environments", "functions", "invocation", "mappings", "state",
    },
    "testing": GROUND | {"environments", "functions", "state"},
}  # fmt: skip
CONTRACT = {"connectors", "pulling", "records", "messages", "errors", "clock", "units"}


def imports(file: Path) -> Iterator[str]:
    """Dotted names of the eventmesh modules that `file` imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                continue  # its own package
            if node.module == "eventmesh":
                yield from (f"eventmesh.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def room(file: Path) -> str:
    return file.relative_to(ROOT / "eventmesh").parts[0].removesuffix(".py")


PRODUCT = sorted((ROOT / "eventmesh").rglob("*.py"))
CONNECTORS = sorted((ROOT / "connectors").rglob("*.py"))


@pytest.mark.parametrize("file", PRODUCT, ids=lambda f: str(f.relative_to(ROOT)))
def test_doors_open_downwards(file: Path) -> None:
    here = room(file)
    if here in ("cli", "__init__", "__main__"):
        return
    for name in imports(file):
        top, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        if top == "eventmesh" and there not in ("", "__version__", here):
            assert there in MAY_IMPORT[here], f"{here} must not import {name}"


@pytest.mark.parametrize("file", CONNECTORS, ids=lambda f: str(f.relative_to(ROOT)))
def test_connectors_know_the_contract_only(file: Path) -> None:
    for name in imports(file):
        if name.split(".")[0] == "eventmesh":
            assert name.split(".")[1] in CONTRACT, f"a connector must not import {name}"


def test_nothing_in_the_engine_names_a_built_in_connector_package() -> None:
    for file in PRODUCT:
        assert "eventmesh_connectors" not in file.read_text(), file


def test_only_the_public_names_are_public() -> None:
    assert eventmesh.__all__ == ["__version__"]


def test_the_changelog_knows_the_version() -> None:
    assert f"## [{eventmesh.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_connector_has_an_extra_of_its_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needing = set(project["entry-points"]["eventmesh.connectors"]) - {"directory"}
    assert needing <= set(project["optional-dependencies"])


@pytest.mark.parametrize("file", [*PRODUCT, *CONNECTORS], ids=lambda f: str(f.relative_to(ROOT)))
def test_modules_and_functions_stay_small(file: Path) -> None:
    text = file.read_text()
    assert text.count("\n") < 600
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            named = [p for p in parameters if p.arg not in ("self", "cls")]
            assert length <= 80, f"{node.name} has {length} lines"
            assert len(named) <= 8, f"{node.name} has {len(named)} parameters"
