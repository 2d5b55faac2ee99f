"""`eventmesh validate`: every mistake at once, without starting anything but the handlers'
imports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eventmesh.cli.exit_codes import ExitCode
from eventmesh.cli.loading import fail_with_problems, file_argument, load, print_problem
from eventmesh.errors import ConfigError, Problem

if TYPE_CHECKING:
    from eventmesh.config.loader import LoadedConfig


@click.command()
@file_argument
@click.option("--no-import", is_flag=True, help="Do not import the handlers.")
@click.option(
    "--import-timeout",
    metavar="SECONDS",
    type=click.FloatRange(0.05, 900),
    default=10.0,
    show_default=True,
    help="Longest time one handler may take to be imported.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as one JSON object.")
def command(file: Path, no_import: bool, import_timeout: float, as_json: bool) -> None:
    """Check FILE (default mappings.yaml): keys, values, connectors, paths, handlers.

    Exits 0 when it is fine, 3 when not. Nothing is opened, nothing is connected to; handlers are
    imported in processes of their own.

    \b
    Examples:
      eventmesh validate
      eventmesh validate --no-import prod/mappings.yaml
    """
    config, problems = _check(file, None if no_import else import_timeout)
    if as_json:
        _print_json(file, config, problems)
        raise SystemExit(ExitCode.CONFIG if problems else ExitCode.OK)
    if config is not None:
        for warning in config.warnings:
            print_problem(warning, severity="warning")
    if problems or config is None:
        fail_with_problems(problems)
    counts = _count(len(config.functions), "function"), _count(len(config.mappings), "mapping")
    click.echo(f"{file}: fine ({', '.join(counts)})")


def _check(file: Path, import_timeout: float | None) -> tuple[LoadedConfig | None, list[Problem]]:
    """The configuration, None when it is invalid, and all problems; None skips the imports."""
    try:
        config = load(file)
    except ConfigError as error:
        return None, error.problems
    if import_timeout is None:
        return config, []
    import asyncio

    from eventmesh.oneshot import handler_problems

    problems = asyncio.run(handler_problems(config, import_timeout))
    return config, sorted(_as_written(file, problems))


def _as_written(file: Path, problems: list[Problem]) -> list[Problem]:
    """The problems under the file's name as given, each with its line."""
    if not problems:
        return []
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [
        replace(problem, file=str(file), source_line=lines[problem.line - 1])
        for problem in problems
    ]


def _print_json(file: Path, config: LoadedConfig | None, problems: list[Problem]) -> None:
    import orjson

    warnings = () if config is None else config.warnings
    found = {
        "file": str(file),
        "valid": not problems,
        "functions": None if config is None else len(config.functions),
        "mappings": None if config is None else len(config.mappings),
        "problems": [
            *(_fields(problem, "error") for problem in problems),
            *(_fields(warning, "warning") for warning in warnings),
        ],
    }
    click.echo(orjson.dumps(found))


def _fields(problem: Problem, severity: str) -> dict[str, str | int]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "severity": severity,
        "message": problem.message,
        "hint": problem.hint,
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
