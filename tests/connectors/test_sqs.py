"""Queues of a real server: what is received, deleted, hidden and given back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from eventmesh.errors import DestinationError, SourceUnavailable
from eventmesh.records import Outcome, Record
from eventmesh_connectors.sqs import SqsDestination, SqsDestinationOptions, SqsOptions, SqsSource
from tests.connectors.aws_bench import called, make_context, new_name, until
from tests.servers import FaultProxy

AWSClient = Callable[[str], Any]


class Bench:
    """Queues of one test and their sources."""

    def __init__(self, aws: dict[str, str], sqs: Any) -> None:
        self.settings = {
            "endpoint_url": aws.get("endpoint_url"),
            "region": aws["region_name"],
        }
        self.sqs = sqs
        self.urls: list[str] = []
        self.sources: list[SqsSource] = []

    async def queue(self, name: str = "", **attributes: str) -> str:
        """The URL of a new queue."""
        answer = await called(
            self.sqs.create_queue, QueueName=name or new_name("q"), Attributes=attributes
        )
        self.urls.append(answer["QueueUrl"])
        return str(answer["QueueUrl"])

    async def send(self, url: str, *bodies: str, **more: Any) -> None:
        for body in bodies:
            await called(self.sqs.send_message, QueueUrl=url, MessageBody=body, **more)

    def source(self, queue: str, **settings: Any) -> SqsSource:
        options = SqsOptions.model_validate({"queue": queue} | self.settings | settings)
        source = SqsSource(options, make_context())
        self.sources.append(source)
        return source

    async def counts(self, url: str) -> tuple[int, int]:
        """Messages that are visible and hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = await called(self.sqs.get_queue_attributes, QueueUrl=url, AttributeNames=names)
        return int(answer["Attributes"][names[0]]), int(answer["Attributes"][names[1]])

    async def is_empty(self, url: str) -> bool:
        return await self.counts(url) == (0, 0)

    async def close(self) -> None:
        for source in self.sources:
            await source.close()
        for url in self.urls:
            await called(self.sqs.delete_queue, QueueUrl=url)


@pytest_asyncio.fixture
async def bench(aws: dict[str, str], aws_client: AWSClient) -> AsyncIterator[Bench]:
    bench = Bench(aws, aws_client("sqs"))
    yield bench
    await bench.close()


async def receive(source: SqsSource, count: int) -> list[Record]:
    """Exactly `count` records, however many receives they take."""
    records: list[Record] = []
    async with asyncio.timeout(20):
        while len(records) < count:
            records += await source.receive(10)
    assert len(records) == count
    return records


def succeeded(records: Sequence[Record]) -> list[Outcome]:
    return [Outcome(record, True) for record in records]


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


