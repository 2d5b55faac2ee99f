"""Real servers for the connectors' tests."""

from tests.servers.fixtures import (
    activemq_address,
    aws,
    aws_client,
    kafka_brokers,
    kafka_server,
    kinesalite_endpoint,
    localstack_endpoint,
    ministack_endpoint,
    moto_endpoint,
    private_server,
    proxied_server,
    pytest_collection_modifyitems,
    rabbitmq_url,
    tansu_brokers,
)

__all__ = [
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
    "pytest_collection_modifyitems",
    "rabbitmq_url",
    "tansu_brokers",
]
