"""`eventmesh connectors`: what is installed, and each connector's settings, printed from its
options models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from eventmesh.cli.loading import fail
from eventmesh.errors import EventMeshError

if TYPE_CHECKING:
    from eventmesh.connectors import Connector, Options


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the installed connectors, or the settings of connector NAME.

    \b
    Examples:
      eventmesh connectors
      eventmesh connectors s3
    """
    from eventmesh import registry

    try:
        if name is None:
            _list(registry.installed(), as_json=as_json)
        else:
            _show(name, registry.load_connector(name, Path.cwd()), as_json=as_json)
    except EventMeshError as error:
        fail(error)


def _list(installed: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(installed))
        return
    for name, distribution in sorted(installed.items()):
        click.echo(f"{name:<14} {distribution}")


def _show(name: str, connector: Connector, *, as_json: bool) -> None:
    roles = {"source": connector.source_options, "destination": connector.destination_options}
    offered = {role: options for role, options in roles.items() if options is not None}
    if as_json:
        schemas = {role: options.model_json_schema() for role, options in offered.items()}
        click.echo(orjson.dumps({"name": name, "summary": connector.summary, **schemas}))
        return
    click.echo(f"{name}: {connector.summary}")
    for role, options in offered.items():
        click.echo(f"\nas a {role}" + _short_form(name, options))
        for line in _settings(options):
            click.echo(f"  {line}")


def _short_form(name: str, options: type[Options]) -> str:
    return f"   (short: `{name}: {options.short_form.upper()}`)" if options.short_form else ""


def _settings(options: type[Options]) -> list[str]:
    lines = []
    for name, field in options.model_fields.items():
        default = (
            "required"
            if field.is_required()
            else f"default {_shown(field.get_default(call_default_factory=True))}"
        )
        lines.append(f"{name:<22} {field.description or ''} ({default})")
    return lines


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
