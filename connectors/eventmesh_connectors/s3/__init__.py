"""A directory as an S3 bucket: files that come, change and go as S3 events (semantics 8.1)."""

from __future__ import annotations

from eventmesh.connectors import Connector
from eventmesh_connectors.s3.options import S3Options
from eventmesh_connectors.s3.samples import SAMPLE_EVENTS
from eventmesh_connectors.s3.source import S3Source

connector = Connector(
    summary="A directory as an S3 bucket",
    source_options=S3Options,
    source=S3Source,
    sample_events=SAMPLE_EVENTS,
)

__all__ = ["S3Options", "S3Source", "connector"]
