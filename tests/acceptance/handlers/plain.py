"""Handlers that behave."""

import asyncio
import decimal
import functools
import json
import logging
import os
import subprocess
import sys
import time

calls = 0
logger = logging.getLogger("orders")
logger.setLevel(logging.INFO)


def echo(event, context):
    return event


def count(event, context):
    global calls
    calls += 1
    return {"calls": calls, "pid": os.getpid()}


def describe_context(event, context):
    own = {k: v for k, v in vars(context).items() if isinstance(v, (str, type(None)))}
    client = context.client_context
    return {
        **own,
        "remaining": context.get_remaining_time_in_millis(),
        "repr": repr(context),
        "identity": [
            context.identity.cognito_identity_id,
            context.identity.cognito_identity_pool_id,
        ],
        "client": client and [client.client.app_title, client.custom, client.env],
    }


def describe_process(event, context):
    return {
        "environment": dict(os.environ),
        "path": sys.path,
        "cwd": os.getcwd(),
        "executable": sys.executable,
        "version": list(sys.version_info[:2]),
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "stdin": sys.stdin.read(),
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    }


def fail(event, context):
    raise ValueError(event)


def fail_without_text(event, context):
    raise KeyError


class OrderError(Exception):
    pass


def fail_deeper(event, context):
    def inner():
        raise OrderError("no such order")

    inner()


def takes_one(event):
    return event


def give_bytes(event, context):
    return b"\x00raw\xff"


def give_decimal(event, context):
    return {"price": decimal.Decimal("1.10"), "big": decimal.Decimal("1E+3"), "text": '"'}


def give_nan(event, context):
    return {"value": float("nan"), "limit": float("inf")}


def give_set(event, context):
    return {1, 2}


def give_sized(event, context):
    return "x" * event


def give_text(event, context):
    return {"text": "žluť"}


async def add_slowly(event, context):
    global calls
    await asyncio.sleep(0.01)
    calls += 1
    return {"calls": calls, "loop": id(asyncio.get_running_loop())}


async def fail_slowly(event, context):
    await asyncio.sleep(0)
    raise OrderError("late")


def wrapped(event, context):
    return add_slowly(event, context)


partial = functools.partial(echo)


def print_and_log(event, context):
    print("printed")
    print("to stderr", file=sys.stderr)
    logger.info("logged %s", event)
    logging.warning("rooted")
    context.log("raw\n")
    os.write(1, b"written\n")
    subprocess.run(["echo", "spawned"], check=True)
    print("unfinished", end="")


def sleep(event, context):
    print("going to sleep")
    time.sleep(event)
    return "slept"


def keep_file(event, context):
    path = os.path.join(os.environ["TMPDIR"], "kept.txt")
    found = os.path.exists(path)
    with open(path, "w") as file:
        file.write("x")
    if event == "sleep":
        time.sleep(30)
    if event == "exit":
        os._exit(1)
    return found


def write_tmp(event, context):
    with open("/tmp/own.txt", "w") as file:
        file.write("mine")
    return sorted(os.listdir("/tmp"))


def use_layer(event, context):
    import layered

    return layered.NAME


def remaining_times(event, context):
    first = context.get_remaining_time_in_millis()
    time.sleep(0.05)
    return [first, context.get_remaining_time_in_millis()]


def stack_of_json(event, context):
    return json.loads("{")


def break_here(event, context):
    breakpoint()
    return event
