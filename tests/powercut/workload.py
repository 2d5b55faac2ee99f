"""The engine's store at work, in a process of its own: what it acknowledges goes to a file, one
line each, after the store said so. `python -m tests.powercut.workload DIRECTORY ACKS LEVEL`.

Lines: `ok ID` an event is accepted (synced), `gone ID` it is about to be settled, `failed N` record
N's failure record and checkpoint are stored (synced), `epoch N` a lease was given out.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from random import Random

from eventmesh.clock import SystemClock
from eventmesh.state import opening, writer
from eventmesh.state.contract import Delivery, Durability, Finished, Lease, QueuedEvent
from eventmesh.state.sqlite import SqliteStore, open_sqlite

EVENTS = 500
LANES = 4
LEASES = 8
FAILURES_PER_LEASE = 15
#: pages of log before it is folded back: often, so that many cuts hit that
_CHECKPOINT_PAGES = 150


class Acknowledgements:
    """The file of what was promised."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(self, kind: str, what: object) -> None:
        os.write(self._descriptor, f"{kind} {what}\n".encode())


async def work(directory: Path, acks: Acknowledgements) -> None:
    """Use the store until everything is acknowledged. It is not closed: the power goes first."""
    store = await open_sqlite(directory, SystemClock())
    await asyncio.gather(
        *(_accept(store, acks, lane) for lane in range(LANES)), _checkpoint(store, acks)
    )


async def _accept(store: SqliteStore, acks: Acknowledgements, lane: int) -> None:
    """Accept events, claim some and settle them unsynced."""
    random = Random(lane)
    for number in range(EVENTS // LANES):
        event = QueuedEvent(f"{lane}-{number}", f"f{lane}", random.randbytes(3000), 0.0, 0.0)
        await store.events.accept([event], None, Durability.SYNCED)
        acks.tell("ok", event.request_id)
        if number % 3 == 2:
            claimed = await store.events.claim(f"f{lane}", 2, 1.0)
            for one in claimed:
                acks.tell("gone", one.request_id)
            await store.events.settle([Finished(one) for one in claimed], Durability.NORMAL)


async def _checkpoint(store: SqliteStore, acks: Acknowledgements) -> None:
    """Hold a shard; checkpoints go unsynced, but synced where a failure record goes with them."""
    position = 0
    for _ in range(LEASES):
        lease = await store.checkpoints.acquire("m", "s", "engine", 30.0)
        assert lease is not None
        acks.tell("epoch", lease.epoch)
        for _ in range(FAILURES_PER_LEASE):
            position += 1
            await store.checkpoints.save(_moved(lease, position), [], Durability.NORMAL)
            position += 1
            failure = Delivery(str(position), "f", "on_failure", b"x" * 2000, {}, 0.0)
            await store.checkpoints.save(_moved(lease, position), [failure], Durability.SYNCED)
            acks.tell("failed", position)


def _moved(lease: Lease, position: int) -> Lease:
    return Lease(lease.scope, lease.shard, lease.owner, lease.epoch, str(position))


def main() -> None:
    """`LEVEL` is what a synced commit runs with: FULL as the product has it, or a planted bug."""
    directory, acks, level = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    opening._CHECKPOINT_PAGES = _CHECKPOINT_PAGES
    if level != "FULL":
        writer._LEVELS = {True: level, False: level}
    asyncio.run(_then_exit(directory, Acknowledgements(acks)))


async def _then_exit(directory: Path, acks: Acknowledgements) -> None:
    await work(directory, acks)
    os._exit(0)


if __name__ == "__main__":
    main()
