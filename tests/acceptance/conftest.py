from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.acceptance.engine import Engine
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

MakeEngine = Callable[..., Engine]


@pytest.fixture
def make_engine(tmp_path: Path) -> Iterator[MakeEngine]:
    """Build engines that are killed when the test ends, from a path or a text of mappings."""
    engines: list[Engine] = []

    def make(config: Path | str, environ: Mapping[str, str] | None = None) -> Engine:
        if isinstance(config, str):
            file = tmp_path / "mappings.yaml"
            file.write_text(config)
        else:
            file = config
        engine = Engine(file, tmp_path, environ)
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.kill()
