"""`eventmesh connectors`: what is installed, and each connector's settings, printed from its
options models."""

from __future__ import annotations

import textwrap
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click

from eventmesh.cli.completion import complete_connector
from eventmesh.cli.loading import fail
from eventmesh.errors import EventMeshError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from eventmesh.connectors import Connector, Options

WIDTH = 100
#: a longer type stands on a line of its own
_WIDEST_TYPE = 26
_UNITS = {"seconds, or": "duration", "bytes, or": "size", "megabytes, or": "size"}
_NAMES = {
    "str": "text",
    "int": "number",
    "float": "number",
    "bool": "true or false",
    "Path": "path",
    "SecretStr": "secret text",
    "datetime": "date and time",
    "Any": "any",
}


@click.command()
@click.argument("name", required=False, shell_complete=complete_connector)
@click.option("--json", "as_json", is_flag=True, help="As JSON; of one connector its JSON Schema.")
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
    rows = [(name, *_described(name), distribution) for name, distribution in installed.items()]
    if as_json:
        import orjson

        keys = ("name", "roles", "summary", "distribution")
        click.echo(orjson.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
        return
    widths = [max((len(str(row[i])) for row in rows), default=0) + 2 for i in (0, 1)]
    for name, roles, summary, distribution in rows:
        origin = "" if distribution == "eventmesh" else f"  ({distribution})"
        click.echo(f"{name:<{widths[0]}}{roles:<{widths[1]}}{summary}{origin}")
    if rows:
        click.echo("\n`eventmesh connectors NAME` shows the settings of one.")


def _described(name: str) -> tuple[str, str]:
    """Roles and summary of an installed connector; the reason when it cannot be used."""
    from eventmesh import registry

    try:
        connector = registry.load_connector(name)
    except (EventMeshError, ImportError) as error:
        return "unusable", str(error)
    roles = [role for role, options in _offered(connector).items() if options is not None]
    return ", ".join(roles), connector.summary


def _offered(connector: Connector) -> dict[str, type[Options] | None]:
    return {"source": connector.source_options, "destination": connector.destination_options}


def _show(name: str, connector: Connector, *, as_json: bool) -> None:
    offered = {role: options for role, options in _offered(connector).items() if options}
    if as_json:
        import orjson

        schemas = {role: options.model_json_schema() for role, options in offered.items()}
        click.echo(orjson.dumps({"name": name, "summary": connector.summary, **schemas}))
        return
    click.echo(f"{name}: {connector.summary}")
    for role, options in offered.items():
        click.echo(f"\nas a {role}{_short_form(name, options)}")
        for line in describe_settings(options):
            click.echo(f"  {line}")


def _short_form(name: str, options: type[Options]) -> str:
    return f"   (short: `{name}: {options.short_form.upper()}`)" if options.short_form else ""


def describe_settings(options: type[Options], width: int = WIDTH - 2) -> list[str]:
    """One setting a line: name, type, default, and what it is for; wrapped and aligned."""
    fields = options.model_fields.items()
    rows = [(name, _field_type(field), _described_field(field)) for name, field in fields]
    columns = [max((len(row[i]) for row in rows), default=0) + 2 for i in (0, 1)]
    margin = columns[0] + min(columns[1], _WIDEST_TYPE)
    lines: list[str] = []
    for name, kind, text in rows:
        begin = f"{name:<{columns[0]}}{kind}"
        if len(begin) > margin - 2:
            lines.append(begin)
            begin = ""
        wrapped = textwrap.wrap(text, width - margin, break_long_words=False)
        starts = [begin, *[""] * len(wrapped)]
        lines += [f"{s:<{margin}}{t}" for s, t in zip(starts, wrapped, strict=False)]
    return lines


def _described_field(field: FieldInfo) -> str:
    if field.is_required():
        return f"{field.description or ''} (required)"
    default = _shown(field.get_default(call_default_factory=True))
    return f"{field.description or ''}{default}"


def _shown(value: Any) -> str:
    if value is None or value in ("", (), [], {}):
        return ""
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, (tuple, list)):
        value = ", ".join(map(str, value))
    if isinstance(value, float):
        value = f"{value:g}"
    return f" (default {value})"


def _field_type(field: FieldInfo) -> str:
    return _of_unit(field.metadata) or _type(field.annotation)


def _type(annotation: Any) -> str:
    """A field's type in words: `text`, `duration`, `true or false`, `list of text`, `a | b`."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, inside))
    if origin is typing.Annotated:
        return _of_unit(annotation.__metadata__) or _type(inside[0])
    if origin in (typing.Union, types.UnionType):
        kinds = [_type(each) for each in inside if each is not type(None)]
        return " or ".join(dict.fromkeys(kinds))
    if origin in (tuple, list, set, frozenset):
        return f"list of {_type(inside[0])}" if inside else "list"
    return _NAMES.get(getattr(annotation, "__name__", ""), "map")


def _of_unit(metadata: Iterable[Any]) -> str:
    """`duration` or `size` for numbers written with a unit, which carry their own JSON Schema."""
    texts = [str(getattr(each, "json_schema", "")) for each in metadata]
    return next((unit for text in texts for mark, unit in _UNITS.items() if mark in text), "")
