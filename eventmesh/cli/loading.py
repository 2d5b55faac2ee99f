"""Reading mappings.yaml for a command: problems are printed and end it with exit code 3."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from eventmesh.cli.exit_codes import ExitCode
from eventmesh.errors import ConfigError, EventMeshError, Problem

if TYPE_CHECKING:
    from eventmesh.config.loader import LoadedConfig, MappingConfig
    from eventmesh.pulling import PullOptions

DEFAULT_FILE = "mappings.yaml"

file_argument = click.argument(
    "file", default=DEFAULT_FILE, type=click.Path(path_type=Path, dir_okay=True)
)
file_option = click.option(
    "-f",
    "--file",
    default=DEFAULT_FILE,
    show_default=True,
    type=click.Path(path_type=Path),
    help="The mappings file.",
)


def load(file: Path) -> LoadedConfig:
    """The configuration in `file`, connectors included. Raises ConfigError."""
    from eventmesh import registry
    from eventmesh.config import loader

    options_for = partial(registry.options_for, base_directory=file.parent)
    config = loader.load(file, environ=os.environ, options_for=options_for)
    found = [*_mapping_mistakes(config), *_route_conflicts(config)]
    if found:
        raise ConfigError(found)
    told = (*config.warnings, *_mapping_traps(config), *_loops(config))
    return replace(config, warnings=told)


def load_or_exit(file: Path) -> LoadedConfig:
    """As `load`, but prints warnings, and exits with 3 after printing every problem."""
    try:
        config = load(file)
    except ConfigError as error:
        fail_with_problems(error.problems)
    for warning in config.warnings:
        print_problem(warning, severity="warning")
    return config


def _mapping_mistakes(config: LoadedConfig) -> Iterator[Problem]:
    for mapping, options in _pulled(config):
        from eventmesh.mappings.advice import mistakes

        for text in mistakes(options):
            yield Problem(str(config.path), mapping.line, 1, f"{mapping.name}: {text}")


def _route_conflicts(config: LoadedConfig) -> Iterator[Problem]:
    """Routes that the HTTP server would refuse: reserved for the engine, or served twice."""
    if not any(mapping.options.served_routes for mapping in config.mappings):
        return
    from eventmesh.http.router import Router
    from eventmesh.messages import HttpResponse, HttpRoute

    async def nobody(request: object) -> HttpResponse:
        return HttpResponse(404)

    router = Router()
    for mapping in config.mappings:
        for method, path in mapping.options.served_routes:
            try:
                router.add(HttpRoute(method, path, nobody, lambda request: 0))
            except ValueError as error:
                yield Problem(str(config.path), mapping.line, 1, f"{mapping.name}: {error}")


def _mapping_traps(config: LoadedConfig) -> Iterator[Problem]:
    for mapping, options in _pulled(config):
        from eventmesh.mappings.advice import traps

        for text in traps(options, records_failures=mapping.on_failure is not None):
            yield Problem(str(config.path), mapping.line, 1, f"{mapping.name}: {text}")


def _loops(config: LoadedConfig) -> Iterator[Problem]:
    """Destinations inside a directory that triggers their own function."""
    from eventmesh.config.places import paths_of

    functions = {function.name: function.asynchronous for function in config.functions}
    for mapping in config.mappings:
        own = functions[mapping.function]
        watched = [f"{path}/" for path in paths_of(mapping.options)]
        for destination in (own.on_success, own.on_failure, own.dead_letter_queue):
            for path in paths_of(destination.options) if destination else ():
                if any(f"{path}/".startswith(place) for place in watched):
                    text = f"{mapping.name}: {path} lies inside it and triggers the function again"
                    yield Problem(str(config.path), mapping.line, 1, text)


def _pulled(config: LoadedConfig) -> Iterator[tuple[MappingConfig, PullOptions]]:
    from eventmesh.pulling import PullOptions

    for mapping in config.mappings:
        if isinstance(mapping.options, PullOptions):
            yield mapping, mapping.options


def print_problem(problem: Problem, severity: str = "error") -> None:
    """One problem, with its line and a caret, on standard error."""
    from eventmesh.config.problems import format_problem

    click.echo(format_problem(problem, severity=severity), err=True)


def fail_with_problems(problems: list[Problem]) -> NoReturn:
    """Print every problem and exit with 3."""
    for problem in problems:
        print_problem(problem)
    count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
    click.echo(f"{count} found.", err=True)
    sys.exit(ExitCode.CONFIG)


def fail(error: EventMeshError | OSError | str, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    """Print one error without a traceback and exit."""
    click.echo(f"eventmesh: {error}", err=True)
    sys.exit(code)
