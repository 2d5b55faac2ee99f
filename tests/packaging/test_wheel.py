"""The wheel, installed where nothing else is, with a stranger's connector beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import eventmesh
from tests.acceptance.engine import eventually

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TOY_PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "eventmesh-toy"
version = "1.2.3"
requires-python = ">=3.11"
dependencies = ["eventmesh"]

[project.entry-points."eventmesh.connectors"]
toy = "eventmesh_toy:connector"
"""
TOY = '''
"""All a stranger needs is the contract."""
import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from eventmesh.connectors import Connector, Options, SourceContext, Target
from eventmesh.errors import DestinationError
from eventmesh.units import Duration


class ToyOptions(Options):
    short_form = "greeting"
    greeting: str = Field(min_length=2, description="what each event says")
    every: Duration = Field(default=0.1, description="time between two events")

    @property
    def resource(self) -> str:
        return self.greeting


class ToySource:
    def __init__(self, options: ToyOptions, context: SourceContext) -> None:
        self.options, self.context = options, context

    async def run(self, target: Target) -> None:
        positions = await self.context.positions.load()
        number = int(positions.get("number", "0"))
        self.context.announce(f"from {number}")
        while True:
            number += 1
            event = json.dumps({"greeting": self.options.greeting, "number": number}).encode()
            await target.enqueue([event], {"number": str(number)})
            await self.context.clock.sleep(self.options.every)


class ToyFileOptions(Options):
    short_form = "file"
    file: str = Field(description="where payloads are appended")

    @property
    def resource(self) -> str:
        return self.file

    def resolved(self, base_directory: Path) -> "ToyFileOptions":
        return self.model_copy(update={"file": str(base_directory / self.file)})


class ToyDestination:
    def __init__(self, options: ToyFileOptions) -> None:
        self.file = options.file

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        await asyncio.to_thread(self._append, payload)

    def _append(self, payload: bytes) -> None:
        with open(self.file, "ab") as out:
            out.write(payload + b"\\n")

    async def close(self) -> None:
        pass


connector = Connector(
    "Greets",
    source_options=ToyOptions,
    source=ToySource,
    destination_options=ToyFileOptions,
    destination=ToyDestination,
    sample_events={"toy-greeting": {"greeting": "hello", "number": 1}},
)
'''
HANDLER = """
import os
def greet(event, context):
    with open(os.environ["OUT"], "a") as out:
        out.write(event["greeting"] + " " + str(event["number"]) + "\\n")
    if event["number"] == 2:
        raise ValueError("two is too many")
"""
MAPPINGS = """
functions:
  greet:
    handler: app.greet
    env: {OUT: "${OUT}"}
    maximum_retry_attempts: 0
    on_failure: {toy: ./failed}
    events:
      - toy: {greeting: hello, every: 50ms}
server: {http: false}
"""


