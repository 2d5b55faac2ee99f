"""FastStream's batch subscriber, acknowledging after the handler; runs in the peers' environment.

`faststream_kafka.py BROKERS TOPIC GROUP BATCH COUNT`. Its handler is given the values, decoded."""

import asyncio
import sys

import app
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker

brokers, topic, group, batch_size, count = sys.argv[1:]
left = int(count)
broker = KafkaBroker(brokers, logger=None)
application = FastStream(broker, logger=None)


@broker.subscriber(
    topic,
    batch=True,
    max_records=int(batch_size),
    group_id=group,
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.NACK_ON_ERROR,
)
async def handle(orders: list[dict]) -> None:
    global left
    app.mark(len(orders))
    left -= len(orders)
    if left <= 0:
        application.exit()


asyncio.run(application.run())
