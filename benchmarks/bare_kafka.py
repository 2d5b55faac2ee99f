"""The least a consumer can do: read, build Lambda's event, call the handler, commit; one process.

`bare_kafka.py BROKERS TOPIC GROUP BATCH COUNT`, with the handlers' directory on PYTHONPATH."""

import asyncio
import sys
from base64 import b64encode

import app
from aiokafka import AIOKafkaConsumer


def build_event(brokers, batch):
    records = {}
    for partition, messages in batch.items():
        topic, number = partition
        records[f"{topic}-{number}"] = [
            {
                "topic": topic,
                "partition": number,
                "offset": message.offset,
                "timestamp": message.timestamp,
                "timestampType": "LOG_APPEND_TIME" if message.timestamp_type else "CREATE_TIME",
                "key": None if message.key is None else b64encode(message.key).decode(),
                "value": None if message.value is None else b64encode(message.value).decode(),
                "headers": [{name: list(value)} for name, value in message.headers],
            }
            for message in messages
        ]
    return {"eventSource": "SelfManagedKafka", "bootstrapServers": brokers, "records": records}


async def consume(brokers, topic, group, batch_size, count):
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=brokers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with consumer:
        while count > 0:
            batch = await consumer.getmany(timeout_ms=1000, max_records=batch_size)
            if batch:
                app.kafka(build_event(brokers, batch), None)
                await consumer.commit()
                count -= sum(map(len, batch.values()))


brokers, topic, group, batch_size, count = sys.argv[1:]
asyncio.run(consume(brokers, topic, group, int(batch_size), int(count)))
