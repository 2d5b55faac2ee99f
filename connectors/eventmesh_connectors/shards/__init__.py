"""What the sources of sharded AWS streams share: following the shards, reading one."""

from __future__ import annotations

from eventmesh_connectors.shards.api import (
    Iterator,
    IteratorExpired,
    Listing,
    Page,
    ShardApi,
    ShardGone,
    Start,
    Throttled,
)
from eventmesh_connectors.shards.events import describe_batch, join_records, read_fields
from eventmesh_connectors.shards.faults import signals
from eventmesh_connectors.shards.reader import Pace, SequenceReader
from eventmesh_connectors.shards.source import ShardedSource

__all__ = [
    "Iterator",
    "IteratorExpired",
    "Listing",
    "Pace",
    "Page",
    "SequenceReader",
    "ShardApi",
    "ShardGone",
    "ShardedSource",
    "Start",
    "Throttled",
    "describe_batch",
    "join_records",
    "read_fields",
    "signals",
]
