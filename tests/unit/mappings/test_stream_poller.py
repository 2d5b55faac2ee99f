"""Streams: order, checkpoints, retries, bisecting, reports, leases, shards that come and go."""

from __future__ import annotations

from eventmesh.mappings.mapping import MappingState
from eventmesh.mappings.policy import MappingPolicy
from eventmesh.testing import FakeClock
from eventmesh.testing.sources import MemoryBrokerStream, MemoryStream
from tests.unit.mappings.harness import Gate, Harness, failing_on, reporting


def ok(event: object) -> None:
    return None


async def test_records_are_handled_in_order_and_checkpointed(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, ok)
    stream.put("s", 1, 2, 3, 4, 5)
    one.start(stream, MappingPolicy(batch_size=2))
    await one.run()
    assert one.bodies == [[1, 2], [3, 4], [5]]
    assert await one.positions() == {"s": "4"}
    assert one.mapping.state is MappingState.ENABLED
    assert one.mapping.last_processing_result == "OK"
    assert await one.stop()
    assert one.host.counts.pending == 0
