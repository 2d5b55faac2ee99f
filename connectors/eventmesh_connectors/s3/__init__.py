"""Buckets: a directory, or one of a real S3; objects that come, change and go as S3 events
(semantics 8.1)."""

from __future__ import annotations

from eventmesh.connectors import Connector
from eventmesh_connectors.s3.building import build_destination, build_source
from eventmesh_connectors.s3.options import S3DestinationOptions, S3Options
from eventmesh_connectors.s3.samples import SAMPLE_EVENTS
from eventmesh_connectors.s3.source import S3Source

connector = Connector(
    summary="Buckets: a directory, or one of a real S3",
    source_options=S3Options,
    source=build_source,
    destination_options=S3DestinationOptions,
    destination=build_destination,
    sample_events=SAMPLE_EVENTS,
)

__all__ = ["S3DestinationOptions", "S3Options", "S3Source", "connector"]
