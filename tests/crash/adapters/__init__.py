"""The sources under test by name. An adapter is `reset`, `produce` (which says what is
acknowledged) and `failed`."""

from __future__ import annotations

from tests.crash.adapters.contract import Adapter
from tests.crash.adapters.directory import DirectoryAdapter
from tests.crash.adapters.http_async import HttpAsyncAdapter
from tests.crash.adapters.kafka import KafkaAdapter
from tests.crash.adapters.kinesis import KinesisAdapter, LanesAdapter
from tests.crash.adapters.rabbitmq import RabbitMqAdapter
from tests.crash.adapters.sqs import FifoAdapter, SqsAdapter

ADAPTERS: dict[str, type[Adapter]] = {
    "http-async": HttpAsyncAdapter,
    "directory": DirectoryAdapter,
    "kinesis": KinesisAdapter,
    "kinesis-lanes": LanesAdapter,
    "kafka": KafkaAdapter,
    "rabbitmq": RabbitMqAdapter,
    "sqs": SqsAdapter,
    "sqs-fifo": FifoAdapter,
}
