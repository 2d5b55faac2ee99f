"""Sample events of streams: Kinesis, Kafka, DocumentDB (semantics 4.2, 4.6, 6.1, 7.4)."""

from __future__ import annotations

from datetime import UTC, datetime

from eventmesh.cli.samples_scene import Event, Sample, Scene, choose, encode_text, parse_object


def _kinesis(
    scene: Scene,
    *,
    stream: str = "my-stream",
    data: str = '{"order": 1}',
    partition_key: str = "order-1",
    shard: str = "shardId-000000000000",
) -> Event:
    first = int("49" + scene.digits(54))
    records = [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": partition_key,
                "sequenceNumber": str(first + number),
                "data": encode_text(data),
                "approximateArrivalTimestamp": scene.milliseconds / 1000,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard}:{first + number}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": f"arn:aws:iam::{scene.account}:role/lambda-role",
            "awsRegion": scene.region,
            "eventSourceARN": scene.arn("kinesis", f"stream/{stream}"),
        }
        for number in range(scene.count)
    ]
    return {"Records": records}


def _kinesis_window(
    scene: Scene,
    *,
    window_seconds: int = 120,
    stream: str = "my-stream",
    data: str = '{"order": 1}',
    partition_key: str = "order-1",
    shard: str = "shardId-000000000000",
) -> Event:
    event = _kinesis(scene, stream=stream, data=data, partition_key=partition_key, shard=shard)
    return in_window(scene, event, window_seconds, shard)


def in_window(scene: Scene, event: Event, seconds: int, shard: str) -> Event:
    """A batch as the first of the tumbling window around `now` (semantics 4.6)."""
    if not 0 < seconds <= 900:
        raise ValueError(f"window_seconds: {seconds} is not between 1 and 900")
    start = int(scene.now // seconds * seconds)
    return event | {
        "window": {"start": _edge(start), "end": _edge(start + seconds)},
        "state": {},
        "shardId": shard,
        "eventSourceARN": event["Records"][0]["eventSourceARN"],
        "isFinalInvokeForWindow": False,
        "isWindowTerminatedEarly": False,
    }


def _edge(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _kafka(
    scene: Scene,
    *,
    topic: str = "orders",
    partition: int = 0,
    offset: int = 15,
    key: str = "order-1",
    value: str = '{"order": 1}',
    headers: str = "{}",
) -> Event:
    servers = (f"b-{n}.my-cluster.kafka.{scene.region}.amazonaws.com:9092" for n in (1, 2))
    return {
        "eventSource": "aws:kafka",
        "eventSourceArn": scene.arn("kafka", f"cluster/my-cluster/{scene.uuid()}-1"),
        "bootstrapServers": ",".join(servers),
        "records": _kafka_records(scene, topic, partition, offset, key, value, headers),
    }


def _kafka_self_managed(
    scene: Scene,
    *,
    topic: str = "orders",
    partition: int = 0,
    offset: int = 15,
    key: str = "order-1",
    value: str = '{"order": 1}',
    headers: str = "{}",
) -> Event:
    return {
        "eventSource": "SelfManagedKafka",
        "bootstrapServers": "kafka-1.example.com:9092,kafka-2.example.com:9092",
        "records": _kafka_records(scene, topic, partition, offset, key, value, headers),
    }


def _kafka_records(
    scene: Scene, topic: str, partition: int, offset: int, key: str, value: str, headers: str
) -> Event:
    """By topic and partition. An empty key or value stands for none (a tombstone)."""
    pairs = parse_object("headers", headers).items()
    record = {
        "timestamp": scene.milliseconds,
        "timestampType": "CREATE_TIME",
        "key": encode_text(key) if key else None,
        "value": encode_text(value) if value else None,
        "headers": [{name: list(str(content).encode())} for name, content in pairs],
    }
    return {
        f"{topic}-{partition}": [
            {"topic": topic, "partition": partition, "offset": offset + number, **record}
            for number in range(scene.count)
        ]
    }


def _documentdb(
    scene: Scene,
    *,
    cluster: str = "my-cluster",
    database: str = "shop",
    collection: str = "orders",
    operation: str = "insert",
    document: str = '{"status": "shipped", "total": 42}',
) -> Event:
    choose("operation", operation, ("insert", "update", "delete"))
    content = parse_object("document", document)
    return {
        "eventSourceArn": scene.arn("rds", f"cluster:{cluster}"),
        "eventSource": "aws:docdb",
        "events": [
            {"event": _documentdb_change(scene, number, database, collection, operation, content)}
            for number in range(1, scene.count + 1)
        ],
    }


def _documentdb_change(
    scene: Scene, number: int, database: str, collection: str, operation: str, content: Event
) -> Event:
    """In MongoDB's extended JSON; updates as with the `UpdateLookup` setting."""
    identifier = {"_id": {"$oid": f"{int(scene.now):08x}{scene.hexadecimal(16)}"}}
    change: Event = {
        "_id": {"_data": f"01{int(scene.now):08x}{number:08x}01{number:08x}{scene.hexadecimal(4)}"},
        "clusterTime": {"$timestamp": {"t": int(scene.now), "i": number}},
        "documentKey": identifier,
    }
    if operation != "delete":
        change["fullDocument"] = {**identifier, **content}
    change |= {"ns": {"db": database, "coll": collection}, "operationType": operation}
    if operation == "update":
        change["updateDescription"] = {"removedFields": [], "updatedFields": content}
    return change


STREAM_SAMPLES = {
    "documentdb": Sample("changes of a DocumentDB collection", _documentdb, batched=True),
    "kafka": Sample("records of an Amazon MSK topic", _kafka, batched=True),
    "kafka-self-managed": Sample("records of a Kafka topic", _kafka_self_managed, batched=True),
    "kinesis": Sample("records of a Kinesis stream", _kinesis, batched=True),
    "kinesis-window": Sample(
        "records of a stream in a tumbling window", _kinesis_window, batched=True
    ),
}
