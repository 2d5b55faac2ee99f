"""The engine under test: the product's stream poller, whole, on simulated parts."""

from __future__ import annotations

from random import Random

from eventmesh.clock import Clock
from eventmesh.mappings.host import PollerHost
from eventmesh.mappings.stream_poller import StreamPoller
from eventmesh.telemetry import ShardClosed, ShardOpened, Telemetry, TelemetryEvent
from tests.simulation.oracle import Process
from tests.simulation.virtual_time import SimulatedLoop
from tests.simulation.world import (
    SCOPE,
    SimulatedHandlers,
    SimulatedStream,
    StoreLink,
    World,
)


class _Reporter:
    def announce(self, detail: str) -> None:
        return None

    def problem(self, error: Exception, retry_seconds: float) -> None:
        return None

    def processed(self, result: str) -> None:
        return None


def make_poller(
    world: World, process: Process, loop: SimulatedLoop, clock: Clock, link: StoreLink
) -> StreamPoller:
    """The poller of one life of an engine."""
    processing = process.processing

    def count(event: TelemetryEvent) -> None:
        if isinstance(event, ShardOpened):
            processing[event.shard] += 1
        elif isinstance(event, ShardClosed):
            processing[event.shard] -= 1
            if event.reason == "lease lost":
                del process.leases[event.shard]

    telemetry = Telemetry()
    telemetry.subscribe(count)
    host = PollerHost(
        mapping=SCOPE,
        function="f",
        clock=clock,
        telemetry=telemetry,
        reporter=_Reporter(),
        target=SimulatedHandlers(world, process, loop),
        checkpoints=link,
        deliveries=world.store.deliveries,
        sent_to="sink" if world.plan.has_destination else "",
        owner=process.name,
        random=Random(world.random.random()),
    )
    return StreamPoller(SimulatedStream(world), host, world.plan.policy)
