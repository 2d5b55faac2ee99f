"""`eventmesh invoke`: run a function once, in the running engine when there is one, else here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eventmesh.cli.completion import complete_function
from eventmesh.cli.exit_codes import ExitCode
from eventmesh.cli.loading import fail, file_option, load_or_exit
from eventmesh.errors import EventMeshError, ResourceNotFound

if TYPE_CHECKING:
    from eventmesh.api.client import Answer
    from eventmesh.config.loader import LoadedConfig

_TYPES = ("RequestResponse", "Event", "DryRun")


@click.command()
@click.argument("function", shell_complete=complete_function)
@file_option
@click.option(
    "-e",
    "--event",
    "source",
    default=None,
    help="A file, - for standard input, or a sample's name. Default: an empty object.",
)
@click.option(
    "--type",
    "kind",
    type=click.Choice(_TYPES),
    default=_TYPES[0],
    show_default=True,
    help="Wait for the result, store the event, or only check that the function exists.",
)
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

    Runs it in the engine that runs on FILE's state, and in this process when there is none. Exits
    5 when the handler failed. With --type Event the event is stored, and the running engine (or
    the next one) invokes the function.

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
    sys.exit(ExitCode.HANDLER if answer.function_error else ExitCode.OK)


def _invoke(file: Path, endpoint: str | None, function: str, event: bytes, kind: str) -> Answer:
    from eventmesh.api import client

    if endpoint is not None:
        return _checked(client.invoke(_address(endpoint), function, event, kind))
    config = load_or_exit(file)
    from eventmesh.state.lock import describe_holder

    holder = describe_holder(config.state_directory)
    address = holder.get("http") if holder else None
    if address:
        return _checked(client.invoke(address, function, event, kind), config, function)
    import asyncio

    from eventmesh.oneshot import invoke_here

    try:
        return asyncio.run(invoke_here(config, function, event, kind))
    except ResourceNotFound as error:
        fail(f"{error}{_known_functions(config, function)}")


def _address(endpoint: str) -> str:
    """`host:port` of what was given, which may be a URL."""
    address = endpoint.removeprefix("http://").rstrip("/")
    host, separator, port = address.rpartition(":")
    if not (host and separator and port.isascii() and port.isdigit() and int(port) < 65536):
        raise click.BadParameter(f"'{endpoint}' is not HOST:PORT", param_hint="--endpoint")
    return address


def _checked(answer: Answer, config: LoadedConfig | None = None, name: str = "") -> Answer:
    """The answer, unless the API refused the call: then this is the end."""
    if answer.status < 400:
        return answer
    from eventmesh.api.client import error_text

    hint = _known_functions(config, name) if config is not None and answer.status == 404 else ""
    fail(f"{error_text(answer)}{hint}")


def _known_functions(config: LoadedConfig, name: str) -> str:
    from eventmesh.config.hints import did_you_mean

    names = [function.name for function in config.functions]
    return f"\n  hint: {did_you_mean(name, names, 'functions')}"


def _event(source: str | None) -> bytes:
    """The event's bytes: `{}` by default, a file, standard input, or a sample by name."""
    if source is None:
        return b"{}"
    if source == "-":
        return sys.stdin.buffer.read()
    path = Path(source)
    if path.is_file():
        return path.read_bytes()
    import orjson

    from eventmesh.cli.generate_event import UnknownKind, make_event

    try:
        return orjson.dumps(make_event(source, {}, 1))
    except UnknownKind as error:
        raise click.UsageError(
            f"'{source}' is neither a file nor a sample event{error.suggestion}; "
            "`eventmesh generate-event` lists the samples"
        ) from None


def _show(answer: Answer, *, tail: bool, as_json: bool) -> None:
    if tail and answer.log_tail:
        click.echo(answer.log_tail.rstrip("\n"), err=True)
    if as_json:
        import orjson

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
