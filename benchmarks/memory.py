"""Idle memory: the engine, an execution environment, a schedule."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine import Engine, children, workspace
from benchmarks.figures import Findings, Goal
from benchmarks.load import post
from benchmarks.peers import EMULATOR, Emulator, PeerMissing, python

ROUNDS = 5
SCHEDULES = 1000
ENVIRONMENTS = 8
IDLE_SECONDS = 2.0
_MODULES = "json, datetime, decimal, logging, urllib.parse, hashlib, uuid"
_HANDLERS = {
    "plain": "def handler(event, context):\n    return {}\n",
    "imports": f"import {_MODULES}\ndef handler(event, context):\n    return {{}}\n",
}
_ROLLUP = """
def read():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
read()
"""
_SOURCES: list[dict[str, Any]] = [
    {"s3": {"bucket": "./inbox"}},
    {"schedule": "rate(1 hour)"},
    {"http": "GET /hello/{name}"},
]


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in MB."""

    rss: float
    pss: float
    uss: float


def read_memory(pid: int) -> Memory:
    """What the kernel says now: resident, proportional and unshared."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size = line.split()[:2]
        sizes[name] = int(size)
    own = sizes["Private_Clean:"] + sizes["Private_Dirty:"]
    return Memory(sizes["Rss:"] / 1024, sizes["Pss:"] / 1024, own / 1024)


@dataclass(frozen=True, slots=True)
class _Round:
    engine: Memory
    fork_server: Memory
    plain: Memory
    imports: Memory
    imports_alone: float
    a_schedule: float


def run() -> Findings:
    """Rounds of new engines, and of the emulator."""
    findings, rounds = Findings(), []
    emulators: list[Memory] = []
    runtimes: list[Memory] = []
    for _ in range(ROUNDS):
        rounds.append(_take_round())
        try:
            emulator, runtime = _emulator()
        except (PeerMissing, OSError) as error:
            findings.notes = [f"{EMULATOR} skipped: {error}"]
            continue
        emulators.append(emulator)
        runtimes.append(runtime)
    _conclude(findings, rounds, emulators, runtimes)
    findings.notes.append(
        f"read {IDLE_SECONDS:g} s after the start, from smaps_rollup; the engine has a source of"
        f" each kind; {ENVIRONMENTS} environments of each handler live at a time, their mean"
        f" counts; imports: {_MODULES}; the peer of an engine is the emulator's process, of an"
        " environment its runtime's"
    )
    return findings


def _conclude(
    findings: Findings, rounds: list[_Round], emulators: list[Memory], runtimes: list[Memory]
) -> None:
    add = findings.add
    emulated = {"peer": EMULATOR, "theirs": [memory.rss for memory in emulators]}
    add(
        "idle engine, RSS",
        "MB",
        [r.engine.rss for r in rounds],
        Goal("median", "<=", 60),
        **emulated,
    )  # type: ignore[arg-type]
    emulated["theirs"] = [memory.pss for memory in emulators]
    add("idle engine, PSS", "MB", [r.engine.pss for r in rounds], **emulated)  # type: ignore[arg-type]
    add("its fork server, PSS", "MB", [r.fork_server.pss for r in rounds])
    text, goal = "environment less its imports, PSS", Goal("median", "<=", 12)
    add(text, "MB", [r.imports.pss - r.imports_alone for r in rounds], goal)
    emulated["theirs"] = [memory.pss for memory in runtimes]
    add("environment with imports, PSS", "MB", [r.imports.pss for r in rounds], **emulated)  # type: ignore[arg-type]
    emulated["theirs"] = [memory.uss for memory in runtimes]
    add("environment with imports, USS", "MB", [r.imports.uss for r in rounds], **emulated)  # type: ignore[arg-type]
    add("environment without imports, PSS", "MB", [r.plain.pss for r in rounds], goal)
    add("environment without imports, USS", "MB", [r.plain.uss for r in rounds])
    text = f"one of {SCHEDULES:,} schedules"
    add(text, "KB", [r.a_schedule for r in rounds], Goal("median", "<=", 50))


def _take_round() -> _Round:
    with workspace() as directory, Engine(directory, _with_sources(directory)) as engine:
        time.sleep(IDLE_SECONDS)
        idle = read_memory(engine.process.pid)
        (fork_server,) = children(engine.process.pid)
        server = read_memory(fork_server)
        plain = _environments(engine, "plain")
        imports = _environments(engine, "imports")
    return _Round(idle, server, plain, imports, _imports_alone(), _a_schedule())


def _with_sources(directory: Path) -> dict[str, Any]:
    for name, code in _HANDLERS.items():
        (directory / f"{name}.py").write_text(code)
    # as many functions as environments: an idle environment of one would serve the next, too
    functions: dict[str, Any] = {
        f"{name}{number}": {"handler": f"{name}.handler"}
        for name in _HANDLERS
        for number in range(ENVIRONMENTS)
    }
    functions["plain0"]["events"] = _SOURCES
    return {"functions": functions}


def _environments(engine: Engine, handler: str) -> Memory:
    """The mean of new environments of one handler."""
    before = set(engine.environments())
    for number in range(ENVIRONMENTS):
        post(engine.invocation(f"{handler}{number}"))
    found = [read_memory(pid) for pid in engine.environments() if pid not in before]
    return Memory(*(statistics.mean(column) for column in zip(*map(_columns, found), strict=True)))


def _columns(memory: Memory) -> tuple[float, float, float]:
    return memory.rss, memory.pss, memory.uss


def _imports_alone() -> float:
    """What the imports add to the PSS (MB) of a plain interpreter."""
    code = f"{_ROLLUP}before = read()\nimport {_MODULES}\nprint(read() - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return int(done.stdout) / 1024


def _a_schedule() -> float:
    """KB of RSS that each of many schedules adds to an engine."""
    with contextlib.ExitStack() as running:
        pids = [
            running.enter_context(_scheduled(running, count)).process.pid
            for count in (1, SCHEDULES)
        ]
        time.sleep(IDLE_SECONDS)
        one, many = (read_memory(pid).rss for pid in pids)
    return (many - one) * 1024 / (SCHEDULES - 1)


def _scheduled(running: contextlib.ExitStack, count: int) -> Engine:
    directory = running.enter_context(workspace())
    (directory / "plain.py").write_text(_HANDLERS["plain"])
    events = [
        {"schedule": f"cron({number % 60} {number // 60 % 24} ? * MON-FRI *)"}
        for number in range(count)
    ]
    return Engine(directory, {"functions": {"f": {"handler": "plain.handler", "events": events}}})


def _emulator() -> tuple[Memory, Memory]:
    """The emulator's own process and its runtime's, after one invocation."""
    python()
    with workspace() as directory:
        (directory / "imports.py").write_text(_HANDLERS["imports"])
        with Emulator(directory, "imports.handler") as emulator:
            post(emulator.invocation())
            (runtime,) = children(emulator.process.pid)
            return read_memory(emulator.process.pid), read_memory(runtime)
