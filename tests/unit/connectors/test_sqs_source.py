"""The queue as a source and a destination, against a queue in memory."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from eventmesh.connectors import SourceContext
from eventmesh.errors import DestinationError, SourceUnavailable
from eventmesh.pulling import Extendable, QueueSource
from eventmesh.records import Outcome, Record
from eventmesh.testing import FakeClock
from eventmesh.testing.clock import settle
from eventmesh_connectors.aws import AwsAccess
from eventmesh_connectors.sqs import SqsDestination, SqsDestinationOptions, SqsOptions, SqsSource
from eventmesh_connectors.sqs import destination as destination_module
from eventmesh_connectors.sqs import queue as queue_module
from tests.unit.connectors.fake_aws import URL, FakeClient, FakeSqs, Opening, message
from tests.unit.connectors.recording_bucket_target import Announcements, NoRoutes


class Bench:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.sqs = FakeSqs()
        self.client = FakeClient(self.sqs)
        self.opening = Opening(self.client)
        self.said = Announcements()

    def source(self, **settings: Any) -> SqsSource:
        context = SourceContext(
            mapping="m",
            clock=self.clock,
            log=logging.getLogger("eventmesh.test.sqs"),
            positions=None,  # type: ignore[arg-type]
            routes=NoRoutes(),
            announce=self.said,
        )
        return SqsSource(SqsOptions.model_validate({"queue": "orders"} | settings), context)


@pytest.fixture
def bench(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(clock)
    monkeypatch.setattr(queue_module, "open_client", bench.opening)
    monkeypatch.setattr(destination_module, "open_client", bench.opening)
    return bench


def handles(records: Any) -> list[str]:
    return [record.handle for record in records]


def records(count: int) -> list[Record]:
    return [Record(f"id-{n}", b"{}", 0.0, handle=f"handle-{n}") for n in range(count)]


async def test_it_is_a_queue_that_can_extend(bench: Bench) -> None:
    source = bench.source()
    assert isinstance(source, QueueSource)
    assert isinstance(source, Extendable)
    assert bench.opening.asked == []  # building opens nothing


async def test_a_receive_asks_for_everything_and_at_most_ten(bench: Bench) -> None:
    source = bench.source(region="eu-west-1", profile="dev")
    bench.sqs.put(message(1), message(2))
    got = await source.receive(500)
    assert handles(got) == ["handle-1", "handle-2"]
    assert bench.sqs.received == [
        {
            "QueueUrl": URL,
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": 20,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
    ]
    assert bench.opening.asked == [("sqs", AwsAccess(None, "eu-west-1", "dev"))]
    assert bench.said == [f"{URL}, visible again after 30s"]
    await source.close()
    assert bench.client.closed == 1


async def test_emulators_are_polled_briefly(bench: Bench) -> None:
    bench.client.endpoint_url = "http://localhost:4566"
    bench.sqs.put(message(1))
    source = bench.source()
    await source.receive(1)
    assert bench.sqs.received[0]["WaitTimeSeconds"] == 1
    assert bench.sqs.received[0]["MaxNumberOfMessages"] == 1
    await source.close()


async def test_visibility_is_the_queue_s_own_unless_set(bench: Bench) -> None:
    bench.sqs.visibility = "90"
    own, given = bench.source(), bench.source(visibility_timeout="45s")
    for source in (own, given):
        bench.sqs.put(message(1))
        await source.receive(1)
        await source.close()
    assert (own.visibility_seconds, given.visibility_seconds) == (90.0, 45.0)
    assert "VisibilityTimeout" not in bench.sqs.received[0]
    assert bench.sqs.received[1]["VisibilityTimeout"] == 45


async def test_fifo_receives_can_be_repeated_safely(bench: Bench) -> None:
    bench.sqs.names = {"orders.fifo": f"{URL}.fifo"}
    source = bench.source(queue="orders.fifo")
    for _ in range(2):
        bench.sqs.put(message(1))
        await source.receive(1)
    first, second = (request["ReceiveRequestAttemptId"] for request in bench.sqs.received)
    assert first != second
    await source.close()


async def test_success_is_deleted_in_tens_and_failure_left_alone(bench: Bench) -> None:
    source = bench.source()
    outcomes = [Outcome(record, index != 5) for index, record in enumerate(records(24))]
    await source.settle(outcomes)
    assert [len(call) for call in bench.sqs.deleted] == [10, 10, 3]
    assert "handle-5" not in sum(bench.sqs.deleted, [])
    assert bench.sqs.hidden == []
    await source.close()


async def test_failed_records_can_be_released_at_once(bench: Bench) -> None:
    source = bench.source(release_failed=True)
    one, two = records(2)
    await source.settle([Outcome(one, True), Outcome(two, False)])
    assert bench.sqs.deleted == [["handle-0"]]
    assert bench.sqs.hidden == [("handle-1", 0)]
    await source.close()


async def test_a_delete_that_sqs_failed_is_repeated_alone(bench: Bench) -> None:
    source = bench.source()
    bench.sqs.failures = [{"handle-1": ("InternalError", False)}]
    settling = asyncio.ensure_future(source.settle([Outcome(one, True) for one in records(3)]))
    await bench.clock.advance(0.2)
    await settling
    assert bench.sqs.deleted == [["handle-0", "handle-1", "handle-2"], ["handle-1"]]
    await source.close()


async def test_deletes_that_keep_failing_go_up(bench: Bench) -> None:
    source = bench.source()
    bench.sqs.failures = [{"handle-1": ("InternalError", False)}] * 3
    settling = asyncio.ensure_future(source.settle([Outcome(one, True) for one in records(3)]))
    await bench.clock.advance(0.6)
    with pytest.raises(SourceUnavailable, match=r"^1 messages of queue orders .* InternalError"):
        await settling
    assert len(bench.sqs.deleted) == 3
    await source.close()


async def test_an_expired_handle_is_reported_and_not_repeated(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    source = bench.source()
    bench.sqs.failures = [{"handle-0": ("ReceiptHandleIsInvalid", True)}]
    await source.settle([Outcome(one, True) for one in records(2)])
    assert bench.sqs.deleted == [["handle-0", "handle-1"]]
    assert "message id-0 of queue orders could not be deleted" in caplog.text
    assert "so it comes again" in caplog.text
    await source.close()


async def test_extending_hides_for_whole_seconds_up_to_twelve_hours(bench: Bench) -> None:
    source = bench.source()
    await source.extend(records(1), 30.2)
    await source.extend(records(1), 1e6)
    assert bench.sqs.hidden == [("handle-0", 31), ("handle-0", 43_200)]
    await source.close()


async def test_what_a_cancelled_receive_gets_is_given_back(bench: Bench) -> None:
    source = bench.source()
    receiving = asyncio.ensure_future(source.receive(10))
    await settle()
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    bench.sqs.put(message(1), message(2))
    await source.close()
    assert bench.sqs.hidden == [("handle-1", 0), ("handle-2", 0)]
    assert bench.client.closed == 1


async def test_a_receive_cancelled_with_its_answer_in_hand_gives_it_back(bench: Bench) -> None:
    source = bench.source()
    receiving = asyncio.ensure_future(source.receive(10))
    await settle()
    bench.sqs.put(message(1))
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    await settle()
    assert bench.sqs.hidden == [("handle-1", 0)]
    await source.close()


async def test_a_missing_queue_names_its_neighbours(bench: Bench) -> None:
    source = bench.source(queue="order")
    with pytest.raises(SourceUnavailable) as caught:
        await source.receive(1)
    assert str(caught.value) == (
        "cannot find queue order: there is no such queue in eu-west-1 at"
        " https://sqs.eu-west-1.amazonaws.com; did you mean 'orders'?"
    )
    assert bench.client.closed == 1
    await source.close()


async def test_payloads_are_sent_with_a_dead_letter_s_attributes(bench: Bench) -> None:
    destination = SqsDestination(SqsDestinationOptions.model_validate("orders"), bench.clock)
    attributes = {"RequestID": "r", "DeliveryId": "d", "AWSTraceHeader": "Root=1"}
    await destination.send(b'{"a":1}', attributes)
    await destination.send(b"{}", {})
    await destination.close()
    assert bench.sqs.sent == [
        {
            "QueueUrl": URL,
            "MessageBody": '{"a":1}',
            "MessageAttributes": {"RequestID": {"DataType": "String", "StringValue": "r"}},
            "MessageSystemAttributes": {
                "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}
            },
        },
        {"QueueUrl": URL, "MessageBody": "{}"},
    ]
    assert len(bench.opening.asked) == bench.client.closed == 1


async def test_a_missing_queue_is_a_destination_error(bench: Bench) -> None:
    destination = SqsDestination(SqsDestinationOptions.model_validate("order"), bench.clock)
    with pytest.raises(DestinationError, match="did you mean 'orders'"):
        await destination.send(b"{}", {})
    await destination.close()
