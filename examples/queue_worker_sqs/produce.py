"""Sends jobs to the queue, which it makes: python produce.py [COUNT]. Every tenth has an address
that is none, and some are of a kind that nobody asked for."""

import json
import os
import sys

from botocore.session import get_session

QUEUE = os.environ.get("QUEUE", "jobs")


def connect():
    """A client of AWS, or of the server that AWS_ENDPOINT_URL names, which needs no account."""
    region = os.environ.get("AWS_REGION", "us-east-1")
    keys = {}
    if "AWS_ENDPOINT_URL" in os.environ:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return get_session().create_client("sqs", region, **keys)


def jobs(count):
    for number in range(count):
        address = "nobody" if number % 10 == 9 else f"customer{number}@example.org"
        yield {"kind": "email", "number": number, "to": address}
        if number % 5 == 0:
            yield {"kind": "audit", "number": number}


def produce(count):
    sqs = connect()
    url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
    bodies = [json.dumps(job) for job in jobs(count)]
    for start in range(0, len(bodies), 10):
        part = enumerate(bodies[start : start + 10])
        entries = [{"Id": str(number), "MessageBody": body} for number, body in part]
        answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
        assert not answer.get("Failed"), answer["Failed"]
    print(f"{len(bodies)} jobs sent to {url}")


if __name__ == "__main__":
    produce(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
