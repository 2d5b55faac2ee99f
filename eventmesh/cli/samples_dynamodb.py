"""Sample events of DynamoDB Streams: item images in DynamoDB's typed JSON (semantics 4.2, 4.6)."""

from __future__ import annotations

import json
from typing import Any

from eventmesh.cli.samples_scene import Event, Sample, Scene, choose, parse_object
from eventmesh.cli.samples_streams import in_window

_NEW_VIEWS = ("NEW_AND_OLD_IMAGES", "NEW_IMAGE")
_OLD_VIEWS = ("NEW_AND_OLD_IMAGES", "OLD_IMAGE")


def _dynamodb(
    scene: Scene,
    *,
    table: str = "orders",
    operation: str = "INSERT",
    keys: str = '{"id": "order-1"}',
    item: str = '{"status": "shipped", "total": 42}',
    old_item: str = '{"status": "open", "total": 42}',
    view: str = "NEW_AND_OLD_IMAGES",
) -> Event:
    """`item` and `old_item` are plain JSON, without the keys."""
    choose("operation", operation, ("INSERT", "MODIFY", "REMOVE"))
    choose("view", view, (*_NEW_VIEWS, "OLD_IMAGE", "KEYS_ONLY"))
    key = parse_object("keys", keys)
    images = {"Keys": _typed_map(key)}
    if operation != "REMOVE" and view in _NEW_VIEWS:
        images["NewImage"] = _typed_map({**key, **parse_object("item", item)})
    if operation != "INSERT" and view in _OLD_VIEWS:
        images["OldImage"] = _typed_map({**key, **parse_object("old_item", old_item)})
    first = int("14" + scene.digits(22))
    stream = scene.arn("dynamodb", f"table/{table}/stream/{scene.iso_milliseconds[:-1]}")
    records = [
        {
            "eventID": scene.hexadecimal(32),
            "eventName": operation,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": scene.region,
            "dynamodb": _change(scene, images, str(first + number), view),
            "eventSourceARN": stream,
        }
        for number in range(scene.count)
    ]
    return {"Records": records}


def _dynamodb_expiry(
    scene: Scene,
    *,
    table: str = "orders",
    keys: str = '{"id": "order-1"}',
    old_item: str = '{"status": "open", "total": 42}',
) -> Event:
    """DynamoDB itself removed the item: its time to live was over."""
    event = _dynamodb(scene, table=table, operation="REMOVE", keys=keys, old_item=old_item)
    for record in event["Records"]:
        record["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    return event


def _dynamodb_window(
    scene: Scene,
    *,
    window_seconds: int = 120,
    table: str = "orders",
    operation: str = "INSERT",
    keys: str = '{"id": "order-1"}',
    item: str = '{"status": "shipped", "total": 42}',
) -> Event:
    event = _dynamodb(scene, table=table, operation=operation, keys=keys, item=item)
    shard = f"shardId-{scene.digits(20)}-{scene.hexadecimal(8)}"
    return in_window(scene, event, window_seconds, shard)


def _change(scene: Scene, images: dict[str, Event], sequence_number: str, view: str) -> Event:
    return {
        "ApproximateCreationDateTime": float(int(scene.now)),
        **images,
        "SequenceNumber": sequence_number,
        "SizeBytes": sum(_map_bytes(image) for image in images.values()),
        "StreamViewType": view,
    }


def _typed_map(values: Event) -> Event:
    return {name: _typed(value) for name, value in values.items()}


def _typed(value: Any) -> Event:
    """Plain JSON as an attribute value."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case list():
            return {"L": [_typed(member) for member in value]}
        case dict():
            return {"M": _typed_map(value)}
    return {"N": json.dumps(value)}


def _map_bytes(attributes: Event) -> int:
    return sum(len(name.encode()) + _value_bytes(value) for name, value in attributes.items())


def _value_bytes(attribute: Event) -> int:
    """As DynamoDB counts: text as UTF-8, two digits of a number a byte, containers three more."""
    ((kind, value),) = attribute.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return (sum(map(str.isdigit, value)) + 1) // 2 + 1
        case "L":
            return 3 + sum(1 + _value_bytes(member) for member in value)
        case "M":
            return 3 + len(value) + _map_bytes(value)
    return 1


DYNAMODB_SAMPLES = {
    "dynamodb": Sample("changes of a DynamoDB table", _dynamodb, batched=True),
    "dynamodb-expiry": Sample("expired items of a DynamoDB table", _dynamodb_expiry, batched=True),
    "dynamodb-window": Sample(
        "changes of a table in a tumbling window", _dynamodb_window, batched=True
    ),
}
