"""Kafka: topics run a function, record batches in the shape of Lambda's; payloads are written to a
topic."""

from eventmesh.connectors import Connector

from .destination import KafkaDestination, KafkaDestinationOptions
from .options import KafkaOptions
from .samples import SAMPLE_EVENTS
from .source import KafkaSource

__all__ = [
    "KafkaDestination",
    "KafkaDestinationOptions",
    "KafkaOptions",
    "KafkaSource",
    "connector",
]

connector = Connector(
    summary="Kafka topics run a function; payloads are written to a topic",
    source_options=KafkaOptions,
    source=KafkaSource,
    destination_options=KafkaDestinationOptions,
    destination=KafkaDestination,
    sample_events=SAMPLE_EVENTS,
)
