"""Sample events of queues: SQS, ActiveMQ, RabbitMQ (semantics 5.1, 7.1, 7.2)."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

from eventmesh.cli.samples_scene import Event, Sample, Scene, encode_text, parse_object


def _sqs(
    scene: Scene,
    *,
    queue: str = "my-queue",
    body: str = '{"order": 1}',
    attributes: str = "{}",
    receive_count: int = 1,
) -> Event:
    values = parse_object("attributes", attributes)
    return {
        "Records": [
            _sqs_record(scene, queue, body, values, receive_count) for _ in range(scene.count)
        ]
    }


def _sqs_fifo(
    scene: Scene,
    *,
    queue: str = "my-queue.fifo",
    body: str = '{"order": 1}',
    attributes: str = "{}",
    receive_count: int = 1,
    group: str = "group-1",
) -> Event:
    event = _sqs(scene, queue=queue, body=body, attributes=attributes, receive_count=receive_count)
    first = 18_849_496_460_467_696_128 + scene.random.randrange(10**15)
    for number, record in enumerate(event["Records"]):
        record["attributes"] |= {
            "SequenceNumber": str(first + 256 * number),
            "MessageGroupId": group,
            "MessageDeduplicationId": scene.uuid(),
        }
    return event


def _sqs_record(
    scene: Scene, queue: str, body: str, values: dict[str, Any], receive_count: int
) -> Event:
    record: Event = {
        "messageId": scene.uuid(),
        "receiptHandle": f"AQEB{scene.token(96)}",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(receive_count),
            "SentTimestamp": str(scene.milliseconds),
            "SenderId": f"AIDA{scene.letters(17)}",
            "ApproximateFirstReceiveTimestamp": str(scene.milliseconds + 2),
        },
        "messageAttributes": {name: _sqs_attribute(value) for name, value in values.items()},
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": scene.arn("sqs", queue),
        "awsRegion": scene.region,
    }
    if values:
        record["md5OfMessageAttributes"] = _md5_of_attributes(record["messageAttributes"])
    return record


def _sqs_attribute(value: Any) -> Event:
    is_text = isinstance(value, str)
    return {
        "stringValue": value if is_text else json.dumps(value),
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": "String" if is_text else "Number",
    }


def _md5_of_attributes(attributes: Event) -> str:
    """SQS's digest: each attribute in order of name, every part with its length before it."""
    digest = hashlib.md5(usedforsecurity=False)
    for name, attribute in sorted(attributes.items()):
        parts = [part.encode() for part in (name, attribute["dataType"], attribute["stringValue"])]
        framed = [struct.pack(">I", len(part)) + part for part in parts]
        digest.update(framed[0] + framed[1] + b"\x01" + framed[2])
    return digest.hexdigest()


def _activemq(
    scene: Scene,
    *,
    broker: str = "my-broker",
    queue: str = "orders",
    body: str = '{"order": 1}',
    properties: str = "{}",
    binary: bool = False,
) -> Event:
    message = {
        "messageType": "jms/bytes-message" if binary else "jms/text-message",
        "deliveryMode": 1,
        "replyTo": None,
        "type": None,
        "expiration": "60000",
        "priority": 1,
        "correlationId": f"order-{scene.digits(6)}",
        "redelivered": False,
        "destination": {"physicalName": queue},
        "data": encode_text(body),
        "timestamp": scene.milliseconds,
        "brokerInTime": scene.milliseconds,
        "brokerOutTime": scene.milliseconds + 1,
        "properties": parse_object("properties", properties),
    }
    producer = f"ID:{_broker_host(scene)}-{scene.digits(5)}-{scene.milliseconds}-4:1:1:1"
    return {
        "eventSource": "aws:mq",
        "eventSourceArn": _broker_arn(scene, broker),
        "messages": [
            {"messageID": f"{producer}:{number}", **message} for number in range(1, scene.count + 1)
        ],
    }


def _rabbitmq(
    scene: Scene,
    *,
    broker: str = "my-broker",
    queue: str = "orders",
    virtual_host: str = "/",
    body: str = '{"order": 1}',
    headers: str = "{}",
    content_type: str = "application/json",
) -> Event:
    values = parse_object("headers", headers)
    properties = {
        "contentType": content_type,
        "contentEncoding": None,
        "headers": {name: _rabbitmq_header(value) for name, value in values.items()},
        "deliveryMode": 1,
        "priority": 0,
        "correlationId": None,
        "replyTo": None,
        "expiration": "60000",
        "messageId": None,
        "timestamp": scene.american_time,
        "type": None,
        "userId": f"AIDA{scene.letters(17)}",
        "appId": None,
        "clusterId": None,
        "bodySize": len(body.encode()),
    }
    message = {"basicProperties": properties, "redelivered": False, "data": encode_text(body)}
    return {
        "eventSource": "aws:rmq",
        "eventSourceArn": _broker_arn(scene, broker),
        "rmqMessagesByQueue": {f"{queue}::{virtual_host}": [message] * scene.count},
    }


def _rabbitmq_header(value: Any) -> Any:
    return {"bytes": list(value.encode())} if isinstance(value, str) else value


def _broker_arn(scene: Scene, broker: str) -> str:
    return scene.arn("mq", f"broker:{broker}:b-{scene.uuid()}")


def _broker_host(scene: Scene) -> str:
    return f"b-{scene.uuid()}-1.mq.{scene.region}.amazonaws.com"


QUEUE_SAMPLES = {
    "activemq": Sample("messages of an ActiveMQ queue", _activemq, batched=True),
    "rabbitmq": Sample("messages of a RabbitMQ queue", _rabbitmq, batched=True),
    "sqs": Sample("messages of a standard SQS queue", _sqs, batched=True),
    "sqs-fifo": Sample("messages of an SQS FIFO queue", _sqs_fifo, batched=True),
}
