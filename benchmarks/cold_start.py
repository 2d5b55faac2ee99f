"""The first response of a new environment, its handler importing what handlers import."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from benchmarks.engine import Engine, wait_until, workspace
from benchmarks.figures import Findings, Goal
from benchmarks.load import post
from benchmarks.peers import EMULATOR, Emulator, PeerMissing

ROUNDS = 6
FUNCTIONS_A_ROUND = 10
EMULATORS_A_ROUND = 3
GOAL_MS = 15
P = ParamSpec("P")
_MODULES = ("json", "datetime", "decimal", "logging", "urllib.parse", "hashlib", "uuid")
_HANDLER = "".join(f"import {name}\n" for name in _MODULES) + (
    'def handler(event, context):\n    return {"id": str(uuid.uuid4())}\n'
)


def run() -> Findings:
    """Rounds of: functions never invoked before, the emulator started, eventmesh started."""
    findings = Findings()
    with workspace() as directory:
        (directory / "app.py").write_text(_HANDLER)
        names = [f"f{number}" for number in range(ROUNDS * FUNCTIONS_A_ROUND)]
        functions = {name: {"handler": "app.handler"} for name in names}
        first: list[float] = []
        emulated: list[float] = []
        whole: list[float] = []
        with Engine(directory, {"functions": functions}) as engine:
            for number in range(ROUNDS):
                first += [_milliseconds(_ask, engine, name) for name in names[number::ROUNDS]]
                emulated += _emulated(directory, findings)
                whole.append(_milliseconds(_start_whole, directory))
    goals = (Goal("median", "<=", GOAL_MS), Goal("ratio", "<", 1))
    text = "first response of a new environment, p50"
    findings.add(text, "ms", first, *goals, peer=EMULATOR, theirs=emulated)
    text = "process start to first response"
    findings.add(text, "ms", whole, peer=EMULATOR, theirs=emulated)
    slowest = sorted(first)[-max(1, len(first) // 10)]
    findings.notes.append(
        f"{len(first)} functions, one first invocation each over a new connection, p90"
        f" {slowest:.1f} ms; the emulator counts from its process start, {len(emulated)} times;"
        f" the handler imports {', '.join(_MODULES)}"
    )
    return findings


def _milliseconds(work: Callable[P, None], *args: P.args, **options: P.kwargs) -> float:
    began = time.perf_counter()
    work(*args, **options)
    return (time.perf_counter() - began) * 1000


def _ask(engine: Engine, function: str) -> None:
    status, answer = post(engine.invocation(function))
    if status != 200 or b'"id"' not in answer:
        raise RuntimeError(f"{function} answered {answer!r}")


def _emulated(directory: Path, findings: Findings) -> list[float]:
    try:
        return [_milliseconds(_start_emulator, directory) for _ in range(EMULATORS_A_ROUND)]
    except (PeerMissing, OSError) as error:
        reason = f"{EMULATOR} skipped: {error}"
        if reason not in findings.notes:
            findings.notes.append(reason)
        return []


def _start_emulator(directory: Path) -> None:
    with Emulator(directory, "app.handler") as emulator:
        status, answer = post(emulator.invocation())
        if status != 200 or b'"id"' not in answer:
            raise ConnectionError(f"it answered {answer!r}")


def _start_whole(directory: Path) -> None:
    """`eventmesh run` from nothing to an answer."""
    beside = directory / "beside"
    beside.mkdir(exist_ok=True)
    (beside / "app.py").write_text(_HANDLER)
    engine = Engine(beside, {"functions": {"f": {"handler": "app.handler"}}})
    engine.launch()
    try:
        wait_until(lambda: _answers(engine), "the engine's first response")
    finally:
        engine.stop()


def _answers(engine: Engine) -> bool:
    try:
        _ask(engine, "f")
    except ConnectionError:
        return False
    return True
