"""DynamoDB Streams: functions called with the changes of a table's items (semantics 4)."""

from __future__ import annotations

from eventmesh.connectors import Connector
from eventmesh_connectors.dynamodb.options import DynamoDbOptions
from eventmesh_connectors.dynamodb.samples import SAMPLE_EVENTS
from eventmesh_connectors.dynamodb.source import DynamoDbSource

connector = Connector(
    summary="The changes of a DynamoDB table's items",
    source_options=DynamoDbOptions,
    source=DynamoDbSource,
    sample_events=SAMPLE_EVENTS,
)

__all__ = ["DynamoDbOptions", "DynamoDbSource", "connector"]
