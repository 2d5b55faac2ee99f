"""`eventmesh validate`: every mistake at once, without starting anything but the handlers'
imports."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import orjson

from eventmesh.cli.exit_codes import ExitCode
from eventmesh.cli.loading import fail_with_problems, file_argument, load_or_exit


@click.command()
@file_argument
@click.option("--no-import", is_flag=True, help="Do not import the handlers.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def command(file: Path, no_import: bool, as_json: bool) -> None:
    """Check FILE (default mappings.yaml): keys, values, connectors, paths, and that handlers
    import.

    Exits 0 when it is fine, 3 when not. Nothing is opened, nothing is connected to.

    \b
    Examples:
      eventmesh validate
      eventmesh validate --no-import prod/mappings.yaml
    """
    config = load_or_exit(file)
    if not no_import:
        from eventmesh.oneshot import handler_problems

        problems = asyncio.run(handler_problems(config))
        if problems:
            fail_with_problems(problems)
    functions, mappings = len(config.functions), len(config.mappings)
    if as_json:
        summary = {"functions": functions, "mappings": mappings, "warnings": len(config.warnings)}
        click.echo(orjson.dumps(summary))
    else:
        click.echo(f"{file}: fine ({functions} functions, {mappings} event source mappings)")
    raise SystemExit(ExitCode.OK)
