"""The `eventmesh` command: one module a command, imported when it is called. Parse, call, print;
nothing else."""

from __future__ import annotations

import difflib
import importlib
import sys

import click

from eventmesh import __version__
from eventmesh.cli.exit_codes import ExitCode

#: command -> its module here, and what `eventmesh --help` says of it
COMMANDS = {
    "run": ("run", "Wire the triggers in a file to their handlers until stopped."),
    "validate": ("validate", "Check a mappings file and that its handlers import."),
    "invoke": ("invoke", "Invoke a function with an event and print its result."),
    "generate-event": ("generate_event", "Print a sample event, as a handler would get it."),
    "connectors": ("connectors", "List the installed connectors and their settings."),
    "schema": ("schema", "Print the JSON Schema of mappings.yaml."),
    "dlq": ("dlq", "List, show and send again events that ended in failure."),
    "explain": ("explain", "Explain what a queue or stream mapping would do with an event."),
    "checkpoint": ("checkpoint", "Show or move the positions of stream mappings."),
    "completion": ("completion", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """Imports a command's module only when it is called, and suggests the nearest name for an
    unknown one."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"eventmesh.cli.{COMMANDS[name][0]}")
        command: click.Command = module.command
        return command

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            sys.exit(ExitCode.INTERRUPTED)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            context.fail(f"No such command '{name}'.{hint} Commands: {', '.join(COMMANDS)}.")
        return super().resolve_command(context, args)


def _version(context: click.Context, option: click.Option, value: bool) -> None:
    if value:
        click.echo(f"eventmesh {__version__}")
        context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version and exit.",
)
def cli() -> None:
    """Run AWS Lambda handlers anywhere: files, schedules and HTTP drive them.

    \b
    Examples:
      eventmesh run mappings.yaml
      eventmesh invoke thumbnail -e s3-put --tail
    """


def main() -> None:
    """The console script. Exit codes are in `eventmesh.cli.exit_codes`."""
    sys.exit(cli(prog_name="eventmesh"))
