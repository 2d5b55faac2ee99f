"""Every server starts and does its work once; the private ones break when told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import boto3
import pytest
import stomp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.servers import FaultProxy, PrivateServer
from tests.servers.installers import ROOT
from tests.servers.processes import marked

StartPrivate = Callable[[str], PrivateServer]
StartProxied = Callable[[str], tuple[PrivateServer, FaultProxy]]
KEYS = {
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid4().hex[:10]}"


async def carry_one_record(brokers: str) -> None:
    topic = unique("topic")
    async with AIOKafkaProducer(bootstrap_servers=brokers) as producer:
        sent = await producer.send_and_wait(topic, b"hello", headers=[("h", b"1")])
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=brokers, auto_offset_reset="earliest")
    async with consumer:
        got = await consumer.getone()
    assert (got.value, got.partition, got.offset) == (b"hello", sent.partition, sent.offset)
    assert got.headers == (("h", b"1"),)


async def test_kafka_carries_a_record(kafka_brokers: str) -> None:
    await carry_one_record(kafka_brokers)


async def test_tansu_carries_a_record(tansu_brokers: str) -> None:
    await carry_one_record(tansu_brokers)


async def test_rabbitmq_carries_a_message(rabbitmq_url: str) -> None:
    assert await send_and_fetch(rabbitmq_url, unique("queue"), b"hello") == b"hello"


async def send_and_fetch(url: str, queue: str, body: bytes) -> bytes:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, durable=True)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, declared.name)
        fetched = await declared.get(timeout=10)
        assert fetched is not None
        await fetched.ack()
        return fetched.body


class Inbox(stomp.ConnectionListener):  # type: ignore[misc]
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.messages: asyncio.Queue[str] = asyncio.Queue()

    def on_message(self, frame: Any) -> None:
        self._loop.call_soon_threadsafe(self.messages.put_nowait, frame.body)


async def test_activemq_carries_a_message(activemq_address: str) -> None:
    host, port = activemq_address.split(":")
    inbox = Inbox(asyncio.get_running_loop())
    connection = stomp.Connection12([(host, int(port))])
    connection.set_listener("inbox", inbox)
    await asyncio.to_thread(connection.connect, "any", "any", wait=True)
    try:
        queue = f"/queue/{unique('queue')}"
        connection.subscribe(queue, id="1")
        connection.send(queue, "hello")
        assert await asyncio.wait_for(inbox.messages.get(), 10) == "hello"
    finally:
        await asyncio.to_thread(connection.disconnect)


def test_localstack_tells_a_queue_of_a_new_object(
    localstack_endpoint: str, aws_client: Callable[[str], Any]
) -> None:
    s3, sqs = aws_client("s3"), aws_client("sqs")
    assert s3.meta.endpoint_url.startswith("http")
    bucket, name = unique("bucket"), unique("queue")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    wanted = {"QueueUrl": url, "AttributeNames": ["QueueArn"]}
    arn = sqs.get_queue_attributes(**wanted)["Attributes"]["QueueArn"]
    s3.create_bucket(Bucket=bucket)
    told = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=told)
    s3.put_object(Bucket=bucket, Key="in/a.txt", Body=b"hello")
    records = next(filter(None, (body.get("Records") for body in bodies(sqs, url))))
    assert records[0]["s3"]["object"]["key"] == "in/a.txt"
    assert s3.get_object(Bucket=bucket, Key="in/a.txt")["Body"].read() == b"hello"


def bodies(sqs: Any, url: str) -> Iterator[dict[str, Any]]:
    """Message bodies as they come, for at most twenty seconds."""
    for _ in range(10):
        answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2, MaxNumberOfMessages=10)
        for message in answer.get("Messages", ()):
            yield json.loads(message["Body"])


def test_localstack_passes_a_topic_on_to_a_queue(aws_client: Callable[[str], Any]) -> None:
    sns, sqs = aws_client("sns"), aws_client("sqs")
    url = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    wanted = {"QueueUrl": url, "AttributeNames": ["QueueArn"]}
    arn = sqs.get_queue_attributes(**wanted)["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="hello")
    assert next(bodies(sqs, url))["Message"] == "hello"


def carry_one_kinesis_record(kinesis: Any) -> None:
    stream = unique("stream")
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    waiter = kinesis.get_waiter("stream_exists")
    waiter.wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    put = kinesis.put_record(StreamName=stream, Data=b"hello", PartitionKey="k")
    start = {"ShardId": put["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(StreamName=stream, **start)["ShardIterator"]
    records = kinesis.get_records(ShardIterator=iterator)["Records"]
    assert [record["Data"] for record in records] == [b"hello"]
    assert records[0]["SequenceNumber"] == put["SequenceNumber"]


def test_localstack_has_kinesis(aws_client: Callable[[str], Any]) -> None:
    carry_one_kinesis_record(aws_client("kinesis"))


def test_kinesalite_has_kinesis(kinesalite_endpoint: str) -> None:
    with closing(boto3.client("kinesis", endpoint_url=kinesalite_endpoint, **KEYS)) as kinesis:
        carry_one_kinesis_record(kinesis)


def read_one_change(endpoint: str) -> None:
    """Write an item to a table with a stream and read the change back."""
    dynamodb = boto3.client("dynamodb", endpoint_url=endpoint, **KEYS)
    streams = boto3.client("dynamodbstreams", endpoint_url=endpoint, **KEYS)
    with closing(dynamodb), closing(streams):
        table = unique("table")
        arn = dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )["TableDescription"]["LatestStreamArn"]
        dynamodb.put_item(TableName=table, Item={"id": {"S": "1"}})
        shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]
        start = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = streams.get_shard_iterator(StreamArn=arn, **start)["ShardIterator"]
        (record,) = streams.get_records(ShardIterator=iterator)["Records"]
    assert record["eventName"] == "INSERT"
    assert record["dynamodb"]["NewImage"] == {"id": {"S": "1"}}


def test_moto_has_dynamodb_streams(moto_endpoint: str) -> None:
    read_one_change(moto_endpoint)


def test_ministack_has_dynamodb_streams(ministack_endpoint: str) -> None:
    read_one_change(ministack_endpoint)


async def test_a_killed_rabbitmq_comes_back_with_its_messages(private_server: StartPrivate) -> None:
    rabbitmq = private_server("rabbitmq")
    async with await aio_pika.connect(rabbitmq.address) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True)
        message = aio_pika.Message(b"hello", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")
    await asyncio.to_thread(rabbitmq.kill)
    assert refused(rabbitmq.port)
    await asyncio.to_thread(rabbitmq.start)
    async with await aio_pika.connect(rabbitmq.address) as connection:
        channel = await connection.channel()
        kept = await channel.get_queue("kept")
        fetched = await kept.get(timeout=10)
        assert fetched is not None
        assert fetched.body == b"hello"


async def test_a_restarted_kafka_keeps_its_records(private_server: StartPrivate) -> None:
    kafka = private_server("kafka")
    if kafka.name != "kafka":
        pytest.skip(f"{kafka.name} keeps records in memory only")
    async with AIOKafkaProducer(bootstrap_servers=kafka.address, acks="all") as producer:
        await producer.send_and_wait("kept", b"hello")
    await asyncio.to_thread(kafka.restart)
    settings = {"bootstrap_servers": kafka.address, "auto_offset_reset": "earliest"}
    async with AIOKafkaConsumer("kept", **settings) as consumer:
        assert (await consumer.getone()).value == b"hello"


async def test_kafka_clients_go_through_the_proxy(proxied_server: StartProxied) -> None:
    kafka, proxy = proxied_server("kafka")
    assert kafka.address == proxy.address
    await carry_one_record(kafka.address)
    async with AIOKafkaProducer(bootstrap_servers=kafka.address) as producer:
        assert proxy.connections > 0
        await asyncio.to_thread(proxy.cut)
        assert (proxy.connections, refused(proxy.port)) == (0, True)
        await asyncio.to_thread(proxy.heal)
        await producer.send_and_wait("after", b"hello")


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def echo() -> Iterator[FaultProxy]:
    """A proxy before a server that sends back what it gets."""
    script = (
        "import asyncio\n"
        "async def echo(r, w):\n"
        "    while data := await r.read(4096):\n"
        "        w.write(data)\n"
        "    w.close()\n"
        "async def main():\n"
        "    server = await asyncio.start_server(echo, '127.0.0.1', 0)\n"
        "    print(server.sockets[0].getsockname()[1], flush=True)\n"
        "    await server.serve_forever()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            with FaultProxy(int(server.stdout.readline())) as proxy:
                yield proxy
        finally:
            server.kill()


def say(link: socket.socket, text: bytes, seconds: float = 10) -> bytes:
    link.settimeout(seconds)
    link.sendall(text)
    return link.recv(100)


def connected(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def test_the_proxy_forwards_and_closes_in_turn(echo: FaultProxy) -> None:
    with connected(echo) as link:
        assert say(link, b"hello") == b"hello"
        link.shutdown(socket.SHUT_WR)
        assert link.recv(100) == b""


def test_a_blackhole_delivers_late(echo: FaultProxy) -> None:
    with connected(echo) as link:
        assert say(link, b"one") == b"one"
        echo.blackhole()
        with pytest.raises(TimeoutError):
            say(link, b"two", 0.2)
        echo.heal()
        link.settimeout(10)
        assert link.recv(100) == b"two"


def test_dropped_replies_break_the_connection_at_the_healing(echo: FaultProxy) -> None:
    with connected(echo) as link:
        assert say(link, b"one") == b"one"
        echo.drop_replies()
        with pytest.raises(TimeoutError):
            say(link, b"two", 0.5)
        echo.heal()
        link.settimeout(10)
        with pytest.raises(ConnectionResetError):
            link.recv(100)
    with connected(echo) as link:
        assert say(link, b"three") == b"three"


def test_a_reset_breaks_what_is_there_only(echo: FaultProxy) -> None:
    with connected(echo) as link:
        assert say(link, b"one") == b"one"
        echo.reset()
        with pytest.raises(ConnectionResetError):
            link.recv(100)
    with connected(echo) as link:
        assert say(link, b"two") == b"two"


def test_a_cut_refuses_until_healed_on_the_same_port(echo: FaultProxy) -> None:
    port = echo.port
    echo.cut()
    assert refused(port)
    echo.heal()
    assert echo.port == port
    with connected(echo) as link:
        assert say(link, b"one") == b"one"


def test_latency_holds_each_way_back(echo: FaultProxy) -> None:
    with connected(echo) as link:
        echo.latency(0.4)
        with pytest.raises(TimeoutError):
            say(link, b"one", 0.3)
        link.settimeout(10)
        assert link.recv(100) == b"one"


async def test_what_localstack_started_goes_with_it(private_server: StartPrivate) -> None:
    """Its Kinesis is a process of its own, outside LocalStack's group."""
    localstack = private_server("localstack")
    with closing(boto3.client("kinesis", endpoint_url=localstack.address, **KEYS)) as kinesis:
        kinesis.create_stream(StreamName="stream", ShardCount=1)
    assert len(processes_of(localstack)) >= 2
    await asyncio.to_thread(localstack.kill)
    assert processes_of(localstack) == []


