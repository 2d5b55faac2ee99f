"""A scheduled handler with a constant input of its own."""

import os
import time


def handler(event, context):
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {event['kind']} report {context.aws_request_id}\n"
    with open(os.environ["REPORT"], "a") as report:
        report.write(line)
    return line
