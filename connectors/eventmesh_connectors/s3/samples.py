"""The events as handlers see them, made by the writer that makes the real ones."""

from __future__ import annotations

from typing import Any

import orjson

from eventmesh_connectors.s3.catalogue import Catalogue, Change, ChangeKind, parse_position
from eventmesh_connectors.s3.events import EventWriter

_TIME = 1_711_032_638.511
_ENTRY = parse_position("2a-400-17becbd8f1c53fc0-0cc175b9c0f1b6a831c399e269772661")


def _sample(kind: ChangeKind, entry: bytes | None) -> Any:
    writer = EventWriter(
        bucket_name="uploads", directory=b"/srv/uploads", mapping="uploads", region="us-east-1"
    )
    change = Change(b"pictures/happy face.jpg", kind, entry)
    return orjson.loads(writer.write([change], frozenset({kind}), Catalogue(), _TIME)[0])


SAMPLE_EVENTS = {
    "s3-put": _sample(ChangeKind.PUT, _ENTRY),
    "s3-delete": _sample(ChangeKind.DELETE, None),
}
