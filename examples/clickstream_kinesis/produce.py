"""Writes clicks to the stream, which it makes with two shards: python produce.py [COUNT].

Every tenth click is a purchase, and every hundredth one without a price that can be read.
"""

import json
import os
import sys
import time

from botocore.session import get_session

STREAM = os.environ.get("STREAM", "clicks")
PAGES = ("/", "/shop", "/cart")


def connect():
    """A client of AWS, or of the server that AWS_ENDPOINT_URL_KINESIS names: no account needed."""
    region = os.environ.get("AWS_REGION", "us-east-1")
    keys = {}
    if "AWS_ENDPOINT_URL_KINESIS" in os.environ:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return get_session().create_client("kinesis", region, **keys)


def make_stream(kinesis):
    try:
        kinesis.create_stream(StreamName=STREAM, ShardCount=2)
    except kinesis.exceptions.ResourceInUseException:
        return
    while True:
        answer = kinesis.describe_stream_summary(StreamName=STREAM)
        if answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
            return
        time.sleep(0.1)


def clicks(count):
    for number in range(count):
        visitor = f"visitor-{number // 10 % 7}"
        if number % 10 == 9:
            price = "a gift" if number % 100 == 99 else number / 10
            item = f"item-{number}"
            yield {"type": "purchase", "visitor": visitor, "item": item, "price": price}
        else:
            yield {"type": "view", "visitor": visitor, "page": PAGES[number % len(PAGES)]}


def produce(count):
    kinesis = connect()
    make_stream(kinesis)
    records = [
        {"Data": json.dumps(click).encode(), "PartitionKey": click["visitor"]}
        for click in clicks(count)
    ]
    for start in range(0, count, 500):
        part = records[start : start + 500]
        answer = kinesis.put_records(StreamName=STREAM, Records=part)
        assert not answer["FailedRecordCount"], answer
    print(f"{count} clicks written to {STREAM}")


if __name__ == "__main__":
    produce(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
