"""An ordinary SQS-triggered Lambda handler: writes letters, says which messages it could not do."""

import json
import os
from pathlib import Path

OUTBOX = Path(os.environ["OUTBOX"])


def handler(event, context):
    OUTBOX.mkdir(parents=True, exist_ok=True)
    failures = []
    for record in event["Records"]:
        try:
            write_letter(json.loads(record["body"]), record["messageId"])
        except (KeyError, ValueError) as error:
            print(f"{record['messageId']} failed: {error!r}")
            failures.append({"itemIdentifier": record["messageId"]})
    print(f"{len(event['Records']) - len(failures)} letters written")
    return {"batchItemFailures": failures}


def write_letter(job, message_id):
    """A letter's name is its message's: done twice, it is there once."""
    if "@" not in job["to"]:
        raise ValueError(f"{job['to']!r} is no address")
    letter = OUTBOX / f"{message_id}.txt"
    partial = letter.with_suffix(".part")
    partial.write_text(f"To: {job['to']}\n\nDear customer {job['number']}, thank you.\n")
    partial.replace(letter)
