"""`eventmesh generate-event`: a sample event, as a handler would get it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from eventmesh.cli.completion import complete_kind
from eventmesh.errors import ConnectorError

if TYPE_CHECKING:
    from eventmesh.cli.samples_scene import Setting


class UnknownKind(Exception):
    """Neither we nor an installed connector have a sample of this kind."""

    def __init__(self, kind: str, known: list[str]) -> None:
        from eventmesh.config.hints import nearest

        near = nearest(kind, known)
        self.suggestion = f"; did you mean '{near}'?" if near else ""
        super().__init__(f"no sample event '{kind}'{self.suggestion or '.'}")


@click.command()
@click.argument("kind", required=False, shell_complete=complete_kind)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a detail; repeatable."
)
@click.option(
    "--count",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Records in the event.",
)
@click.option("--json", "as_json", is_flag=True, help="List the kinds and settings as JSON.")
def command(kind: str | None, settings: tuple[str, ...], count: int, as_json: bool) -> None:
    """Print a sample event of KIND; without KIND, list the kinds.

    \b
    Examples:
      eventmesh generate-event s3-put --set key=photos/a.jpg
      eventmesh generate-event sqs --count 10 | eventmesh invoke worker -e -
    """
    import orjson

    if kind is None:
        _list(as_json=as_json)
        return
    try:
        event = make_event(kind, dict(_pair(text) for text in settings), count)
    except UnknownKind as error:
        hint = "`eventmesh generate-event` lists the kinds"
        raise click.UsageError(f"{error} {hint}") from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(orjson.dumps(event, option=orjson.OPT_INDENT_2))


def make_event(kind: str, settings: Mapping[str, str], count: int) -> Any:
    """A sample event of `kind` as of now, JSON-able: ours, else an installed connector's.

    Raises UnknownKind, and ValueError, fit for users, for a setting or count it does not take.
    """
    from eventmesh.cli.samples import SAMPLES, generate

    if kind in SAMPLES:
        return generate(kind, settings, count, time.time())
    offered = _offered_by_connectors()
    if kind not in offered:
        raise UnknownKind(kind, [*SAMPLES, *offered])
    if settings or count != 1:
        raise ValueError(f"the sample '{kind}' of connector '{offered[kind][0]}' is fixed")
    return offered[kind][1]


def _offered_by_connectors() -> dict[str, tuple[str, Any]]:
    """Kinds that only connectors know -> the connector and the event. Imports all connectors whose
    client library is there."""
    from eventmesh import registry
    from eventmesh.cli.samples import SAMPLES

    found: dict[str, tuple[str, Any]] = {}
    for name in registry.installed():
        try:
            samples = registry.load_connector(name).sample_events
        except (ConnectorError, ImportError):
            continue
        for kind, event in samples.items():
            if kind not in SAMPLES:
                found.setdefault(kind, (name, event))
    return found


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"'{text}' is not KEY=VALUE", param_hint="--set")
    return key, value


def _list(*, as_json: bool) -> None:
    kinds = {**_ours(), **_theirs()}
    if as_json:
        import orjson

        rows = [
            {"kind": kind, "summary": summary, "settings": settings}
            for kind, (summary, settings) in kinds.items()
        ]
        click.echo(orjson.dumps(rows))
        return
    width = max(map(len, kinds)) + 2
    for kind, (summary, _) in kinds.items():
        click.echo(f"{kind:<{width}}{summary}")


def _ours() -> dict[str, tuple[str, dict[str, Setting]]]:
    from eventmesh.cli.samples import SAMPLES

    return {kind: (sample.summary, dict(sample.settings)) for kind, sample in SAMPLES.items()}


def _theirs() -> dict[str, tuple[str, dict[str, Setting]]]:
    offered = _offered_by_connectors()
    return {kind: (f"a sample of connector '{name}'", {}) for kind, (name, _) in offered.items()}