def processes_of(server: PrivateServer) -> list[int]:
    return [pid for pid, directory in marked() if directory.name == server.key]


HOLDER = """
import sys, time
from tests.servers import server
print(server("moto").port, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("victim", ["run", "supervisor"])
def test_nothing_outlives_a_killed_run(moto_endpoint: str, victim: str) -> None:
    """A run of its own, killed -9, takes its supervisor and its server with it."""
    outside = {"PYTEST_XDIST_WORKER", "EVENTMESH_TEST_MOTO_ENDPOINT"}
    environment = {key: value for key, value in os.environ.items() if key not in outside}
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        port = int(run.stdout.readline())
        assert not refused(port)
        (supervisor,) = supervisors_of(run.pid)
        os.kill(run.pid if victim == "run" else supervisor, signal.SIGKILL)
        wait_until(lambda: refused(port), "the server lives on")
        run.kill()
    wait_until(lambda: not supervisors_of(run.pid), "the supervisor lives on")


def wait_until(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def supervisors_of(run: int) -> list[int]:
    """Processes that have the run's directory on their command line, not by their mark."""
    marks = {pid for pid, _ in marked()}
    lines = {path.parent: command_line(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    found = (int(path.name) for path, line in lines.items() if f"/{run}-" in line)
    return [pid for pid in found if pid not in marks]


def command_line(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().replace("\0", " ")
    return ""
