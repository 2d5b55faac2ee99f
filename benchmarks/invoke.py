"""Warm synchronous invocations over HTTP: eventmesh, AWS's emulator, a bare uvicorn app."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.engine import Engine, workspace
from benchmarks.figures import Findings, Goal
from benchmarks.load import GENERATOR, Load, Request, measure, post
from benchmarks.peers import BARE_APP, EMULATOR, BareApp, Emulator, PeerMissing

ROUNDS = 5
SECONDS = 2.0
SERIAL_SECONDS = 1.0
CONNECTIONS = 16
EVENT = b'{"name": "world"}'
_HANDLER = 'def handler(event, context):\n    return {"hello": event["name"]}\n'

Loads = list[Load]


def run() -> Findings:
    """Rounds of eventmesh, emulator, uvicorn; 16 connections first, then one."""
    findings = Findings()
    with workspace() as directory, contextlib.ExitStack() as running:
        (directory / "app.py").write_text(_HANDLER)
        functions = {"hello": {"handler": "app.handler"}}
        engine = running.enter_context(Engine(directory, {"functions": functions}))
        request = engine.invocation("hello", EVENT)
        measure(request, CONNECTIONS, 1)  # as many environments as ever run at a time
        answer = post(request)[1]
        subjects: list[tuple[str, Request, int]] = [("eventmesh", request, CONNECTIONS)]
        with _noting(findings, EMULATOR):
            limit = _most_connections(directory)
            emulator = running.enter_context(Emulator(directory, "app.handler"))
            subjects.append((EMULATOR, emulator.invocation(EVENT), limit))
        with _noting(findings, BARE_APP):
            app = running.enter_context(BareApp(_parse(answer)))
            bare = app.post(request.path, EVENT)
            subjects.append((BARE_APP, bare, CONNECTIONS))
            findings.notes.append(_compare(answer, post(bare)[1]))
        parallel, serial = _take_rounds(subjects)
        _conclude(findings, parallel, serial)
        if EMULATOR in parallel:
            findings.notes.append(_explain_limit(limit))
        errors = int(engine.metric("eventmesh_errors_total"))
        findings.notes.append(_explain_log(engine.lines_logged, errors))
    return findings


def _take_rounds(
    subjects: list[tuple[str, Request, int]],
) -> tuple[dict[str, Loads], dict[str, Loads]]:
    parallel: dict[str, Loads] = {name: [] for name, _, _ in subjects}
    serial: dict[str, Loads] = {name: [] for name, _, _ in subjects}
    for _ in range(ROUNDS):
        for name, request, connections in subjects:
            parallel[name].append(measure(request, connections, SECONDS))
        for name, request, _ in subjects:
            serial[name].append(measure(request, 1, SERIAL_SECONDS))
    return parallel, serial


def _conclude(findings: Findings, parallel: dict[str, Loads], serial: dict[str, Loads]) -> None:
    def rates(name: str) -> list[float]:
        return [load.rate for load in parallel.get(name, [])]

    def medians(name: str) -> list[float]:
        return [load.p50_ms for load in serial.get(name, [])]

    def failures(name: str) -> list[float]:
        loads = parallel.get(name, []) + serial.get(name, [])
        return [float(sum(load.failures for load in loads))] if loads else []

    add: Callable[..., None] = findings.add
    many, one = f"warm invoke, {CONNECTIONS} connections", "warm invoke, 1 connection, p50"
    ours = "eventmesh"
    at_least = Goal("ratio", ">=", 5)
    add(many, "req/s", rates(ours), at_least, peer=EMULATOR, theirs=rates(EMULATOR))
    if BARE_APP in parallel:
        add(many, "req/s", rates(ours), peer=BARE_APP, theirs=rates(BARE_APP))
    none = Goal("median", "==", 0)
    add("failed requests", "", failures(ours), none, peer=EMULATOR, theirs=failures(EMULATOR))
    below = Goal("ratio", "<", 1)
    add(one, "ms", medians(ours), below, peer=EMULATOR, theirs=medians(EMULATOR))
    if BARE_APP in serial:
        add(one, "ms", medians(ours), peer=BARE_APP, theirs=medians(BARE_APP))


def _most_connections(directory: Path) -> int:
    """The most connections at which the emulator answers all and survives."""
    for connections in (16, 8, 4, 2):
        with Emulator(directory, "app.handler") as emulator:
            post(emulator.invocation(EVENT))
            load = measure(emulator.invocation(EVENT), connections, 1)
            if load.requests and not load.failures and emulator.runs:
                return connections
    return 1


def _explain_limit(limit: int) -> str:
    if limit == CONNECTIONS:
        return f"{EMULATOR} was loaded with {CONNECTIONS} connections, too"
    return (
        f"{EMULATOR} failed with more than {limit} connection(s) (tried 16, 8, 4, 2), so it was"
        f" loaded with {limit}: the most at which it answers everything"
    )


def _explain_log(lines: int, errors: int) -> str:
    text = f"load by {GENERATOR}; handler errors: {errors}"
    if lines > 100:
        return f"{text}; --quiet was given, yet eventmesh logged {lines:,} lines"
    return f"{text}; logging per request was off (--quiet), the emulator's too (--log-level error)"


def _parse(answer: bytes) -> dict[str, object]:
    """eventmesh's answer as the bare app's: the same status, headers and body; uvicorn dates it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    headers = [line.split(": ", 1) for line in lines if not line.startswith("Date:")]
    return {"status": int(start.split()[1]), "headers": headers, "body": body.decode()}


def _compare(ours: bytes, theirs: bytes) -> str:
    same = sorted(ours.lower().split(b"\r\n")[2:]) == sorted(theirs.lower().split(b"\r\n")[2:])
    said = "the same headers and body" if same else "NOT the same bytes"
    return f"{BARE_APP} (httptools, asyncio, one worker) answers {said}: {len(theirs)} bytes"


@contextlib.contextmanager
def _noting(findings: Findings, peer: str) -> Iterator[None]:
    """A peer that cannot be had is left out, with the reason."""
    try:
        yield
    except (PeerMissing, OSError) as error:
        findings.notes.append(f"{peer} skipped: {error}")
