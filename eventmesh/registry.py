"""Connector name -> `Connector`, through entry points of group `eventmesh.connectors` and nothing
else. Built-in connectors come through the same door as a stranger's.

Only the connector asked for is imported. `package.module:attribute` names one kept in the user's
own project.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from eventmesh.connectors import Connector, Options
from eventmesh.errors import (
    ConnectorError,
    ConnectorNameTaken,
    ConnectorNotFound,
    ConnectorNotInstalled,
)

GROUP = "eventmesh.connectors"

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def installed() -> dict[str, str]:
    """Names of all installed connectors, sorted -> the distribution that offers each. Imports no
    connector. Of a name offered twice, all distributions are named."""
    found: dict[str, list[str]] = {}
    for point in _entry_points():
        found.setdefault(point.name, []).append(_distribution_name(point))
    return {name: ", ".join(sorted(found[name])) for name in sorted(found)}


def load_connector(name: str, base_directory: Path | None = None) -> Connector:
    """The connector of this name, or of this `package.module:attribute`, for which
    `base_directory` is importable while it is loaded. Imports it; blocks on the file system.

    Raises ConnectorNotFound, ConnectorNotInstalled, ConnectorNameTaken, or ConnectorError when what
    is found is no `Connector`. An error in the connector's own code comes through as it is.
    """
    if ":" in name:
        return _checked(_from_project(name, base_directory), f"'{name}'")
    points = [point for point in _entry_points() if point.name == name]
    if not points:
        raise ConnectorNotFound(_not_found(name))
    if len(points) > 1:
        names = " and ".join(sorted(map(_distribution_name, points)))
        raise ConnectorNameTaken(
            f"connector '{name}' is offered by {names}: uninstall all but one of them"
        )
    return _checked(_from_entry_point(points[0]), f"connector '{name}' ({points[0].value})")


def options_for(
    name: str, role: Literal["source", "destination"], base_directory: Path | None = None
) -> type[Options]:
    """The options of a connector as a source or as a destination.

    Raises what `load_connector` raises, and ConnectorError when the connector has no such role.
    """
    connector = load_connector(name, base_directory)
    options, factory = (
        (connector.source_options, connector.source)
        if role == "source"
        else (connector.destination_options, connector.destination)
    )
    if options is None or factory is None:
        other = "destination" if role == "source" else "source"
        raise ConnectorError(f"connector '{name}' is no {role}, only a {other}")
    return options


def _entry_points() -> tuple[metadata.EntryPoint, ...]:
    return _entry_points_on(tuple(sys.path))


@functools.lru_cache(maxsize=4)
def _entry_points_on(path: tuple[str, ...]) -> tuple[metadata.EntryPoint, ...]:
    """Looked up once for each `sys.path`: reading every distribution's metadata takes a while."""
    return tuple(metadata.entry_points(group=GROUP))


def _from_entry_point(point: metadata.EntryPoint) -> Any:
    try:
        return point.load()
    except ModuleNotFoundError as error:
        raise _explained(point, error) from error
    except AttributeError as error:
        module = sys.modules.get(point.module)
        if module is not None and not hasattr(module, point.attr.split(".")[0]):
            raise _broken(point, f"there is no '{point.attr}' in it") from error
        raise


def _explained(point: metadata.EntryPoint, error: ModuleNotFoundError) -> Exception:
    """The error that says what to install; the error itself when it is the connector's own bug."""
    missing = error.name or ""
    if missing and f"{point.module}.".startswith(f"{missing}."):
        return _broken(point, f"there is no module '{missing}'")
    library = missing.split(".")[0]
    target = None if library == point.module.split(".")[0] else _install_target(point, library)
    if target is None:
        return error
    return ConnectorNotInstalled(
        f"connector '{point.name}' needs '{library}': pip install '{target}'"
    )


def _broken(point: metadata.EntryPoint, reason: str) -> ConnectorError:
    return ConnectorError(
        f"connector '{point.name}' of {_distribution_name(point)} is declared as "
        f"{point.value}, but {reason}"
    )


def _install_target(point: metadata.EntryPoint, library: str) -> str | None:
    """What to install for a missing `library`: the declaring distribution, with the extra of the
    connector's name or the one that requires the library; None when nothing declares it."""
    distribution = point.dist
    if distribution is None:
        return None
    name = _distribution_name(point)
    required = list(_requirements(distribution))
    extras = [extra for requirement, extra in required if requirement == _normal(library)]
    if _normal(point.name) in map(_normal, filter(None, extras)):
        return f"{name}[{point.name}]"
    if extras:
        return f"{name}[{extras[0]}]" if extras[0] else name
    # a module is often named otherwise than its distribution (`yaml` of PyYAML)
    own = [requirement for requirement, extra in required if _normal(extra) == _normal(point.name)]
    return None if all(map(_is_installed, own)) else f"{name}[{point.name}]"


def _requirements(distribution: metadata.Distribution) -> Iterator[tuple[str, str]]:
    """Normalised names of what a distribution requires, each with its extra ("" for none)."""
    for line in distribution.requires or ():
        if match := _REQUIREMENT.match(line):
            extra = _EXTRA.search(line)
            yield _normal(match[1]), extra[1] if extra else ""


def _is_installed(requirement: str) -> bool:
    try:
        metadata.distribution(requirement)
    except metadata.PackageNotFoundError:
        return False
    return True


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution_name(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else "an unnamed distribution"


def _from_project(name: str, base_directory: Path | None) -> Any:
    """What `package.module:attribute` names."""
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise ConnectorNotFound(f"'{name}' is not package.module:attribute")
    with _importable(base_directory):
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if f"{module_name}.".startswith(f"{error.name}."):
                where = f" in {base_directory}" if base_directory else ""
                message = f"no module '{error.name}' for '{name}'{where} or installed"
                raise ConnectorNotFound(message) from error
            raise
        for part in attribute.split("."):
            if not hasattr(found, part):
                raise ConnectorNotFound(f"the module '{module_name}' has no '{attribute}'")
            found = getattr(found, part)
    return found


@contextmanager
def _importable(directory: Path | None) -> Iterator[None]:
    """Puts a directory first on `sys.path` for a while."""
    if directory is None:
        yield
        return
    entry = str(directory.absolute())
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(entry)


def _checked(found: Any, what: str) -> Connector:
    if isinstance(found, Connector):
        return found
    raise ConnectorError(f"{what} is {type(found).__name__}, not an eventmesh.connectors.Connector")


def _not_found(name: str) -> str:
    names = list(installed())
    near = difflib.get_close_matches(name[:100].lower(), names, n=1)
    suggestion = f"did you mean '{near[0]}'? " if near else ""
    listed = f"installed: {', '.join(names)}" if names else "no connector is installed"
    return f"there is no connector '{name}'; {suggestion}{listed}"
