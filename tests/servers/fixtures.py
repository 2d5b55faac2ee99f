"""Fixtures of real servers. One that cannot be had skips the test; CI fails it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import boto3
import pytest
from localstack_client.session import Session as LocalStackSession

from tests.servers import FaultProxy, PrivateServer, Server, Unavailable
from tests.servers import private_server as start_private
from tests.servers import server as start_shared
from tests.servers.installers import in_ci

REAL_AWS = "aws"
SERVED = {
    "activemq_address",
    "aws",
    "aws_client",
    "kafka_brokers",
    "kafka_server",
    "kinesalite_endpoint",
    "localstack_endpoint",
    "ministack_endpoint",
    "moto_endpoint",
    "private_server",
    "proxied_server",
    "rabbitmq_url",
    "tansu_brokers",
}
AWSClient = Callable[[str], Any]
StartPrivate = Callable[[str], PrivateServer]
StartProxied = Callable[[str], tuple[PrivateServer, FaultProxy]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test's time limit leaves out its fixtures: one may install a server (itself limited)."""
    for item in items:
        served = SERVED.intersection(getattr(item, "fixturenames", ()))
        if served and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(func_only=True))


def refuse(reason: Unavailable) -> None:
    """Skip on a laptop; fail under CI=true, where a skip would go unseen."""
    if in_ci():
        pytest.fail(f"CI must have every server: {reason}", pytrace=False)
    pytest.skip(str(reason))


def had(name: str) -> Server:
    """The run's shared server `name`, or the test ends here."""
    try:
        return start_shared(name)
    except Unavailable as reason:
        refuse(reason)
        raise


@pytest.fixture(scope="session")
def kafka_server() -> Server:
    """Kafka; its `name` is "tansu" where Java or Maven is missing."""
    return had("kafka")


@pytest.fixture(scope="session")
def kafka_brokers(kafka_server: Server) -> str:
    """HOST:PORT of a Kafka broker, topics made on first use with four partitions."""
    return kafka_server.address


@pytest.fixture(scope="session")
def tansu_brokers() -> str:
    return had("tansu").address


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """amqp://guest:guest@127.0.0.1:PORT/"""
    return had("rabbitmq").address


@pytest.fixture(scope="session")
def activemq_address() -> str:
    """HOST:PORT of ActiveMQ's STOMP listener; any credentials do."""
    return had("activemq").address


@pytest.fixture(scope="session")
def localstack_endpoint() -> str:
    """The URL of LocalStack (S3, SQS, SNS, Kinesis), or what EVENTMESH_TEST_AWS_ENDPOINT names."""
    address = had("localstack").address
    if address == REAL_AWS:
        pytest.skip("EVENTMESH_TEST_AWS_ENDPOINT=aws has no endpoint URL")
    return address


@pytest.fixture(scope="session")
def kinesalite_endpoint() -> str:
    return had("kinesalite").address


@pytest.fixture(scope="session")
def ministack_endpoint() -> str:
    return had("ministack").address


@pytest.fixture(scope="session")
def moto_endpoint() -> str:
    return had("moto").address


@pytest.fixture(scope="session")
def aws() -> dict[str, str]:
    """Keyword arguments of boto3.client: endpoint_url, region_name and test credentials.

    EVENTMESH_TEST_AWS_ENDPOINT takes another endpoint, with the region and credentials of the
    usual AWS variables where set; its value "aws" means AWS itself, and then there is no
    endpoint_url, and credentials only where the variables hold them.
    """
    given = os.environ if "EVENTMESH_TEST_AWS_ENDPOINT" in os.environ else {}
    address = had("localstack").address
    settings = {
        "region_name": given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or "us-east-1"
    }
    if address != REAL_AWS:
        settings |= {
            "endpoint_url": address,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
    keys = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return settings | {key: given[key.upper()] for key in keys if given.get(key.upper())}


@pytest.fixture(scope="session")
def aws_client(aws: dict[str, str]) -> Iterator[AWSClient]:
    """`aws_client("sqs")`: a boto3 client of the AWS under test, closed at the end."""
    with ExitStack() as clients:

        def client(service: str) -> Any:
            made = _client(service, dict(aws))
            clients.callback(made.close)
            return made

        yield client


def _client(service: str, settings: dict[str, str]) -> Any:
    """LocalStack is asked through its own client library, anything else through boto3's."""
    if "EVENTMESH_TEST_AWS_ENDPOINT" in os.environ:
        return boto3.client(service, **settings)
    host = settings.pop("endpoint_url").removeprefix("http://")
    with pytest.MonkeyPatch.context() as variables:
        variables.delenv("AWS_ENDPOINT_URL", raising=False)  # it would win over the host
        variables.delenv("USE_SSL", raising=False)
        return LocalStackSession(localstack_host=host, **settings).client(service)


@pytest.fixture
def private_server() -> Iterator[StartPrivate]:
    """`private_server("rabbitmq")`: one to stop, kill and restart, gone after the test."""
    with ExitStack() as servers:

        def start(name: str) -> PrivateServer:
            try:
                return servers.enter_context(start_private(name))
            except Unavailable as reason:
                refuse(reason)
                raise

        yield start


@pytest.fixture
def proxied_server() -> Iterator[StartProxied]:
    """`proxied_server("kafka")`: a private server that is reached through a FaultProxy."""
    with ExitStack() as parts:

        def start(name: str) -> tuple[PrivateServer, FaultProxy]:
            proxy = parts.enter_context(FaultProxy())
            try:
                server = parts.enter_context(start_private(name, advertised=proxy.port))
            except Unavailable as reason:
                refuse(reason)
                raise
            proxy.forward_to(server.port)
            return server, proxy

        yield start
