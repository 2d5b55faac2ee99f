"""`eventmesh completion`: print the script that teaches a shell to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


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
