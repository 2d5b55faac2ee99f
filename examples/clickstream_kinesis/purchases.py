"""An ordinary Kinesis-triggered Lambda handler: one line for each purchase, in a file per visitor.

It stops at the first record that it cannot book and names it: what came before is done, the rest
comes again from there.
"""

import base64
import json
import os
from pathlib import Path

PURCHASES = Path(os.environ["PURCHASES"])


def handler(event, context):
    PURCHASES.mkdir(parents=True, exist_ok=True)
    for record in event["Records"]:
        number = record["kinesis"]["sequenceNumber"]
        try:
            book(json.loads(base64.b64decode(record["kinesis"]["data"])), number)
        except (KeyError, ValueError) as error:
            print(f"{number} failed: {error!r}")
            return {"batchItemFailures": [{"itemIdentifier": number}]}
    return {"batchItemFailures": []}


def book(purchase, number):
    """Records come at least once: one that is in the file already is left out."""
    price = float(purchase["price"])
    file = PURCHASES / f"{purchase['visitor']}.tsv"
    booked = file.read_text() if file.exists() else ""
    if f"{number}\t" not in booked:
        with file.open("a") as lines:
            lines.write(f"{number}\t{purchase['item']}\t{price:.2f}\n")
