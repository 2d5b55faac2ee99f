"""RabbitMQ: queues whose messages invoke functions, queues and exchanges that payloads are sent to
(semantics 7.2, 7.3)."""

from __future__ import annotations

from eventmesh.connectors import Connector
from eventmesh_connectors.rabbitmq.destination import RabbitMqDestination
from eventmesh_connectors.rabbitmq.options import RabbitMqDestinationOptions, RabbitMqOptions
from eventmesh_connectors.rabbitmq.samples import SAMPLE_EVENTS
from eventmesh_connectors.rabbitmq.source import RabbitMqSource

connector = Connector(
    summary="RabbitMQ queues, and exchanges as destinations",
    source_options=RabbitMqOptions,
    source=RabbitMqSource,
    destination_options=RabbitMqDestinationOptions,
    destination=RabbitMqDestination,
    sample_events=SAMPLE_EVENTS,
)

__all__ = [
    "RabbitMqDestination",
    "RabbitMqDestinationOptions",
    "RabbitMqOptions",
    "RabbitMqSource",
    "connector",
]
