"""SQS: messages of 1 KB in batches of ten from one endpoint; MiniStack's own mapping beside."""

from __future__ import annotations

import io
import sys
import uuid
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.engine import Engine, workspace
from benchmarks.figures import Findings, Goal
from benchmarks.pulling import (
    HANDLERS,
    Marks,
    aws_client,
    drain_by_script,
    draining,
    explain_exactness,
    fill_queue,
    wired,
    write_handlers,
)
from tests.servers import Unavailable, server

ROUNDS = 3
MESSAGES = 4_000
LOOPS = 4
OWN_ROUNDS = 2
BARE_LOOP = "bare aiobotocore loop"
OWN_MAPPING = "MiniStack's own mapping"
_ROLE = "arn:aws:iam::000000000000:role/lambda-role"


def run() -> Findings:
    """Rounds of eventmesh and the bare loop on LocalStack, then of eventmesh and MiniStack's own
    mapping on MiniStack; each with a new queue that is full already."""
    findings = Findings()
    _beside_loop(server("localstack").address, findings)
    try:
        _beside_own_mapping(server("ministack").address, findings)
    except (Unavailable, TimeoutError) as error:
        findings.notes.append(f"{OWN_MAPPING} skipped: {error}")
    findings.notes.append(
        f"batches of 10, {LOOPS} at a time (maximum_concurrency {LOOPS}; the loop: {LOOPS} of"
        " receive, handle, delete); each handler decodes every body; rates count from the end of"
        " the first batch to that of the last"
    )
    return findings


def _beside_loop(endpoint: str, findings: Findings) -> None:
    ours: list[float] = []
    theirs: list[float] = []
    handled = []
    with workspace() as directory:
        for number in range(ROUNDS):
            rate, count = _through_eventmesh(directory / f"ours-{number}", endpoint)
            ours.append(rate)
            handled.append(count)
            theirs.append(_through_loop(directory / f"loop-{number}", endpoint))
    goal = Goal("ratio", ">=", 0.9)
    findings.add("LocalStack's queue", "messages/s", ours, goal, peer=BARE_LOOP, theirs=theirs)
    findings.notes.append(explain_exactness("LocalStack's queue", handled, MESSAGES))


def _beside_own_mapping(endpoint: str, findings: Findings) -> None:
    ours: list[float] = []
    own: list[float] = []
    loop: list[float] = []
    with workspace() as directory:
        for number in range(OWN_ROUNDS):
            ours.append(_through_eventmesh(directory / f"ours-{number}", endpoint)[0])
            own.append(_through_own_mapping(directory / f"own-{number}", endpoint))
            loop.append(_through_loop(directory / f"loop-{number}", endpoint))
    goal = Goal("ratio", ">=", 10)
    text = "MiniStack's queue"
    findings.add(text, "messages/s", ours, goal, peer=OWN_MAPPING, theirs=own)
    findings.add(text, "messages/s", ours, peer=BARE_LOOP, theirs=loop)
    findings.notes.append(
        f"{OWN_MAPPING} runs handlers in processes of its own, without Docker, and reads its queue"
        " without HTTP; eventmesh and the loop can be no faster than its HTTP answers"
    )


def _through_eventmesh(directory: Path, endpoint: str) -> tuple[float, int]:
    """The rate, and how many messages were handled once the queue was empty."""
    name = _new_name()
    url = fill_queue(endpoint, name, MESSAGES)
    marks = write_handlers(directory)
    source = {"queue": name, "endpoint_url": endpoint, "maximum_concurrency": LOOPS}
    with draining(Engine(directory, wired("sqs", {"sqs": source}, marks))):
        marks.wait_for(MESSAGES, "the last message")
    left = _messages_left(endpoint, url)
    if left:
        raise RuntimeError(f"{left} messages were handled and not deleted")
    aws_client("sqs", endpoint).delete_queue(QueueUrl=url)
    return marks.rate(), marks.total()


def _through_loop(directory: Path, endpoint: str) -> float:
    url = fill_queue(endpoint, _new_name(), MESSAGES)
    arguments = (endpoint, url, str(LOOPS))
    rate = drain_by_script(sys.executable, "bare_sqs.py", directory, MESSAGES, *arguments)
    aws_client("sqs", endpoint).delete_queue(QueueUrl=url)
    return rate


def _messages_left(endpoint: str, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = aws_client("sqs", endpoint).get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return sum(int(answer["Attributes"][name]) for name in names)


def _through_own_mapping(directory: Path, endpoint: str) -> float:
    """The rate of MiniStack's mapping from its queue to a function of its own."""
    marks = write_handlers(directory)
    functions = aws_client("lambda", endpoint)
    name = _new_name()
    url = fill_queue(endpoint, name, MESSAGES)
    _create_function(functions, name, marks)
    mapping = functions.create_event_source_mapping(
        EventSourceArn=f"arn:aws:sqs:us-east-1:000000000000:{name}",
        FunctionName=name,
        BatchSize=10,
        ScalingConfig={"MaximumConcurrency": LOOPS},
    )
    try:
        marks.wait_for(MESSAGES, f"{OWN_MAPPING}, the last message")
    finally:
        functions.delete_event_source_mapping(UUID=mapping["UUID"])
        functions.delete_function(FunctionName=name)
        aws_client("sqs", endpoint).delete_queue(QueueUrl=url)
    return marks.rate()


def _create_function(functions: Any, name: str, marks: Marks) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("app.py", HANDLERS)
    functions.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=_ROLE,
        Handler="app.sqs",
        Timeout=60,
        Code={"ZipFile": archive.getvalue()},
        Environment={"Variables": {"MARKS": str(marks.path)}},
    )


def _new_name() -> str:
    return f"bench-{uuid.uuid4().hex[:8]}"
