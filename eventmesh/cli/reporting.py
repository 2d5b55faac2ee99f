"""What `eventmesh run` shows: the start-up screen, lines for what happens, log files."""

from __future__ import annotations

import logging
import shlex
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import orjson

from eventmesh import __version__
from eventmesh.observers.line_writer import LineWriter
from eventmesh.observers.log_files import LogFiles
from eventmesh.observers.log_lines import Format, LogLines
from eventmesh.observers.log_records import formatter_for
from eventmesh.observers.secrets import Mask, mask_for

if TYPE_CHECKING:
    from eventmesh.app import Mesh
    from eventmesh.config.loader import LoadedConfig


class Reporter:
    """`attach` it to a mesh before it starts; `ready` and `stopping` are for `serving.serve`."""

    def __init__(
        self,
        writer: LineWriter,
        lines: LogLines,
        files: LogFiles | None,
        mask: Mask,
        *,
        machine: bool,
    ) -> None:
        self.mask = mask
        self._writer = writer
        self._lines = lines
        self._files = files
        self._machine = machine

    def attach(self, mesh: Mesh) -> None:
        """For machines every event counts; people get the screen first, then what follows it."""
        if self._files is not None:
            mesh.telemetry.subscribe(self._files)
        if self._machine:
            mesh.telemetry.subscribe(self._lines)

    def ready(self, mesh: Mesh) -> None:
        if self._machine:
            self._note("Started", **_facts(mesh))
            return
        from eventmesh.cli.screen import started

        self._writer.write(started(mesh, self.mask))
        mesh.telemetry.subscribe(self._lines)

    def stopping(self, mesh: Mesh) -> None:
        seconds, running = mesh.config.model.drain_timeout, mesh.queue.in_flight
        if self._machine:
            self._note("Stopping", running=running, drain_timeout=seconds)
        else:
            text = f"stopping: {running} events running, up to {seconds:g} s; again to stop now"
            self._writer.write([text])

    def close(self) -> None:
        """Write what is waiting. Waits for the disk and the terminal, but not for ever."""
        if self._files is not None:
            self._files.close()
        self._writer.close()

    def _note(self, event: str, **facts: object) -> None:
        stamp = datetime.now().astimezone().isoformat(timespec="milliseconds")
        self._writer.write([orjson.dumps({"time": stamp, "event": event, **facts}).decode()])


def open_reporter(config: LoadedConfig, log_format: Format, *, quiet: bool) -> Reporter:
    """Everything to standard output, handlers' text also to `logs.directory`. Raises OSError when
    that directory cannot be used."""
    mask = mask_for(config.secrets)
    files = None if config.log_directory is None else LogFiles(config.log_directory, mask)
    writer = LineWriter(sys.stdout)
    lines = LogLines(
        log_format,
        writer.write,
        now=datetime.now,
        secrets=config.secrets,
        only_problems=quiet,
        file_option=f" -f {shlex.quote(str(config.path))}",
    )
    handler = _WriterHandler(writer)
    handler.setFormatter(formatter_for(log_format, mask))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("eventmesh").setLevel(logging.INFO)
    return Reporter(writer, lines, files, mask, machine=log_format == "json")


class _WriterHandler(logging.Handler):
    """The engine's own log records go where its lines go."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__(logging.INFO)
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.write([self.format(record)])


def _facts(mesh: Mesh) -> dict[str, object]:
    return {
        "version": __version__,
        "config": str(mesh.config.path),
        "state": str(mesh.config.state_directory),
        "http": mesh.address,
        "functions": len(mesh.config.functions),
        "mappings": len(mesh.mappings),
    }
