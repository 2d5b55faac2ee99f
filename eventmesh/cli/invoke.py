"""`eventmesh invoke`: run a function once, in the running engine when there is one, else here."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson
from click.shell_completion import CompletionItem

from eventmesh.cli.exit_codes import ExitCode
from eventmesh.cli.loading import fail, file_option, load_or_exit
from eventmesh.errors import EventMeshError

if TYPE_CHECKING:
    from eventmesh.api.client import Answer

_TYPES = ("RequestResponse", "Event", "DryRun")


def _function_names(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    file = Path(context.params.get("file") or "mappings.yaml")
    if not file.is_file():
        return []
    config = load_or_exit(file)
    return [CompletionItem(f.name) for f in config.functions if f.name.startswith(incomplete)]


@click.command()
@click.argument("function", shell_complete=_function_names)
@file_option
@click.option(
    "-e",
    "--event",
    "source",
    default=None,
    help="A file, - for standard input, or a sample's name.",
)
@click.option("--type", "kind", type=click.Choice(_TYPES), default=_TYPES[0], show_default=True)
@click.option(
    "--tail", is_flag=True, help="Print the end of the invocation's log on standard error."
)
@click.option("--endpoint", metavar="HOST:PORT", help="Invoke in the engine at this address.")
@click.option("--json", "as_json", is_flag=True, help="Print status, version and payload as JSON.")
def command(
    function: str,
    file: Path,
    source: str | None,
    kind: str,
    tail: bool,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Invoke FUNCTION with an event and print its result.

    Exits 5 when the handler failed. With --type Event the event is stored and the running engine
    (or the next one)
    invokes the function.

    \b
    Examples:
      eventmesh invoke thumbnail -e s3-put --tail
      echo '{"n": 1}' | eventmesh invoke hello -e -
    """
    event = _event(source)
    try:
        answer = _invoke(file, endpoint, function, event, kind)
    except EventMeshError as error:
        fail(error)
    _show(answer, tail=tail, as_json=as_json)
    if answer.status >= 400:
        from eventmesh.api.client import error_text

        fail(error_text(answer))
    sys.exit(ExitCode.HANDLER if answer.function_error else ExitCode.OK)


def _invoke(file: Path, endpoint: str | None, function: str, event: bytes, kind: str) -> Answer:
    from eventmesh.api import client

    if endpoint is not None:
        return client.invoke(endpoint, function, event, kind)
    config = load_or_exit(file)
    from eventmesh.oneshot import invoke_here
    from eventmesh.state.lock import describe_holder

    holder = describe_holder(config.state_directory)
    address = holder.get("http") if holder else None
    if address:
        return client.invoke(address, function, event, kind)
    return asyncio.run(invoke_here(config, function, event, kind))


def _event(source: str | None) -> bytes:
    """The event's bytes: `{}` by default, a file, standard input, or a sample by name."""
    if source is None:
        return b"{}"
    if source == "-":
        return sys.stdin.buffer.read()
    path = Path(source)
    if path.is_file():
        return path.read_bytes()
    import time

    from eventmesh.cli.samples import SAMPLES, generate

    if source not in SAMPLES:
        raise click.UsageError(
            f"'{source}' is neither a file nor a sample event; "
            "`eventmesh generate-event` lists the samples"
        )
    return orjson.dumps(generate(source, {}, 1, time.time()))


def _show(answer: Answer, *, tail: bool, as_json: bool) -> None:
    if tail and answer.log_tail:
        click.echo(answer.log_tail.rstrip("\n"), err=True)
    if as_json:
        payload = answer.payload.decode(errors="replace")
        fields = {
            "StatusCode": answer.status,
            "FunctionError": answer.function_error,
            "ExecutedVersion": answer.executed_version,
            "RequestId": answer.request_id,
            "Payload": payload,
        }
        click.echo(orjson.dumps({k: v for k, v in fields.items() if v is not None}))
    elif answer.status == 200:
        click.echo(answer.payload)
    elif answer.status == 202:
        click.echo(f"accepted as {answer.request_id}")
    elif answer.status == 204:
        click.echo("the function can be invoked")
