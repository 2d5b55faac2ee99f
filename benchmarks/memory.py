"""Idle memory: the engine, an execution environment, a schedule."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine import Engine, children, workspace
from benchmarks.figures import Findings, Goal
from benchmarks.load import post
from benchmarks.peers import EMULATOR, Emulator, PeerMissing

ROUNDS = 5
SCHEDULES = 1000
ENVIRONMENTS = 8
IDLE_SECONDS = 2.0
_MODULES = "json, datetime, decimal, logging, urllib.parse, hashlib, uuid"
#: tells how much its own imports added
_HANDLER = f"""
def read_pss():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))

before = read_pss()
import {_MODULES}
added = read_pss() - before

def handler(event, context):
    return {{"added_kb": added}}
"""
_SOURCES: list[dict[str, Any]] = [
    {"s3": {"bucket": "./inbox"}},
    {"schedule": "rate(1 hour)"},
    {"http": "GET /hello/{name}"},
]


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in MB: resident, proportional (shared pages divided), unshared."""

    rss: float
    pss: float
    uss: float


@dataclass(frozen=True, slots=True)
class _Round:
    engine: Memory
    fork_server: Memory
    #: an environment while it is the only one, and what its imports added to its PSS
    alone: Memory
    imports: float
    #: the mean PSS of several
    one_of_many: float
    schedule_kb: float


def read_memory(pid: int) -> Memory:
    """What the kernel says of a process now."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size = line.split()[:2]
        sizes[name] = int(size)
    own = sizes["Private_Clean:"] + sizes["Private_Dirty:"]
    return Memory(sizes["Rss:"] / 1024, sizes["Pss:"] / 1024, own / 1024)


def run() -> Findings:
    """Rounds of new engines and new emulators."""
    findings, rounds = Findings(), []
    emulators: list[tuple[Memory, Memory]] = []
    for _ in range(ROUNDS):
        rounds.append(_take_round())
        try:
            emulators.append(_emulator())
        except (PeerMissing, OSError) as error:
            findings.notes = [f"{EMULATOR} skipped: {error}"]
    _conclude(findings, rounds, emulators)
    findings.notes.append(
        f"read {IDLE_SECONDS:g} s after the start from /proc/PID/smaps_rollup; the engine has a"
        " source of each kind; an engine's peer is the emulator's own process, an environment's its"
        f" runtime's; both handlers import {_MODULES}; PSS divides shared pages among those who"
        f" share them, so each of {ENVIRONMENTS} environments has less than the only one"
    )
    return findings


def _conclude(
    findings: Findings, rounds: list[_Round], emulators: list[tuple[Memory, Memory]]
) -> None:
    def add(
        measure: str,
        ours: Callable[[_Round], float],
        *goals: Goal,
        theirs: Callable[[tuple[Memory, Memory]], float] | None = None,
        unit: str = "MB",
    ) -> None:
        of_peer = list(map(theirs, emulators)) if theirs else None
        findings.add(measure, unit, list(map(ours, rounds)), *goals, peer=EMULATOR, theirs=of_peer)

    engine, environment = Goal("median", "<=", 60), Goal("median", "<=", 12)
    add("idle engine, RSS", lambda r: r.engine.rss, engine, theirs=lambda e: e[0].rss)
    add("idle engine, PSS", lambda r: r.engine.pss, engine, theirs=lambda e: e[0].pss)
    add("its fork server, PSS", lambda r: r.fork_server.pss)
    add("environment less imports, PSS", lambda r: r.alone.pss - r.imports, environment)
    add("environment, the only one, PSS", lambda r: r.alone.pss, theirs=lambda e: e[1].pss)
    add("environment, the only one, USS", lambda r: r.alone.uss, theirs=lambda e: e[1].uss)
    add(f"environment, one of {ENVIRONMENTS}, PSS", lambda r: r.one_of_many)
    text, schedule = f"one of {SCHEDULES:,} schedules, RSS", Goal("median", "<=", 50)
    add(text, lambda r: r.schedule_kb, schedule, unit="KB")


def _take_round() -> _Round:
    with workspace() as directory, Engine(directory, _with_sources(directory)) as engine:
        time.sleep(IDLE_SECONDS)
        idle = read_memory(engine.process.pid)
        (fork_server,) = children(engine.process.pid)
        server = read_memory(fork_server)
        imports = _invoke(engine, 0)
        (first,) = engine.environments()
        alone = read_memory(first)
        for number in range(1, ENVIRONMENTS):
            _invoke(engine, number)
        many = statistics.mean(read_memory(pid).pss for pid in engine.environments())
    return _Round(idle, server, alone, imports, many, _schedule_kb())


def _with_sources(directory: Path) -> dict[str, Any]:
    (directory / "app.py").write_text(_HANDLER)
    # a function for each environment: the idle one of a single function would serve them all
    functions: dict[str, Any] = {f"f{n}": {"handler": "app.handler"} for n in range(ENVIRONMENTS)}
    functions["f0"]["events"] = _SOURCES
    return {"functions": functions}


def _invoke(engine: Engine, number: int) -> float:
    """Start an environment by invoking its function; MB of PSS that its imports added."""
    answer = post(engine.invocation(f"f{number}"))[1]
    return float(json.loads(answer.partition(b"\r\n\r\n")[2])["added_kb"]) / 1024


def _schedule_kb() -> float:
    """KB of RSS that each of many schedules adds to an engine."""
    with contextlib.ExitStack() as running:
        one, many = (_scheduled(running, count) for count in (1, SCHEDULES))
        time.sleep(IDLE_SECONDS)
        added = read_memory(many.process.pid).rss - read_memory(one.process.pid).rss
    return added * 1024 / (SCHEDULES - 1)


def _scheduled(running: contextlib.ExitStack, count: int) -> Engine:
    directory = running.enter_context(workspace())
    (directory / "app.py").write_text(_HANDLER)
    events = [
        {"schedule": f"cron({number % 60} {number // 60} ? * MON-FRI *)"} for number in range(count)
    ]
    functions = {"f": {"handler": "app.handler", "events": events}}
    engine = running.enter_context(Engine(directory, {"functions": functions}))
    if engine.metric("eventmesh_source_up{") != count:
        raise RuntimeError(f"not all of {count} schedules run")
    return engine


def _emulator() -> tuple[Memory, Memory]:
    """The emulator's own process and its runtime's, after one invocation."""
    with workspace() as directory:
        (directory / "app.py").write_text(_HANDLER)
        with Emulator(directory, "app.handler") as emulator:
            post(emulator.invocation())
            (runtime,) = children(emulator.process.pid)
            return read_memory(emulator.process.pid), read_memory(runtime)
