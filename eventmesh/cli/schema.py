"""`eventmesh schema`: the JSON Schema of mappings.yaml, for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eventmesh.errors import ConnectorError

if TYPE_CHECKING:
    from eventmesh.connectors import Connector


@click.command()
def command() -> None:
    """Print the JSON Schema of mappings.yaml with every installed connector's options.

    Editors that know YAML's language server use it when the first line of mappings.yaml is
    `# yaml-language-server: $schema=.eventmesh/schema.json`.

    \b
    Examples:
      eventmesh schema > .eventmesh/schema.json
      eventmesh schema | jq '."$defs" | keys'
    """
    import orjson

    from eventmesh.config.schema import json_schema

    click.echo(orjson.dumps(json_schema(_usable_connectors()), option=orjson.OPT_INDENT_2))


def _usable_connectors() -> dict[str, Connector]:
    """Every installed connector whose client library is there; the others are named on stderr."""
    from eventmesh import registry

    usable = {}
    for name in registry.installed():
        try:
            usable[name] = registry.load_connector(name)
        except (ConnectorError, ImportError) as error:
            click.echo(f"left out: {error}", err=True)
    return usable
