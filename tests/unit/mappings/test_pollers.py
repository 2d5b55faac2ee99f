"""From a connector's options to a poller."""

from __future__ import annotations

import json

import pytest

from eventmesh.mappings.policy import MappingPolicy, policy_from
from eventmesh.mappings.pollers import build_poller
from eventmesh.mappings.queue_poller import QueuePoller
from eventmesh.mappings.stream_poller import StreamPoller
from eventmesh.pulling import QueueOptions, StreamOptions
from eventmesh.testing import FakeClock
from eventmesh.testing.sources import MemoryBrokerStream, MemoryQueue, MemoryStream
from tests.unit.mappings.harness import Harness, failing_on


def test_defaults_are_those_of_the_options(clock: FakeClock) -> None:
    assert policy_from(StreamOptions(), MemoryStream(clock)) == MappingPolicy()
    assert policy_from(QueueOptions(), MemoryQueue(clock)) == MappingPolicy()


def test_every_setting_arrives(clock: FakeClock) -> None:
    options = StreamOptions(
        batch_size=7,
        batch_window="2s",
        report_batch_item_failures=True,
        bisect_on_error=True,
        max_retries=3,
        max_record_age="5m",
        parallelization_factor=2,
    )
    assert policy_from(options, MemoryStream(clock)) == MappingPolicy(
        batch_size=7,
        window_seconds=2.0,
        report_failures=True,
        bisect=True,
        maximum_retries=3,
        maximum_age_seconds=300.0,
        parallelization_factor=2,
    )
    windowed = policy_from(StreamOptions(tumbling_window="1m"), MemoryStream(clock))
    assert windowed.tumbling_window_seconds == 60
    queue = policy_from(QueueOptions(maximum_concurrency=9), MemoryQueue(clock))
    assert queue.maximum_concurrency == 9


def test_brokers_with_checkpoints_have_their_own_rules(clock: FakeClock) -> None:
    stream = MemoryBrokerStream(clock)
    assert policy_from(StreamOptions(), stream).window_from_first_record
    assert policy_from(StreamOptions(), stream).maximum_retries == -1
    assert policy_from(StreamOptions(), stream, has_destination=True).maximum_retries == 10
    plain = policy_from(StreamOptions(), MemoryStream(clock), has_destination=True)
    assert plain.maximum_retries == -1


@pytest.mark.parametrize("says", [True, False])
def test_a_source_may_say_which_clock_its_window_has(clock: FakeClock, says: bool) -> None:
    queue = MemoryQueue(clock)
    queue.window_from_first_record = says  # type: ignore[attr-defined]
    assert policy_from(QueueOptions(), queue).window_from_first_record is says


async def test_filters_of_the_options_are_applied(clock: FakeClock) -> None:
    stream, one = MemoryStream(clock, "s"), Harness(clock, lambda event: None)
    stream.put("s", {"kind": "a"}, {"kind": "b"})
    options = StreamOptions(filters=({"data": {"kind": ["b"]}},))
    poller = build_poller(stream, options, one.host)
    assert isinstance(poller, StreamPoller)
    one.mapping.start(poller)
    await one.run()
    assert one.bodies == [[{"kind": "b"}]]
    await one.stop()


async def test_failure_records_may_hold_the_event(clock: FakeClock) -> None:
    for stream, kind in ((MemoryStream(clock, "s"), dict), (MemoryBrokerStream(clock, "s"), str)):
        one = Harness(clock, failing_on("p"))
        stream.put("s", "p")
        options = StreamOptions(max_retries=0)
        one.mapping.start(build_poller(stream, options, one.host, payload_in_failure_records=True))
        await one.run()
        (record,) = await one.failure_records()
        payload = record["payload"]
        assert isinstance(payload, kind)
        event = json.loads(payload) if isinstance(payload, str) else payload
        assert [item["data"] for item in event["Records"]] == ["p"]
        await one.stop()


def test_a_queue_gets_a_queue_poller(clock: FakeClock) -> None:
    one = Harness(clock, lambda event: None)
    assert isinstance(build_poller(MemoryQueue(clock), QueueOptions(), one.host), QueuePoller)
