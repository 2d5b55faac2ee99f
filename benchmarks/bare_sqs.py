"""The least a worker can do: receive, call the handler, delete; so many loops in one process.

`bare_sqs.py ENDPOINT URL LOOPS COUNT`, with the handlers' directory on PYTHONPATH."""

import asyncio
import sys

import app
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session


def build_event(messages, arn):
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message.get("Attributes", {}),
                "messageAttributes": {},
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "awsRegion": "us-east-1",
            }
            for message in messages
        ]
    }


async def work(client, url, arn, left):
    while left[0] > 0:
        answer = await client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        if messages:
            app.sqs(build_event(messages, arn), None)
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ]
            await client.delete_message_batch(QueueUrl=url, Entries=entries)
            left[0] -= len(messages)


async def run(endpoint, url, loops, count):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    config = AioConfig(max_pool_connections=50)
    async with get_session().create_client(
        "sqs", "us-east-1", endpoint_url=endpoint, config=config, **keys
    ) as client:
        arn = f"arn:aws:sqs:us-east-1:000000000000:{url.rpartition('/')[2]}"
        left = [count]
        await asyncio.gather(*(work(client, url, arn, left) for _ in range(loops)))


endpoint, url, loops, count = sys.argv[1:]
asyncio.run(run(endpoint, url, int(loops), int(count)))
