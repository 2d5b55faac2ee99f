"""Accepting asynchronous events over HTTP, each on disk before its 202."""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.engine import Engine, workspace
from benchmarks.figures import Findings, Goal
from benchmarks.load import GENERATOR, Load, Request, measure, post

ROUNDS = 5
SECONDS = 2.0
CONNECTIONS = 64
GOAL_RATE = 5000
_SYNCS = 200
_CATCH_UP_SECONDS = 6.0
_HANDLED = "eventmesh_invocations_total"
_BLOCK = bytes(4096)
_EVENT = b'{"detail": {"order": 4711, "items": ["a", "b", "c"], "note": "%s"}}' % (b"x" * 150)
_HANDLERS = """import time
def wait(event, context):
    time.sleep(600)
def work(event, context):
    return None
"""


def run() -> Findings:
    """Rounds of: a synced append by itself, events that only wait, events handled meanwhile."""
    findings = Findings()
    syncs: list[float] = []
    handled: list[float] = []
    waiting: list[Load] = []
    busily: list[Load] = []
    with workspace() as directory:
        with _engine(directory / "wait", "wait") as (idle, to_wait):
            with _engine(directory / "work", "work") as (busy, to_work):
                for _ in range(ROUNDS):
                    syncs.append(_sync_milliseconds(idle.state))
                    waiting.append(measure(to_wait, CONNECTIONS, SECONDS))
                    before = busy.metric(_HANDLED)
                    busily.append(measure(to_work, CONNECTIONS, SECONDS))
                    handled.append((busy.metric(_HANDLED) - before) / SECONDS)
                    _catch_up(busy)
            idle.stop(signal.SIGKILL)
            stored = _count(idle.state)
    _conclude(findings, syncs, waiting, busily)
    findings.add("handled at the same time", "ev/s", handled)
    accepted = sum(load.requests for load in waiting) + 1
    said = "none is missing" if stored >= accepted else f"{accepted - stored:,} ARE MISSING"
    findings.notes.append(
        f"load by {GENERATOR}, {CONNECTIONS} connections, {len(_EVENT)}-byte events; after"
        f" kill -9 the state holds {stored:,} events for {accepted:,} answers of 202: {said}"
    )
    return findings


@contextmanager
def _engine(directory: Path, handler: str) -> Iterator[tuple[Engine, Request]]:
    """An engine whose one function takes events; `wait` never gets beyond the first."""
    directory.mkdir()
    (directory / "app.py").write_text(_HANDLERS)
    function = {"handler": f"app.{handler}", "timeout": 900}
    mappings: dict[str, object] = {"functions": {"f": function}}
    if handler == "wait":
        mappings["asynchronous"] = {"concurrency": 1}
    with Engine(directory, mappings) as engine:
        request = engine.invocation("f", _EVENT, {"X-Amz-Invocation-Type": "Event"})
        status, answer = post(request)
        if status != 202:
            raise RuntimeError(f"an event was answered {answer!r}")
        yield engine, request


def _conclude(
    findings: Findings, syncs: list[float], waiting: list[Load], busily: list[Load]
) -> None:
    peer = "one sync after another"
    appends = [1000 / milliseconds for milliseconds in syncs]
    rates = [load.rate for load in waiting]
    goal, none = Goal("median", ">=", GOAL_RATE), Goal("median", "==", 0)
    findings.add("events accepted", "ev/s", rates, goal, peer=peer, theirs=appends)
    rates = [load.rate for load in busily]
    findings.add("events accepted, handled meanwhile", "ev/s", rates, peer=peer, theirs=appends)
    findings.add("failed requests", "", [float(sum(x.failures for x in waiting + busily))], none)
    findings.notes.append(
        f"one fdatasync of a 4 KB append on the same disk: {statistics.median(syncs):.3f} ms"
        " (the goal is stated for 0.2 ms)"
    )


def _sync_milliseconds(directory: Path) -> float:
    """The median time of one fdatasync after an append of 4 KB."""
    path, times = directory / "probe", []
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for _ in range(_SYNCS):
            os.write(file, _BLOCK)
            began = time.perf_counter()
            os.fdatasync(file)
            times.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(times)


def _catch_up(engine: Engine) -> None:
    """Give the engine a few seconds for what it took, so that its rounds begin alike."""
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    while time.monotonic() < deadline:
        taken = engine.metric("eventmesh_async_events_received_total")
        if engine.metric(_HANDLED) >= taken:
            return
        time.sleep(0.1)


def _count(state: Path) -> int:
    with closing(sqlite3.connect(state / "state.sqlite3")) as connection:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])
