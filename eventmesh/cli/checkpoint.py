"""`eventmesh checkpoint`: where each shard of a stream mapping stands, and moving it by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from eventmesh.cli.loading import fail, file_option, load_or_exit
from eventmesh.cli.stores import with_store
from eventmesh.errors import EventMeshError

if TYPE_CHECKING:
    from eventmesh.state.contract import Checkpoint, Store

#: long enough for one write; an engine that holds the shard keeps us out
LEASE_SECONDS = 30.0
OWNER = "checkpoint command"


@click.group()
def command() -> None:
    """Positions of stream mappings that eventmesh keeps itself (Kafka's are in its consumer group).

    \b
    Examples:
      eventmesh checkpoint show
      eventmesh checkpoint reset clicks/kinesis:clickstream
    """


@command.command("show")
@click.argument("mapping", required=False)
@file_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def show(mapping: str | None, file: Path, as_json: bool) -> None:
    """Show the shards of MAPPING, or of all mappings, and where each one stands."""
    config = load_or_exit(file)
    names = [mapping] if mapping else [m.name for m in config.mappings]
    rows = with_store(config, lambda store: _load(store, names)) or []
    for name, checkpoint in rows:
        click.echo(_as_json(name, checkpoint) if as_json else _line(name, checkpoint))
    if not rows and not as_json:
        click.echo("no checkpoints")


@command.command("set")
@click.argument("mapping")
@click.argument("shard")
@click.argument("position")
@file_option
def set_position(mapping: str, shard: str, position: str, file: Path) -> None:
    """Go on after POSITION (a record's) in SHARD of MAPPING. The engine must not hold the shard."""
    moved = with_store(load_or_exit(file), lambda store: _move(store, mapping, [shard], position))
    if moved is None:
        fail("there is no state yet; run the mesh once")
    click.echo(f"{mapping} {shard} goes on after {position}")


@command.command("reset")
@click.argument("mapping")
@click.option("--shard", "shards", multiple=True, help="Only this shard; may be repeated.")
@file_option
def reset(mapping: str, shards: tuple[str, ...], file: Path) -> None:
    """Forget the positions of MAPPING: its starting position applies again."""
    count = with_store(load_or_exit(file), lambda store: _reset(store, mapping, shards))
    if count is None:
        fail("there is no state yet; nothing to reset")
    click.echo(f"{count} shards of {mapping} start anew")


async def _load(store: Store, names: list[str]) -> list[tuple[str, Checkpoint]]:
    return [(name, row) for name in names for row in await store.checkpoints.load(name)]


async def _reset(store: Store, mapping: str, shards: tuple[str, ...]) -> int:
    known = [row.shard for row in await store.checkpoints.load(mapping)]
    unknown = set(shards) - set(known)
    if unknown or not known:
        listed = ", ".join(known) or "none"
        raise EventMeshError(f"{mapping} has no such checkpoint; its shards: {listed}")
    await _move(store, mapping, list(shards) or known, "")
    return len(shards) or len(known)


async def _move(store: Store, mapping: str, shards: list[str], position: str) -> int:
    from eventmesh.state.contract import Durability

    for shard in shards:
        lease = await store.checkpoints.acquire(mapping, shard, OWNER, LEASE_SECONDS)
        if lease is None:
            raise EventMeshError(
                f"a running engine holds {shard} of {mapping}; stop it first "
                "(after a kill its claim ends by itself within a minute)"
            )
        moved = replace(lease, position=position, state="", finished=False)
        saved = await store.checkpoints.save(moved, [], Durability.SYNCED)
        await store.checkpoints.renew(moved, 0)
        if not saved:
            raise EventMeshError(f"{shard} of {mapping} was taken by an engine meanwhile")
    return len(shards)


def _line(name: str, row: Checkpoint) -> str:
    saved = datetime.fromtimestamp(row.saved_at).strftime("%Y-%m-%d %H:%M:%S")
    where = "finished" if row.finished else row.position or "at its starting position"
    return f"{name}  {row.shard}  {where}  {saved}  epoch {row.epoch}"


def _as_json(name: str, row: Checkpoint) -> bytes:
    fields: dict[str, Any] = {
        "mapping": name,
        "shard": row.shard,
        "position": row.position,
        "finished": row.finished,
        "epoch": row.epoch,
        "saved_at": row.saved_at,
    }
    return orjson.dumps(fields)
