"""The four ways a server is installed: a Python environment, npm, Maven, a Debian package.

Each takes pinned ingredients and goes through the registry's ordinary client only.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.servers.cache import build_once, cache_root, entry_name, locked
from tests.servers.processes import dying_with_parent
from tests.servers.recipe import MissingTool, Unavailable

PINS = Path(__file__).parent / "pins"
ROOT = Path(__file__).parents[2]
COMMAND_SECONDS = 600.0
DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def run(
    command: Sequence[str],
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    tied: bool = True,
) -> None:
    """Run one installation command; raises Unavailable with the end of what it said.

    `tied`: it dies with us, and so never writes to an entry whose lock is no longer held.
    """
    try:
        done = subprocess.run(
            dying_with_parent(command) if tied else command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} took over {COMMAND_SECONDS:.0f} s") from None
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise Unavailable(f"{' '.join(command)} failed with {done.returncode}:\n{said}")


def tool(name: str, hint: str) -> str:
    """The path of program `name`; raises MissingTool with `hint`."""
    found = shutil.which(name)
    if found is None:
        raise MissingTool(f"{name} is not installed ({hint})")
    return found


@cache
def interpreter(preferred: str | None) -> str:
    """Python `preferred` (such as "3.11") where this machine has it, else the running one's base.

    A shim that finds no such Python answers with an error and is passed over.
    """
    base = getattr(sys, "_base_executable", None) or sys.executable
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = shutil.which(f"python{preferred}") if preferred and preferred != own else None
    if found:
        asked = [found, "-c", "import sys; print(sys.executable)"]
        answer = subprocess.run(asked, capture_output=True, text=True)
        if answer.returncode == 0:
            return answer.stdout.strip()
    return base


def python_entry(name: str, version: str, preferred: str | None = None) -> Path:
    python = interpreter(preferred)
    return cache_root() / entry_name(name, version, [lock_text(name), python])


def lock_text(name: str) -> str:
    return (PINS / f"{name}.lock").read_text()


def python_environment(
    name: str,
    version: str,
    preferred: str | None = None,
    also: Callable[[Path], None] | None = None,
) -> Path:
    """A virtual environment holding exactly pins/NAME.lock; `also` adds to it before it counts."""

    def build(entry: Path) -> None:
        _install_python(interpreter(preferred), entry, PINS / f"{name}.lock")
        if also is not None:
            also(entry)

    return build_once(python_entry(name, version, preferred), build)


def _install_python(python: str, entry: Path, lock: Path) -> None:
    """With uv where the tests' own environment has it (ten times faster), else with pip."""
    if importlib.util.find_spec("uv") is not None:
        try:
            return _install_with_uv(python, entry, lock)
        except Unavailable:  # pip may know an index or a certificate that uv does not
            shutil.rmtree(entry)
    run([str(ROOT / "scripts" / "make-venv"), python, str(entry)])
    pip = [str(entry / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    run([*pip, "--require-hashes", "--no-deps", "-r", str(lock)])


def _install_with_uv(python: str, entry: Path, lock: Path) -> None:
    uv = [sys.executable, "-m", "uv", "--no-config", "--no-python-downloads"]
    run([*uv, "venv", "--quiet", "--allow-existing", "--python", python, str(entry)])
    into = ["--python", str(entry / "bin" / "python")]
    run([*uv, "pip", "install", "--quiet", *into, "--require-hashes", "--no-deps", "-r", str(lock)])


def npm_entry(name: str, version: str) -> Path:
    return cache_root() / entry_name(
        name, version, [(PINS / name / "package-lock.json").read_text()]
    )


def node_prefix(name: str, version: str) -> Path:
    """A directory with node_modules as pins/NAME/package-lock.json has it."""
    return build_once(npm_entry(name, version), lambda entry: npm_ci(name, entry))


def npm_ci(name: str, directory: Path) -> None:
    npm = tool("npm", "apt-get install npm, or https://nodejs.org")
    tool("node", "apt-get install nodejs, or https://nodejs.org")
    directory.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(PINS / name / file, directory)
    quiet = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]
    run([npm, "ci", *quiet], cwd=directory)


def pom(name: str, version: str, coordinates: Sequence[str]) -> str:
    """A pom.xml that depends on `coordinates`, each GROUP:ARTIFACT:VERSION."""
    rows = []
    for coordinate in coordinates:
        group, artifact, number = coordinate.split(":")
        rows.append(
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{number}</version></dependency>"
        )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>eventmesh.tests</groupId><artifactId>{name}</artifactId>"
        f"<version>{version}</version><packaging>pom</packaging>"
        f"<dependencies>{''.join(rows)}</dependencies></project>\n"
    )


def maven_jars(directory: Path, text: str) -> None:
    """The jars of the pom `text`, with all they need, in DIRECTORY/libs."""
    maven = tool("mvn", "apt-get install maven")
    (directory / "pom.xml").write_text(text)
    options = ["--batch-mode", "--quiet", "-DincludeScope=runtime", "-DoutputDirectory=libs"]
    run([maven, DEPENDENCY_PLUGIN, *options], cwd=directory)


def debian_package(package: str, proof: Path) -> Path:
    """`proof`, a file of Debian package `package`, which is installed where this user may.

    Root installs it; under CI=true passwordless sudo does. Nobody else's machine is changed.
    """
    if proof.exists():
        return proof
    apt = tool("apt-get", f"install {package} your system's way")
    with locked(cache_root() / "apt-get.lock"):
        if not proof.exists():
            _apt_install([*_as_root(package), apt], package)
    if not proof.exists():
        raise Unavailable(f"package {package} came without {proof}")
    return proof


def _as_root(package: str) -> list[str]:
    if os.geteuid() == 0:
        return []
    if in_ci() and shutil.which("sudo"):
        return ["sudo", "--non-interactive"]
    raise Unavailable(f"{package} is not installed: sudo apt-get install {package}")


def _apt_install(apt: Sequence[str], package: str) -> None:
    options = ["-qq", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    install = [*apt, "install", *options, package]
    settings = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    try:
        run(install, environment=settings, tied=False)  # killed, dpkg would be left half done
    except Unavailable:  # no package lists, or old ones
        run([*apt, "update", "-qq"], tied=False)
        run(install, environment=settings, tied=False)


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true"}
