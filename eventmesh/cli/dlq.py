"""`eventmesh dlq`: events that ended in failure: list them, look at one, send them again."""

from __future__ import annotations

import base64
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventmesh.cli.completion import complete_function
from eventmesh.cli.loading import fail, file_option, load_or_exit
from eventmesh.cli.stores import with_store
from eventmesh.errors import EventMeshError

if TYPE_CHECKING:
    from eventmesh.state.contract import DeadLetter, Store

T = TypeVar("T")


@click.group()
def command() -> None:
    """Events whose retries ended in failure. They are kept for 14 days.

    \b
    Examples:
      eventmesh dlq list
      eventmesh dlq redrive --function thumbnail
    """


@command.command("list")
@file_option
@click.option("--function", shell_complete=complete_function, help="Only this function's.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_letters(file: Path, function: str | None, limit: int, as_json: bool) -> None:
    """List dead letters, newest first.

    \b
    Examples:
      eventmesh dlq list --function thumbnail
      eventmesh dlq list --json | jq -r .request_id
    """
    config = load_or_exit(file)
    letters = with_store(config, lambda store: store.dead_letters.list(function, limit)) or []
    for letter in letters:
        _print_json(letter) if as_json else click.echo(_line(letter))
    if not letters and not as_json:
        click.echo("no dead letters")


@command.command("show")
@click.argument("request_id")
@file_option
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def show_letter(request_id: str, file: Path, as_json: bool) -> None:
    """Show one dead letter with its event; the first characters of its REQUEST_ID will do.

    \b
    Examples:
      eventmesh dlq show 7f3a91c2
      eventmesh dlq show 7f3a91c2 --json | jq -r .event | eventmesh invoke thumbnail -e -
    """
    config = load_or_exit(file)
    letter = with_store(config, lambda store: store.dead_letters.get(request_id))
    if letter is None:
        fail(f"no dead letter '{request_id}'; `eventmesh dlq list` shows them")
    if as_json:
        _print_json(letter)
        return
    for name, value in _fields(letter).items():
        if value not in (None, ""):
            click.echo(f"{name:<14} {_time(value) if name.endswith('_at') else _safe(str(value))}")


@command.command("redrive")
@click.argument("request_ids", nargs=-1)
@file_option
@click.option(
    "--function",
    shell_complete=complete_function,
    help="All of this function's that were not sent again yet.",
)
def redrive(request_ids: tuple[str, ...], file: Path, function: str | None) -> None:
    """Queue dead letters again, by REQUEST_IDS or by --function.

    A running engine attempts them at once, else the next one does.

    \b
    Examples:
      eventmesh dlq redrive 7f3a91c2 80bb0d11
      eventmesh dlq redrive --function thumbnail
    """
    if not request_ids and not function:
        raise click.UsageError("name the request ids, or --function NAME")
    config = load_or_exit(file)
    count = with_store(config, lambda store: _redrive(store, request_ids, function))
    if count is None and request_ids:
        fail(f"no dead letter '{request_ids[0]}'; nothing was queued")
    from eventmesh.state.lock import describe_holder

    running = count and describe_holder(config.state_directory) is not None
    when = "" if running or not count else "; the next `eventmesh run` attempts them"
    click.echo(f"{count or 0} queued again{when}")


async def _redrive(store: Store, request_ids: tuple[str, ...], function: str | None) -> int:
    from eventmesh.clock import SystemClock

    letters: list[DeadLetter] = []
    for request_id in request_ids:
        letter = await store.dead_letters.get(request_id)
        if letter is None:
            raise EventMeshError(f"no dead letter '{request_id}'; nothing was queued")
        letters.append(letter)
    if function:
        listed = await store.dead_letters.list(function, 100_000)
        letters += [letter for letter in listed if letter.redriven_at is None]
    await store.dead_letters.redrive(letters, SystemClock().now())
    return len(letters)


def _print_json(letter: DeadLetter) -> None:
    import orjson

    click.echo(orjson.dumps(_fields(letter)))


def _line(letter: DeadLetter) -> str:
    again = "  (sent again)" if letter.redriven_at else ""
    error = _safe(_error(letter)[:80].replace("\n", " "))
    return (
        f"{letter.request_id}  {_time(letter.failed_at)}  {letter.function:<14} "
        f"{letter.condition}  {error}{again}".rstrip()
    )


def _error(letter: DeadLetter) -> str:
    """An event that was never attempted failed of nothing but its condition."""
    if letter.error_message:
        return f"{letter.error_type}: {letter.error_message}"
    return "" if letter.error_type == letter.condition else letter.error_type


def _time(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds).strftime("%Y-%m-%d %H:%M:%S")


def _safe(text: str) -> str:
    """Text from handlers and senders, harmless on a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def _fields(letter: DeadLetter) -> dict[str, Any]:
    try:
        event = letter.payload.decode()
    except UnicodeDecodeError:
        event = "base64:" + base64.b64encode(letter.payload).decode()
    return {
        "request_id": letter.request_id,
        "function": letter.function,
        "qualifier": letter.qualifier,
        "source": letter.source,
        "accepted_at": letter.accepted_at,
        "failed_at": letter.failed_at,
        "condition": letter.condition,
        "attempts": letter.attempts,
        "error_type": letter.error_type,
        "error_message": letter.error_message,
        "sent_to": letter.sent_to,
        "redriven_at": letter.redriven_at,
        "event": event,
    }
