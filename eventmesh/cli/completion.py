"""`eventmesh completion`: print the script that teaches a shell to complete our commands; and what
the commands' arguments complete to."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from eventmesh.cli.loading import DEFAULT_FILE, load
from eventmesh.errors import ConfigError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Examples:
      eval "$(eventmesh completion bash)"
      eventmesh completion fish > ~/.config/fish/completions/eventmesh.fish
    """
    from eventmesh.cli import cli

    script = get_completion_class(shell)
    assert script is not None, "click knows the shells of the choice above"
    click.echo(script(cli, {}, "eventmesh", "_EVENTMESH_COMPLETE").source())


def complete_function(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Functions of the mappings file; none, silently, when it cannot be used."""
    try:
        config = load(Path(context.params.get("file") or DEFAULT_FILE))
    except ConfigError:
        return []
    functions = [f for f in config.functions if f.name.startswith(incomplete)]
    return [CompletionItem(f.name, help=f.handler) for f in functions]


def complete_connector(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Installed connectors."""
    from eventmesh import registry

    return [CompletionItem(name) for name in registry.installed() if name.startswith(incomplete)]


def complete_kind(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Kinds of sample events, without those that only connectors know."""
    from eventmesh.cli.samples import SAMPLES

    found = [(name, sample) for name, sample in SAMPLES.items() if name.startswith(incomplete)]
    return [CompletionItem(name, help=sample.summary) for name, sample in found]
