"""`eventmesh run`: start the mesh in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eventmesh.cli.exit_codes import ExitCode
from eventmesh.cli.loading import fail, fail_with_problems, file_argument, load_or_exit
from eventmesh.errors import ConfigError, EventMeshError

if TYPE_CHECKING:
    from eventmesh.app import Mesh
    from eventmesh.cli.reporting import Reporter
    from eventmesh.config.loader import LoadedConfig
    from eventmesh.observers.log_lines import Format


@click.command()
@file_argument
@click.option(
    "--strict", is_flag=True, help="Exit with 4 when a source cannot be reached at start."
)
@click.option("-q", "--quiet", is_flag=True, help="Print no line per invocation, only problems.")
@click.option(
    "--log-format",
    type=click.Choice(["human", "json", "lambda"]),
    help="Lines for people, JSON, or Lambda's own START/END/REPORT. Default: as the file says.",
)
def command(file: Path, strict: bool, quiet: bool, log_format: Format | None) -> None:
    """Wire the triggers in FILE (default mappings.yaml) to their handlers until stopped.

    SIGTERM or Ctrl-C stops taking in work, lets running work end, and exits 0. A second one stops
    at once.

    \b
    Examples:
      eventmesh run
      eventmesh run --log-format json prod/mappings.yaml
    """
    config = load_or_exit(file)
    from eventmesh.cli.reporting import open_reporter

    try:
        reporter = open_reporter(config, log_format or config.model.logs.format, quiet=quiet)
    except OSError as error:
        fail(f"cannot write log files: {error}")
    try:
        code = _run(config, reporter, strict=strict)
    finally:
        reporter.close()
    if code is ExitCode.INTERRUPTED:
        sys.stdout.flush()
        os._exit(code)  # the state survives a kill; nothing is worth waiting for now
    sys.exit(code)


def _run(config: LoadedConfig, reporter: Reporter, *, strict: bool) -> ExitCode:
    import asyncio

    from eventmesh import registry
    from eventmesh.app import Mesh
    from eventmesh.cli.listening import explain_refusal
    from eventmesh.serving import serve

    codes = {
        "drained": ExitCode.OK,
        "drain timed out": ExitCode.DRAIN,
        "interrupted": ExitCode.INTERRUPTED,
        "source unreachable": ExitCode.SOURCE,
    }
    mesh = Mesh(config, registry.load_connector)
    reporter.attach(mesh)
    try:
        serving = serve(mesh, strict=strict, ready=reporter.ready, stopping=reporter.stopping)
        ending = asyncio.run(serving)
    except ConfigError as error:
        fail_with_problems(error.problems)
    except EventMeshError as error:
        fail(error)
    except OSError as error:
        fail(explain_refusal(error, config.model.server.http) or error)
    if ending == "source unreachable":
        _print_troubles(mesh, reporter)
    return codes[ending]


def _print_troubles(mesh: Mesh, reporter: Reporter) -> None:
    from eventmesh.mappings.mapping import MappingState

    for mapping in mesh.mappings:
        if mapping.state not in (MappingState.ENABLED, MappingState.DISABLED):
            reason = mapping.detail or "not ready in time"
            click.echo(reporter.mask(f"eventmesh: {mapping.name}: {reason}"), err=True)