async def test_a_message_arrives_as_aws_s_event_and_is_deleted(bench: Bench) -> None:
    url = await bench.queue()
    attributes = {
        "n": {"DataType": "String", "StringValue": "v"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "c": {"DataType": "Number", "StringValue": "5"},
    }
    await bench.send(url, '{"a": "é\\u0001"}', MessageAttributes=attributes)
    source = bench.source(name_of(url))
    records = await receive(source, 1)
    [record] = json.loads(source.envelope(records))["Records"]
    assert list(record) == [
        "messageId",
        "receiptHandle",
        "body",
        "attributes",
        "messageAttributes",
        "md5OfMessageAttributes",
        "md5OfBody",
        "eventSource",
        "eventSourceARN",
        "awsRegion",
    ]
    assert record["body"] == '{"a": "é\\u0001"}'
    assert all(isinstance(value, str) for value in record["attributes"].values())
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["b"] == {
        "binaryValue": "AP8=",
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": "Binary",
    }
    assert record["messageAttributes"]["c"]["dataType"] == "Number"
    assert record["eventSourceARN"].endswith(f":{name_of(url)}")
    assert record["awsRegion"] == bench.settings["region"]
    assert source.fields(records[0])["body"] == {"a": "é\x01"}
    await source.settle(succeeded(records))
    assert await bench.counts(url) == (0, 0)


@pytest.mark.parametrize("form", ["name", "url", "arn"])
async def test_a_queue_is_found_by_name_url_and_arn(bench: Bench, form: str) -> None:
    url = await bench.queue(VisibilityTimeout="77")
    answer = await called(bench.sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["QueueArn"])
    named = {"name": name_of(url), "url": url, "arn": answer["Attributes"]["QueueArn"]}
    source = bench.source(named[form])
    await bench.send(url, "x")
    await source.settle(succeeded(await receive(source, 1)))
    assert source.visibility_seconds == 77.0


async def test_failed_messages_come_again_after_the_visibility_timeout(bench: Bench) -> None:
    url = await bench.queue(VisibilityTimeout="2")
    await bench.send(url, "good", "bad")
    source = bench.source(name_of(url))
    records = await receive(source, 2)
    await source.settle([Outcome(r, source.fields(r)["body"] == "good") for r in records])
    assert await bench.counts(url) == (0, 1)
    [again] = await receive(source, 1)
    fields = source.fields(again)
    assert (fields["body"], fields["attributes"]["ApproximateReceiveCount"]) == ("bad", "2")
    await source.settle(succeeded([again]))
    assert await bench.counts(url) == (0, 0)


async def test_failed_messages_are_released_at_once_on_request(bench: Bench) -> None:
    url = await bench.queue(VisibilityTimeout="600")
    await bench.send(url, "bad")
    source = bench.source(name_of(url), release_failed=True)
    await source.settle([Outcome(record, False) for record in await receive(source, 1)])
    await source.settle(succeeded(await receive(source, 1)))
    assert await bench.counts(url) == (0, 0)


async def test_extended_messages_stay_hidden(bench: Bench) -> None:
    url = await bench.queue(VisibilityTimeout="2")
    await bench.send(url, "x")
    source = bench.source(name_of(url))
    records = await receive(source, 1)
    await source.extend(records, 600)
    for _ in range(4):
        assert await source.receive(10) == []
    assert await bench.counts(url) == (0, 1)
    await source.settle(succeeded(records))


async def test_a_cancelled_receive_loses_nothing(bench: Bench) -> None:
    url = await bench.queue(VisibilityTimeout="600")
    leaving, staying = bench.source(name_of(url)), bench.source(name_of(url))
    await leaving.receive(1)  # connected, so that the next one is a poll under way
    receiving = asyncio.ensure_future(leaving.receive(10))
    await asyncio.sleep(0.2)
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    await bench.send(url, "late")
    await leaving.close()
    await staying.settle(succeeded(await receive(staying, 1)))
    assert await bench.counts(url) == (0, 0)


async def test_a_batch_of_many_is_deleted(bench: Bench) -> None:
    url = await bench.queue()
    for start in range(0, 120, 10):
        entries = [{"Id": str(n), "MessageBody": str(start + n)} for n in range(10)]
        await called(bench.sqs.send_message_batch, QueueUrl=url, Entries=entries)
    source = bench.source(name_of(url), batch_size=1000, batch_window="1s")
    records = await receive(source, 120)
    assert {json.loads(record.event)["body"] for record in records} == set(map(str, range(120)))
    assert b'"md5OfMessageAttributes":null' in records[0].event
    await source.settle(succeeded(records))
    assert await bench.counts(url) == (0, 0)


async def test_several_receives_at_once_share_the_queue(bench: Bench) -> None:
    url = await bench.queue()
    await bench.send(url, *map(str, range(30)))
    source = bench.source(name_of(url))
    batches = await asyncio.gather(*(source.receive(10) for _ in range(5)))
    ids = [record.id for batch in batches for record in batch]
    assert len(ids) == len(set(ids))
    for batch in batches:
        if batch:
            await source.settle(succeeded(batch))
    assert await bench.counts(url) == (30 - len(ids), 0)


async def test_fifo_records_are_in_order_with_their_group_as_key(bench: Bench) -> None:
    url = await bench.queue(
        new_name("q") + ".fifo", FifoQueue="true", ContentBasedDeduplication="true"
    )
    for group in ("a", "b"):
        await bench.send(url, f"{group}1", f"{group}2", MessageGroupId=group)
    source = bench.source(name_of(url))
    records = await receive(source, 4)
    by_group = {
        group: [source.fields(r)["body"] for r in records if r.key == group] for group in "ab"
    }
    assert by_group == {"a": ["a1", "a2"], "b": ["b1", "b2"]}
    attributes = source.fields(records[0])["attributes"]
    assert {"SequenceNumber", "MessageGroupId", "MessageDeduplicationId"} <= set(attributes)
    await source.settle(succeeded(records))


async def test_a_handle_that_is_too_old_is_reported(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    url = await bench.queue()
    await bench.send(url, "x")
    source = bench.source(name_of(url))
    [record] = await receive(source, 1)
    await source.settle([Outcome(Record(record.id, b"", 0.0, handle="nonsense"), True)])
    assert f"message {record.id} of queue {name_of(url)} could not be deleted" in caplog.text
    await source.settle(succeeded([record]))


async def test_a_delete_whose_answer_was_lost_is_repeated(
    bench: Bench, localstack_endpoint: str
) -> None:
    port = urlsplit(localstack_endpoint).port
    assert port is not None
    url = await bench.queue()
    await bench.send(url, "x", "y")
    with FaultProxy(port) as proxy:
        source = bench.source(name_of(url), endpoint_url=f"http://{proxy.address}")
        records = await receive(source, 2)
        proxy.drop_replies()
        settling = asyncio.ensure_future(source.settle(succeeded(records)))
        await until(lambda: bench.is_empty(url))  # the request came through
        assert not settling.done()
        proxy.heal()
        await settling
        await source.close()
    assert await bench.counts(url) == (0, 0)


async def test_a_connection_that_breaks_is_unavailable_and_then_well_again(
    bench: Bench, localstack_endpoint: str
) -> None:
    port = urlsplit(localstack_endpoint).port
    assert port is not None
    url = await bench.queue()
    await bench.send(url, "x")
    with FaultProxy(port) as proxy:
        source = bench.source(name_of(url), endpoint_url=f"http://{proxy.address}")
        records = await receive(source, 1)
        proxy.cut()
        with pytest.raises(SourceUnavailable, match="no connection"):
            await source.receive(1)
        with pytest.raises(SourceUnavailable, match="could not be deleted: no connection"):
            await source.settle(succeeded(records))
        proxy.heal()
        await source.settle(succeeded(records))
        await source.close()
    assert await bench.counts(url) == (0, 0)


async def test_a_missing_queue_names_its_neighbours(bench: Bench) -> None:
    url = await bench.queue()
    with pytest.raises(SourceUnavailable, match=f"did you mean .*'{name_of(url)}'"):
        await bench.source(name_of(url)[:-1]).receive(1)


async def test_nobody_listening_is_unavailable(bench: Bench) -> None:
    source = bench.source("q", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(SourceUnavailable, match="no connection: .*127.0.0.1:9"):
        await source.receive(1)


async def test_a_payload_becomes_a_message(bench: Bench) -> None:
    url = await bench.queue()
    settings = {"queue": name_of(url)} | bench.settings
    destination = SqsDestination(SqsDestinationOptions.model_validate(settings))
    attributes = {
        "RequestID": "r-1",
        "ErrorCode": "200",
        "ErrorMessage": "bad\x00",
        "DeliveryId": "d",
    }
    await destination.send('{"a":"é\uffff"}'.encode(), attributes)
    await destination.close()
    source = bench.source(name_of(url))
    [record] = await receive(source, 1)
    fields = source.fields(record)
    assert fields["body"] == {"a": "é\uffff"}
    assert {
        name: (value["dataType"], value["stringValue"])
        for name, value in fields["messageAttributes"].items()
    } == {
        "RequestID": ("String", "r-1"),
        "ErrorCode": ("Number", "200"),
        "ErrorMessage": ("String", "bad\ufffd"),
    }
    await source.settle(succeeded([record]))


async def test_a_payload_for_a_missing_queue_is_not_taken(bench: Bench) -> None:
    settings = {"queue": new_name("none")} | bench.settings
    destination = SqsDestination(SqsDestinationOptions.model_validate(settings))
    with pytest.raises(DestinationError, match="there is no such queue"):
        await destination.send(b"{}", {})
    await destination.close()
