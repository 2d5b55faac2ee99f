"""Connectors through entry points of real distributions, laid out in a directory on `sys.path`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from eventmesh import registry
from eventmesh.connectors import Options
from eventmesh.errors import (
    ConnectorError,
    ConnectorNameTaken,
    ConnectorNotFound,
    ConnectorNotInstalled,
)

CONNECTOR = """\
from eventmesh.connectors import Connector, Options

class Settings(Options):
    pass

def make(*arguments):
    raise AssertionError

connector = Connector("A test.", source_options=Settings, source=make)
number = 5
"""


class Site:
    """A directory of installed distributions."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def install(
        self, name: str, points: str, code: str = CONNECTOR, requires: tuple[str, ...] = ()
    ) -> None:
        """One distribution with one module, `name` with underscores."""
        module = name.replace("-", "_")
        (self.directory / f"{module}.py").write_text(code)
        info = self.directory / f"{module}-1.0.dist-info"
        info.mkdir()
        lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0"]
        lines += [f"Requires-Dist: {each}" for each in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(f"[eventmesh.connectors]\n{points}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    before = set(sys.modules)
    yield Site(directory)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_strangers_connector(site: Site) -> None:
    site.install("acme-queue", "acme = acme_queue:connector")
    assert registry.installed()["acme"] == "acme-queue"
    assert "acme_queue" not in sys.modules
    connector = registry.load_connector("acme")
    assert connector.summary == "A test."
    assert registry.options_for("acme", "source") is connector.source_options
    assert issubclass(registry.options_for("acme", "source"), Options)


def test_only_the_named_one_is_imported(site: Site) -> None:
    site.install("acme-good", "good = acme_good:connector")
    site.install("acme-bad", "bad = acme_bad:connector", "raise RuntimeError('imported')")
    registry.load_connector("good")
    assert "acme_bad" not in sys.modules
    with pytest.raises(RuntimeError, match="imported"):
        registry.load_connector("bad")


def test_installed_is_sorted_and_names_every_distribution(site: Site) -> None:
    site.install("zeta", "twice = zeta:connector\nalone = zeta:connector")
    site.install("beta", "twice = beta:connector")
    names = registry.installed()
    assert list(names) == sorted(names)
    assert (names["twice"], names["alone"]) == ("beta, zeta", "zeta")


def test_two_distributions_of_one_name(site: Site) -> None:
    site.install("zeta", "twice = zeta:connector")
    site.install("beta", "twice = beta:connector")
    with pytest.raises(ConnectorNameTaken) as caught:
        registry.load_connector("twice")
    assert str(caught.value) == (
        "connector 'twice' is offered by beta and zeta: uninstall all but one of them"
    )


def test_unknown_name_lists_what_is_installed(site: Site) -> None:
    site.install("acme", "rabbitmq = acme:connector")
    with pytest.raises(ConnectorNotFound) as caught:
        registry.load_connector("RabitMQ")
    listed = ", ".join(registry.installed())
    assert str(caught.value) == (
        f"there is no connector 'RabitMQ'; did you mean 'rabbitmq'? installed: {listed}"
    )


@pytest.mark.parametrize(
    ("requires", "target"),
    [
        (('absent_client>=1; extra == "acme"',), "acme-x[acme]"),
        (("absent-client ; python_version > '3' and extra == 'clients'",), "acme-x[clients]"),
        (('Other.Dist>=2; extra == "acme"',), "acme-x[acme]"),
        (("absent.client>=1",), "acme-x"),
        (
            ('absent-client; extra == "all"', 'absent-client; extra == "acme"'),
            "acme-x[acme]",
        ),
    ],
)
def test_missing_client_library(site: Site, requires: tuple[str, ...], target: str) -> None:
    code = "import absent_client.sub\n"
    site.install("acme-x", "acme = acme_x:connector", code, requires)
    with pytest.raises(ConnectorNotInstalled) as caught:
        registry.load_connector("acme")
    assert str(caught.value) == (f"connector 'acme' needs 'absent_client': pip install '{target}'")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import acme_x.nothing", ModuleNotFoundError),
        ("from json import nothing", ImportError),
        ("import not_declared_anywhere", ModuleNotFoundError),
        ("import json\njson.nothing", AttributeError),
        ("1 +", SyntaxError),
    ],
)
def test_mistakes_of_the_connector_itself_come_through(
    site: Site, code: str, error: type[Exception]
) -> None:
    requires = ('pydantic; extra == "acme"',)
    site.install("acme-x", "acme = acme_x:connector", code, requires)
    with pytest.raises(error) as caught:
        registry.load_connector("acme")
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("acme_gone:connector", "there is no module 'acme_gone'"),
        ("acme:nothing", "there is no 'nothing' in it"),
    ],
)
def test_an_entry_point_that_leads_nowhere(site: Site, value: str, reason: str) -> None:
    site.install("acme", f"acme = {value}")
    with pytest.raises(ConnectorError) as caught:
        registry.load_connector("acme")
    assert str(caught.value) == (f"connector 'acme' of acme is declared as {value}, but {reason}")


def test_wrong_type(site: Site) -> None:
    site.install("acme", "acme = acme:number")
    with pytest.raises(ConnectorError) as caught:
        registry.load_connector("acme")
    assert str(caught.value) == (
        "connector 'acme' (acme:number) is int, not an eventmesh.connectors.Connector"
    )


def test_a_role_the_connector_does_not_have(site: Site) -> None:
    site.install("acme", "acme = acme:connector")
    with pytest.raises(ConnectorError) as caught:
        registry.options_for("acme", "destination")
    assert str(caught.value) == "connector 'acme' is no destination, only a source"


def test_a_connector_of_the_users_own_project(tmp_path: Path, site: Site) -> None:
    package = tmp_path / "project" / "mypkg_of_test"
    package.mkdir(parents=True)
    (package / "sources.py").write_text(CONNECTOR)
    path = list(sys.path)
    name = "mypkg_of_test.sources:connector"
    assert registry.load_connector(name, tmp_path / "project").summary == "A test."
    assert sys.path == path
    assert registry.options_for(name, "source", tmp_path / "project").__name__ == "Settings"


def test_mistakes_in_an_import_string(tmp_path: Path, site: Site) -> None:
    (tmp_path / "own_of_test.py").write_text(CONNECTOR)
    (tmp_path / "broken_of_test.py").write_text("import not_declared_anywhere")
    cases = {
        "nope_of_test.x:connector": f"no module 'nope_of_test' for 'nope_of_test.x:connector' "
        f"in {tmp_path} or installed",
        "own_of_test:nothing": "the module 'own_of_test' has no 'nothing'",
        "own_of_test:": "'own_of_test:' is not package.module:attribute",
        "../own:connector": "'../own:connector' is not package.module:attribute",
        "own_of_test:number": "'own_of_test:number' is int, not an eventmesh.connectors.Connector",
    }
    for name, message in cases.items():
        with pytest.raises(ConnectorError) as caught:
            registry.load_connector(name, tmp_path)
        assert str(caught.value) == message
    with pytest.raises(ModuleNotFoundError, match="not_declared_anywhere"):
        registry.load_connector("broken_of_test:connector", tmp_path)


def test_the_engine_names_no_connector_package() -> None:
    root = Path(registry.__file__).parent
    word = "eventmesh" + "_connectors"
    guilty = [str(path) for path in root.rglob("*.py") if word in path.read_text()]
    assert guilty == []
