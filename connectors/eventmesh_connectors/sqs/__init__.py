"""Amazon SQS: queues whose messages invoke functions, and that payloads are sent to (semantics
5)."""

from __future__ import annotations

from eventmesh.connectors import Connector
from eventmesh_connectors.sqs.destination import SqsDestination
from eventmesh_connectors.sqs.options import SqsDestinationOptions, SqsOptions
from eventmesh_connectors.sqs.samples import SAMPLE_EVENTS
from eventmesh_connectors.sqs.source import SqsSource

connector = Connector(
    summary="Amazon SQS queues, standard and FIFO",
    source_options=SqsOptions,
    source=SqsSource,
    destination_options=SqsDestinationOptions,
    destination=SqsDestination,
    sample_events=SAMPLE_EVENTS,
)

__all__ = ["SqsDestination", "SqsDestinationOptions", "SqsOptions", "SqsSource", "connector"]
