"""The event as handlers see it, made by the writer that makes the real ones."""

from __future__ import annotations

from typing import Any

import orjson

from eventmesh_connectors.activemq.events import RecordWriter, build_arn

_HEADERS = {
    "message-id": "ID:broker-34941-1598827811958-4:1:1:1:1",
    "destination": "/queue/orders",
    "persistent": "true",
    "priority": "4",
    "expires": "0",
    "timestamp": "1774245600000",
    "kind": "paid",
}


def _sample() -> Any:
    writer = RecordWriter(build_arn("us-east-1", "000000000000", "localhost", 61613))
    body = b'{"order": 1, "total": 12.5}'
    record = writer.write(_HEADERS, body, 1_774_245_600.001, None, again=False)
    return orjson.loads(writer.join([record]))


SAMPLE_EVENTS = {"activemq": _sample()}
