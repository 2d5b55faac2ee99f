"""`eventmesh generate-event`: a sample event, as a handler would get it."""

from __future__ import annotations

import time

import click
import orjson


@click.command()
@click.argument("kind", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a detail.")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="List the kinds as JSON.")
def command(kind: str | None, settings: tuple[str, ...], count: int, as_json: bool) -> None:
    """Print a sample event of KIND; without KIND, list the kinds.

    \b
    Examples:
      eventmesh generate-event s3-put --set key=photos/a.jpg
      eventmesh generate-event sqs --count 10 | eventmesh invoke worker -e -
    """
    from eventmesh.cli.samples import SAMPLES, generate

    if kind is None:
        _list(dict(sorted(SAMPLES.items())), as_json=as_json)
        return
    try:
        event = generate(kind, dict(_pair(text) for text in settings), count, time.time())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(orjson.dumps(event, option=orjson.OPT_INDENT_2))


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"'{text}' is not KEY=VALUE", param_hint="--set")
    return key, value


def _list(samples: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(list(samples)))
        return
    for name, sample in samples.items():
        click.echo(f"{name:<18} {getattr(sample, 'summary', '')}")
