"""Kinesis data streams: functions called with batches of a shard's records (semantics 4)."""

from __future__ import annotations

from eventmesh.connectors import Connector
from eventmesh_connectors.kinesis.options import KinesisOptions
from eventmesh_connectors.kinesis.samples import SAMPLE_EVENTS
from eventmesh_connectors.kinesis.source import KinesisSource

connector = Connector(
    summary="A Kinesis data stream, shard by shard",
    source_options=KinesisOptions,
    source=KinesisSource,
    sample_events=SAMPLE_EVENTS,
)

__all__ = ["KinesisOptions", "KinesisSource", "connector"]