def run(*command: str | Path, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """A process that knows nothing of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**kept, **environ},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def build_wheel(project: Path, into: Path) -> Path:
    ended = run(
        sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
        "-w", into, project, cwd=into,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def toy_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("toy")
    (project / "pyproject.toml").write_text(TOY_PROJECT)
    (project / "eventmesh_toy.py").write_text(TOY)
    return build_wheel(project, tmp_path_factory.mktemp("toy-wheel"))


@pytest.fixture(scope="module")
def binaries(wheel: Path, toy_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of a venv that holds the two wheels and what they need, no extra."""
    directory = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(directory, with_pip=True)
    binaries = directory / "bin"
    pip = (binaries / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
    ended = run(*pip, wheel, toy_wheel, cwd=directory)
    assert ended.returncode == 0, ended.stderr
    return binaries


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(HANDLER)
    (tmp_path / "mappings.yaml").write_text(MAPPINGS)
    return tmp_path


def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (n for n in names if n.endswith(".dist-info/METADATA"))
        (points,) = (n for n in names if n.endswith(".dist-info/entry_points.txt"))
        described, declared = archive.read(metadata).decode(), archive.read(points).decode()
    assert {
        "eventmesh/py.typed",
        "eventmesh/cli/__init__.py",
        "eventmesh/environments/shim.py",
        "eventmesh/environments/fork_server.py",
        "eventmesh/testing/store_contract.py",
        "eventmesh_connectors/py.typed",
        "eventmesh_connectors/s3/__init__.py",
    } <= names
    tops = {name.split("/")[0] for name in names}
    assert tops == {
        "eventmesh",
        "eventmesh_connectors",
        f"eventmesh-{eventmesh.__version__}.dist-info",
    }
    shipped = {str(f.relative_to(ROOT)) for f in (ROOT / "eventmesh").rglob("*.py")}
    assert shipped <= names
    assert not [name for name in names if "test_" in name or name.endswith((".pyc", "conftest.py"))]
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert f"\nVersion: {eventmesh.__version__}\n" in described
    assert "\nRequires-Python: >=3.11\n" in described
    assert "eventmesh = eventmesh.cli:main" in declared
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, place in project["entry-points"]["eventmesh.connectors"].items():
        assert f"{name} = {place}" in declared


def test_the_sdist_builds_and_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    ended = run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "tests", "examples"):
        assert (unpacked / name).exists(), name
    assert not (unpacked / ".venv").exists()
    (tmp_path / "again").mkdir()
    again = build_wheel(unpacked, tmp_path / "again")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {(i.filename, i.CRC) for i in first.infolist()} == {
            (i.filename, i.CRC) for i in second.infolist()
        }


def test_the_connectors_of_a_clean_installation(binaries: Path, project: Path) -> None:
    ended = run(binaries / "eventmesh", "connectors", "--json", cwd=project)
    assert ended.returncode == 0, ended.stderr
    rows = {row["name"]: row for row in json.loads(ended.stdout)}
    assert rows["toy"] == {
        "name": "toy",
        "roles": "source, destination",
        "summary": "Greets",
        "distribution": "eventmesh-toy",
    }
    assert rows["http"]["roles"] == "source, destination"
    assert rows["schedule"]["roles"] == "unusable"
    assert "pip install 'eventmesh[schedule]'" in rows["schedule"]["summary"]
    settings = run(binaries / "eventmesh", "connectors", "toy", cwd=project).stdout
    assert "as a source   (short: `toy: GREETING`)" in settings
    assert re.search(
        r"^  every +duration +time between two events \(default 0\.1\)", settings, re.M
    )


@pytest.mark.parametrize(("name", "value"), [("schedule", "rate(1 hour)"), ("s3", "./uploads")])
def test_a_missing_extra_says_what_to_install(
    binaries: Path, project: Path, name: str, value: str
) -> None:
    text = f"functions: {{f: {{handler: app.greet, events: [{name}: {value}]}}}}\n"
    (project / "mappings.yaml").write_text(text)
    for command in (("run",), ("validate", "--no-import")):
        ended = run(binaries / "eventmesh", *command, cwd=project)
        assert ended.returncode == 3
        assert f"connector '{name}' needs '" in ended.stderr
        assert f"pip install 'eventmesh[{name}]'" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_strangers_connector_runs(binaries: Path, project: Path) -> None:
    greeted, failed = project / "greeted", project / "failed"
    assert run_until(binaries, project, greeted, 4)[:3] == ["hello 1", "hello 2", "hello 3"]
    lines = run_until(binaries, project, greeted, len(lines_of(greeted)) + 4)
    numbers = {int(line.split()[1]) for line in lines}
    assert sorted(numbers) == list(range(1, max(numbers) + 1)), "its position was kept"
    record = json.loads(lines_of(failed)[0])
    assert record["requestPayload"] == {"greeting": "hello", "number": 2}
    assert record["responsePayload"]["errorMessage"] == "two is too many"
    log = (project / "log").read_text()
    assert "  sources    toy  hello  from 0\n" in log
    assert re.search(r"  sources    toy  hello  from [4-9]", log)


def run_until(binaries: Path, project: Path, file: Path, count: int) -> list[str]:
    """Run the mesh of `project` until `file` has so many lines; what it holds after the stop."""
    environ = {"PATH": os.environ["PATH"], "OUT": str(file)}
    with (project / "log").open("ab") as log:
        process = subprocess.Popen(
            [str(binaries / "eventmesh"), "run"],
            cwd=project,
            env=environ,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: len(lines_of(file)) >= count)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (project / "log").read_text()
    finally:
        process.kill()
        process.wait()
    return lines_of(file)


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def test_a_strangers_options_are_checked(binaries: Path, project: Path) -> None:
    text = MAPPINGS.replace("greeting: hello", "greeting: h").replace("every:", "evry:")
    (project / "mappings.yaml").write_text(text)
    ended = run(binaries / "eventmesh", "validate", "--no-import", cwd=project, OUT="here")
    assert ended.returncode == 3
    assert "mappings.yaml:9:" in ended.stderr
    assert "hint: did you mean 'every'?" in ended.stderr


def test_a_strangers_sample_event(binaries: Path, project: Path) -> None:
    ended = run(binaries / "eventmesh", "generate-event", "toy-greeting", cwd=project)
    assert json.loads(ended.stdout) == {"greeting": "hello", "number": 1}
    listed = run(binaries / "eventmesh", "generate-event", cwd=project).stdout
    assert re.search(r"^toy-greeting +a sample of connector 'toy'$", listed, re.M)
    fixed = run(
        binaries / "eventmesh", "generate-event", "toy-greeting", "--count", "2", cwd=project
    )
    assert fixed.returncode == 2
    near = run(binaries / "eventmesh", "generate-event", "toy-greting", cwd=project)
    assert "did you mean 'toy-greeting'?" in near.stderr


def test_the_module_is_the_command(binaries: Path, project: Path) -> None:
    ended = run(binaries / "python", "-m", "eventmesh", "--version", cwd=project)
    assert ended.stdout == f"eventmesh {eventmesh.__version__}\n"
    usable = run(binaries / "eventmesh", "schema", cwd=project)
    assert usable.returncode == 0
    assert "toy-source" in json.loads(usable.stdout)["$defs"]
    assert "left out: connector 'schedule' needs 'apscheduler'" in usable.stderr
