"""`python -m tests.crash.mutant NAME -- run FILE`: the command with one bug planted, which the
harness must find."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from eventmesh.invocation.asynchronous import AsyncQueue
from eventmesh.mappings import claims, stream_poller
from eventmesh.mappings.attempts import BatchAttempts
from eventmesh.mappings.host import PollerHost
from eventmesh.mappings.queue_poller import QueuePoller
from eventmesh.mappings.shard_poller import ShardPoller
from eventmesh.records import Outcome
from eventmesh.state import checkpoint_rows, opening
from eventmesh.state.contract import Durability, Finished


def plant(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a method by what `make` returns for the original."""
    setattr(owner, name, make(getattr(owner, name)))


def checkpoint_before_handler() -> None:
    """A stream's position moves before its batch is handled."""

    def handle(original: Any) -> Any:
        async def early(self: Any, lane: Any, batch: Any) -> None:
            self._progress.finish(lane.number, len(batch.records))
            await self.save()
            await original(self, lane, batch)

        return early

    def finish(original: Any) -> Any:
        async def late(
            self: Any, lane: Any, attempts: Any, before: int, deliveries: Any = (), **_: Any
        ) -> None:
            self._has_room.set()
            await self.save(deliveries)

        return late

    plant(ShardPoller, "handle", handle)
    plant(ShardPoller, "_finish", finish)


def skip_on_error() -> None:
    """A stream's batch counts as handled though its handler failed."""

    def failed(original: Any) -> Any:
        def forgiven(self: Any, monotonic: float) -> bool:
            self.succeeded()
            return False

        return forgiven

    plant(BatchAttempts, "failed", failed)


def settle_before_handler() -> None:
    """Messages and asynchronous events are removed before they are handled."""

    def handle(original: Any) -> Any:
        async def early(self: Any, batch: Any, keys: Any) -> None:
            await self._source.settle([Outcome(record, True) for record in batch.records])
            settle = self._settle

            async def nothing(outcomes: Any) -> None:
                return None

            self._settle = nothing
            try:
                await original(self, batch, keys)
            finally:
                self._settle = settle

        return early

    def attempt(original: Any) -> Any:
        async def early(self: Any, event: Any, lane: Any) -> None:
            await self._store.settle([Finished(event)], Durability.NORMAL)
            await self._outcome(event)

        return early

    plant(QueuePoller, "_handle", handle)
    plant(AsyncQueue, "_attempt", attempt)


def accept_before_commit() -> None:
    """202 is answered while the event is on its way to the store."""

    def accept(original: Any) -> Any:
        async def early(self: Any, *arguments: Any, **named: Any) -> None:
            task = asyncio.ensure_future(original(self, *arguments, **named))
            _UNDER_WAY.add(task)
            task.add_done_callback(_UNDER_WAY.discard)

        return early

    plant(AsyncQueue, "accept", accept)


def share_state() -> None:
    """No bug yet: several engines on one state directory, each a replica with a name of its own
    and short leases, as with a store that is made for it."""
    shared = SimpleNamespace(describe=lambda **facts: None, release=lambda: None)
    vars(opening)["acquire_lock"] = lambda *arguments: shared
    claims.LEASE_SECONDS = stream_poller.LEASE_SECONDS = LEASE_SECONDS  # type: ignore[attr-defined]
    stream_poller.LOOK_AGAIN_SECONDS = LEASE_SECONDS / 6

    def named(original: Any) -> Any:
        def build(self: Any, *arguments: Any, **settings: Any) -> None:
            original(self, *arguments, **{"owner": os.environ["REPLICA"], **settings})

        return build

    plant(PollerHost, "__init__", named)


def resurrected_lease() -> None:
    """A replica that was paused past its lease goes on as if it still held it, and its position
    is stored."""
    share_state()
    plant(claims.LeasedShard, "check_held", lambda original: lambda self: None)
    checkpoint_rows._SAVE = """UPDATE checkpoints SET position = ?, state = ?, finished = ?,
        saved_at = ? WHERE scope = ? AND shard = ? AND ? <> '' AND ? > 0"""


#: of a replica
LEASE_SECONDS = 2.0
_UNDER_WAY: set[asyncio.Future[None]] = set()
#: what replicas without a bug run as
REPLICA = "replica"
MUTANTS: dict[str, Callable[[], None]] = {
    "checkpoint-before-handler": checkpoint_before_handler,
    "skip-on-error": skip_on_error,
    "settle-before-handler": settle_before_handler,
    "accept-before-commit": accept_before_commit,
    "resurrected-lease": resurrected_lease,
}


def main(arguments: Sequence[str]) -> None:
    name, dashes, *rest = arguments
    assert dashes == "--", "NAME -- run FILE"
    {**MUTANTS, REPLICA: share_state}[name]()
    from eventmesh.cli import main as cli

    sys.argv[1:] = rest
    cli()


if __name__ == "__main__":
    main(sys.argv[1:])
