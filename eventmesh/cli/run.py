"""`eventmesh run`: start the mesh in the foreground."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eventmesh.cli.exit_codes import ExitCode
from eventmesh.cli.loading import fail, fail_with_problems, file_argument, load_or_exit
from eventmesh.errors import ConfigError, EventMeshError

if TYPE_CHECKING:
    from eventmesh.app import Mesh
    from eventmesh.config.loader import LoadedConfig
    from eventmesh.observers.line_writer import LineWriter
    from eventmesh.observers.log_lines import Format, LogLines


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
    from eventmesh.observers.line_writer import LineWriter

    writer = LineWriter(sys.stdout)
    code = _run(config, writer, strict=strict, quiet=quiet, log_format=log_format)
    writer.close()
    if code is ExitCode.INTERRUPTED:
        sys.stdout.flush()
        os._exit(code)  # the state survives a kill; nothing is worth waiting for now
    sys.exit(code)


def _run(
    config: LoadedConfig,
    writer: LineWriter,
    *,
    strict: bool,
    quiet: bool,
    log_format: Format | None,
) -> ExitCode:
    from eventmesh import registry
    from eventmesh.app import Mesh
    from eventmesh.observers.log_lines import LogLines
    from eventmesh.serving import serve

    mesh = Mesh(config, registry.load_connector)
    chosen: Format = log_format or config.model.logs.format
    lines = LogLines(chosen, writer.write, now=datetime.now, secrets=config.secrets)
    lines.only_problems = quiet
    _log_to(writer, chosen)
    show = _Screen(writer, lines, machine=chosen == "json")
    try:
        ending = asyncio.run(serve(mesh, strict=strict, ready=show.ready, stopping=show.stopping))
    except ConfigError as error:
        fail_with_problems(error.problems)
    except (EventMeshError, OSError) as error:
        fail(error)
    return _CODES[ending]


_CODES = {
    "drained": ExitCode.OK,
    "drain timed out": ExitCode.DRAIN,
    "interrupted": ExitCode.INTERRUPTED,
    "source unreachable": ExitCode.SOURCE,
}


class _Screen:
    """Shows the start-up screen, and log lines from then on."""

    def __init__(self, writer: LineWriter, lines: LogLines, *, machine: bool) -> None:
        self._writer = writer
        self._lines = lines
        self._machine = machine

    def ready(self, mesh: Mesh) -> None:
        from eventmesh.cli.screen import started

        if not self._machine:
            self._writer.write(started(mesh))
        mesh.telemetry.subscribe(self._lines)

    def stopping(self, mesh: Mesh) -> None:
        seconds = mesh.config.model.drain_timeout
        running = mesh.queue.in_flight
        if not self._machine:
            self._writer.write(
                [f"stopping: {running} events running, up to {seconds:g} s; again to stop now"]
            )


class _WriterHandler(logging.Handler):
    def __init__(self, writer: LineWriter) -> None:
        super().__init__(logging.INFO)
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.write([self.format(record)])


def _log_to(writer: LineWriter, log_format: Format) -> None:
    """The engine's own log records go where its lines go."""
    from eventmesh.observers.log_records import formatter_for

    handler = _WriterHandler(writer)
    handler.setFormatter(formatter_for(log_format))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("eventmesh").setLevel(logging.INFO)
