"""Buckets of a real server: followed by their queue, by listing, and written to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from eventmesh.errors import DestinationError, SourceUnavailable
from eventmesh_connectors.s3 import S3DestinationOptions, S3Options, connector
from tests.connectors.aws_bench import called, make_context, new_name, until
from tests.unit.connectors.recording_bucket_target import RecordingBucketTarget

AWSClient = Callable[[str], Any]
ALL = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]


class Bench:
    def __init__(self, aws: dict[str, str], client: AWSClient) -> None:
        self.settings = {"endpoint_url": aws.get("endpoint_url"), "region": aws["region_name"]}
        self.s3, self.sqs, self.sns = client("s3"), client("sqs"), client("sns")
        self.bucket, self.queue = new_name("bucket"), new_name("q")
        self.queue_url = ""
        self.target = RecordingBucketTarget()
        self.running: asyncio.Task[None] | None = None

    async def put(self, key: str, body: bytes = b"hello") -> None:
        await called(self.s3.put_object, Bucket=self.bucket, Key=key, Body=body)

    async def delete(self, key: str) -> None:
        await called(self.s3.delete_object, Bucket=self.bucket, Key=key)

    async def make_queue(self) -> str:
        """A new queue's ARN."""
        answer = await called(self.sqs.create_queue, QueueName=self.queue)
        self.queue_url = answer["QueueUrl"]
        answer = await called(
            self.sqs.get_queue_attributes, QueueUrl=self.queue_url, AttributeNames=["All"]
        )
        return str(answer["Attributes"]["QueueArn"])

    async def notify(self, **configuration: Any) -> None:
        """Have the bucket send its notifications somewhere."""
        [(kind, target)] = configuration.items()
        await called(
            self.s3.put_bucket_notification_configuration,
            Bucket=self.bucket,
            NotificationConfiguration={
                f"{kind}Configurations": [{f"{kind}Arn": target, "Events": ALL}]
            },
        )

    def start(self, **settings: Any) -> None:
        options = {"bucket": f"s3://{self.bucket}", "events": ALL} | self.settings | settings
        assert connector.source is not None
        source = connector.source(S3Options.model_validate(options), make_context(self.target))
        self.running = asyncio.ensure_future(source.run(self.target))

    async def stop(self) -> None:
        if self.running is not None:
            self.running.cancel()
            await asyncio.wait({self.running})
            self.running = None

    async def is_queue_empty(self) -> bool:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = await called(
            self.sqs.get_queue_attributes, QueueUrl=self.queue_url, AttributeNames=names
        )
        return all(answer["Attributes"][name] == "0" for name in names)

    async def close(self) -> None:
        await self.stop()
        listed = await called(self.s3.list_objects_v2, Bucket=self.bucket)
        for one in listed.get("Contents", ()):
            await self.delete(one["Key"])
        await called(self.s3.delete_bucket, Bucket=self.bucket)
        if self.queue_url:
            await called(self.sqs.delete_queue, QueueUrl=self.queue_url)


@pytest_asyncio.fixture
async def bench(aws: dict[str, str], aws_client: AWSClient) -> AsyncIterator[Bench]:
    bench = Bench(aws, aws_client)
    await called(bench.s3.create_bucket, Bucket=bench.bucket)
    yield bench
    await bench.close()


async def test_notifications_of_a_queue_become_events(bench: Bench) -> None:
    await bench.notify(Queue=await bench.make_queue())  # S3 sends its test message
    bench.start(queue=bench.queue, prefix="in/")
    await bench.put("in/a b+é.txt")
    await bench.put("out/a.txt")
    await bench.delete("in/a b+é.txt")
    await until(lambda: len(bench.target.events) == 2)
    await until(bench.is_queue_empty)
    assert sorted(bench.target.seen()) == [
        ("ObjectCreated:Put", "in/a b+é.txt"),
        ("ObjectRemoved:Delete", "in/a b+é.txt"),
    ]
    made = next(r for r in bench.target.records() if r["eventName"] == "ObjectCreated:Put")
    assert made["s3"]["object"]["key"] == "in/a+b%2B%C3%A9.txt"
    assert made["s3"]["object"]["size"] == 5
    assert made["s3"]["object"]["eTag"] == "5d41402abc4b2a76b9719d911017c592"
    assert made["s3"]["bucket"]["name"] == bench.bucket
    assert all(len(json.loads(event)["Records"]) == 1 for event in bench.target.events)


