"""The function under test: it appends what it is given, a line a record, and fails where told.

Ids say what becomes of them: `u3-17` is handled, `u3-17p` (poison) always raises, `u3-17f` (flaky)
raises once. Copied beside the mappings file and run by the engine; imports nothing of it.
"""

import base64
import json
import os
import random
import time
import urllib.parse

_OUT = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
_FLAKES = os.environ["FLAKES"]
_BOOT = int(os.environ["BOOT"])
_SLEEP = float(os.environ["SLEEP"])


def _write(**line):
    """One line by one write on an appending descriptor: whole, whoever is killed when."""
    line |= {"boot": _BOOT, "pid": os.getpid(), "t": time.time()}
    os.write(_OUT, (json.dumps(line) + "\n").encode())


def _decoded(text):
    return base64.b64decode(text).decode()


def _items(event):
    """Pairs of id, and what a failure record calls the record."""
    if "id" in event:
        yield event["id"], event["id"]
    elif "rmqMessagesByQueue" in event:
        for messages in event["rmqMessagesByQueue"].values():
            for message in messages:
                value = _decoded(message["data"])
                yield value, message["basicProperties"].get("messageId") or value
    elif "records" in event:
        for shard, records in event["records"].items():
            for record in records:
                yield _decoded(record["value"]), f"{shard}:{record['offset']}"
    else:
        yield from map(_item, event["Records"])


def _item(record):
    if "kinesis" in record:
        return _decoded(record["kinesis"]["data"]), record["kinesis"]["sequenceNumber"]
    if "s3" in record:
        key = urllib.parse.unquote_plus(record["s3"]["object"]["key"])
        return key, key
    return record["body"], record["messageId"]


def _fail(identifier, name, invocation):
    """Whether this record raises now; said before it does."""
    if identifier.endswith("f"):
        try:
            os.close(os.open(os.path.join(_FLAKES, identifier), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
    elif not identifier.endswith("p"):
        return False
    _write(raised=identifier, name=name, inv=invocation)
    return True


def record(event, context):
    invocation = f"{context.aws_request_id}/{random.random()}"
    time.sleep(random.uniform(0, _SLEEP))
    for identifier, name in _items(event):
        if _fail(identifier, name, invocation):
            raise RuntimeError(identifier)
        _write(id=identifier, inv=invocation)
