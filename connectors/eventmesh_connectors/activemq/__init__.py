"""ActiveMQ Classic over STOMP: queues whose messages invoke functions, and that payloads are sent
to (semantics 7.1, 7.3)."""

from __future__ import annotations

from eventmesh.connectors import Connector
from eventmesh_connectors.activemq.destination import ActiveMqDestination
from eventmesh_connectors.activemq.options import ActiveMqDestinationOptions, ActiveMqOptions
from eventmesh_connectors.activemq.samples import SAMPLE_EVENTS
from eventmesh_connectors.activemq.source import ActiveMqSource

connector = Connector(
    summary="ActiveMQ queues, over STOMP",
    source_options=ActiveMqOptions,
    source=ActiveMqSource,
    destination_options=ActiveMqDestinationOptions,
    destination=ActiveMqDestination,
    sample_events=SAMPLE_EVENTS,
)

__all__ = [
    "ActiveMqDestination",
    "ActiveMqDestinationOptions",
    "ActiveMqOptions",
    "ActiveMqSource",
    "connector",
]