async def test_notifications_wrapped_by_sns_become_events(bench: Bench) -> None:
    queue_arn = await bench.make_queue()
    topic = (await called(bench.sns.create_topic, Name=new_name("topic")))["TopicArn"]
    await called(bench.sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    await bench.notify(Topic=topic)
    bench.start(queue=bench.queue)
    await bench.put("a")
    await until(lambda: len(bench.target.events) == 1)
    await until(bench.is_queue_empty)
    assert bench.target.seen() == [("ObjectCreated:Put", "a")]
    await called(bench.sns.delete_topic, TopicArn=topic)


async def test_what_is_no_notification_stays_in_the_queue(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.make_queue()
    detail = {"bucket": {"name": bench.bucket}, "object": {"key": "a b", "size": 1}}
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    for body in ("not for us", json.dumps(event)):
        await called(bench.sqs.send_message, QueueUrl=bench.queue_url, MessageBody=body)
    bench.start(queue=bench.queue)
    await until(lambda: "holds a message that is no notification" in caplog.text)
    await until(lambda: bench.target.seen() == [("ObjectCreated:Put", "a b")])
    assert not await bench.is_queue_empty()


async def test_stopping_leaves_later_notifications_to_the_next_start(bench: Bench) -> None:
    await bench.notify(Queue=await bench.make_queue())
    bench.start(queue=bench.queue)
    await bench.put("a")
    await until(lambda: len(bench.target.events) == 1)
    await bench.stop()
    await bench.put("b")
    bench.start(queue=bench.queue)
    await until(lambda: len(bench.target.events) == 2)
    await until(bench.is_queue_empty)
    assert bench.target.seen() == [("ObjectCreated:Put", "a"), ("ObjectCreated:Put", "b")]


async def test_listing_finds_what_is_new_changed_and_gone(bench: Bench) -> None:
    await bench.put("in/a b+é.txt")
    await bench.put("in/b")
    bench.start(list_interval="1s", prefix="in/")
    await until(lambda: len(bench.target.events) == 2)
    await bench.put("in/b", b"other")
    await bench.delete("in/a b+é.txt")
    await bench.put("out/c")
    await until(lambda: len(bench.target.events) == 4)
    assert bench.target.seen() == [
        ("ObjectCreated:Put", "in/a b+é.txt"),
        ("ObjectCreated:Put", "in/b"),
        ("ObjectCreated:Put", "in/b"),
        ("ObjectRemoved:Delete", "in/a b+é.txt"),
    ] or sorted(bench.target.seen()[2:]) == [  # both changes may be in different listings
        ("ObjectCreated:Put", "in/b"),
        ("ObjectRemoved:Delete", "in/a b+é.txt"),
    ]
    first = bench.target.records()[0]["s3"]["object"]
    assert first["eTag"] == "5d41402abc4b2a76b9719d911017c592"
    await bench.stop()
    await bench.put("in/d")
    bench.start(list_interval="1s", prefix="in/")
    await until(lambda: len(bench.target.events) == 5)
    assert bench.target.seen()[-1] == ("ObjectCreated:Put", "in/d")


async def test_many_pages_are_listed(bench: Bench) -> None:
    for start in range(0, 1100, 100):
        await asyncio.gather(*(bench.put(f"k{n:04}", b"") for n in range(start, start + 100)))
    bench.start(list_interval="1h")
    await until(lambda: len(bench.target.events) == 1100)
    assert [key for _, key in bench.target.seen()] == [f"k{n:04}" for n in range(1100)]
    for start in range(0, 1100, 1000):
        keys = [{"Key": f"k{n:04}"} for n in range(start, min(1100, start + 1000))]
        await called(bench.s3.delete_objects, Bucket=bench.bucket, Delete={"Objects": keys})


async def test_a_missing_bucket_is_unavailable(bench: Bench) -> None:
    bench.start(bucket=f"s3://{bench.bucket}x", list_interval="1s")
    assert bench.running is not None
    with pytest.raises(SourceUnavailable, match=f"did you mean .*'{bench.bucket}'"):
        await bench.running


async def test_payloads_become_objects(bench: Bench) -> None:
    assert connector.destination is not None
    settings = {"bucket": f"s3://{bench.bucket}/failed/"} | bench.settings
    destination = connector.destination(S3DestinationOptions.model_validate(settings))
    record = {
        "timestamp": "2024-03-21T14:50:38.511Z",
        "requestContext": {"functionArn": "arn:aws:lambda:us-east-1:000000000000:function:f:1"},
    }
    payload = json.dumps(record).encode()
    for _ in range(2):  # the same delivery twice is one object
        await destination.send(payload, {"RequestID": "r", "DeliveryId": "d", "ErrorMessage": "é"})
    await destination.close()
    listed = await called(bench.s3.list_objects_v2, Bucket=bench.bucket)
    [one] = listed["Contents"]
    assert one["Key"].startswith("failed/aws/lambda/async/f/2024/03/21/2024-03-21T14.50.38-")
    found = await called(bench.s3.get_object, Bucket=bench.bucket, Key=one["Key"])
    assert found["Body"].read() == payload
    assert found["ContentType"] == "application/json"
    assert found["Metadata"] == {"requestid": "r", "errormessage": "%C3%A9"}


async def test_a_payload_for_a_missing_bucket_is_not_taken(bench: Bench) -> None:
    assert connector.destination is not None
    settings = {"bucket": f"s3://{bench.bucket}x"} | bench.settings
    destination = connector.destination(S3DestinationOptions.model_validate(settings))
    with pytest.raises(DestinationError, match="there is no such bucket"):
        await destination.send(b"{}", {})
    await destination.close()
