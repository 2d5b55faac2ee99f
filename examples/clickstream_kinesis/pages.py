"""An ordinary Kinesis-triggered Lambda handler with a tumbling window: views per page.

What it returns as `state` it is given with the next batch of the same shard and window; the last
call of a window has no records and writes the report.
"""

import base64
import json
import os
from pathlib import Path

REPORT = Path(os.environ["REPORT"])


def handler(event, context):
    views = event["state"]
    for record in event["Records"]:
        click = json.loads(base64.b64decode(record["kinesis"]["data"]))
        views[click["page"]] = views.get(click["page"], 0) + 1
    if event["isFinalInvokeForWindow"]:
        write_report(event, views)
        return None
    return {"state": views}


def write_report(event, views):
    """A file for each shard and window: written twice, it is there once."""
    REPORT.mkdir(parents=True, exist_ok=True)
    window, shard = event["window"], event["shardId"]
    name = f"{window['start']}-{shard}.json".replace(":", "")
    partial = REPORT / f".{name}"
    partial.write_text(json.dumps({"window": window, "shard": shard, "views": views}))
    partial.replace(REPORT / name)
    print(f"{window['start']} {shard}: {sum(views.values())} views of {len(views)} pages")
