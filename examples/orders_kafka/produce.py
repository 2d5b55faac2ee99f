"""Writes orders to the topic: python produce.py [COUNT]. Each is created, paid and shipped under
its own key; every tenth has a twin without an amount, and heartbeats come between."""

import asyncio
import json
import os
import sys
import time

from aiokafka import AIOKafkaProducer

TOPIC = os.environ.get("TOPIC", "orders")
BROKERS = os.environ.get("KAFKA_BROKERS", "127.0.0.1:9092")


async def produce(count):
    run = int(time.time())
    async with AIOKafkaProducer(bootstrap_servers=BROKERS) as producer:

        async def send(key, **event):
            await producer.send(TOPIC, json.dumps(event).encode(), key=key.encode())

        for number in range(count):
            for step in ("created", "paid", "shipped"):
                order = {"id": f"order-{run}-{number}", "amount": 10 + number}
                await send(order["id"], type=f"order.{step}", **order)
            await send("clock", type="heartbeat")
            if number % 10 == 0:
                free = f"free-{run}-{number}"
                await send(free, type="order.created", id=free, amount=0)
    print(f"{count} orders written to {TOPIC} at {BROKERS}")


if __name__ == "__main__":
    asyncio.run(produce(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
