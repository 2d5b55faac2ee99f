"""SIGTERM drains; a second signal stops now; kill -9 at any moment loses no accepted event."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeEngine
from tests.acceptance.engine import Engine, command, eventually

CONFIG = """
functions:
  record: {handler: app.record, env: {RECORD: "${RECORD}"}, events: [{http: {path: /record, method:
  POST, invocation: event}}]}
  slow: {handler: app.slow, timeout: 60s, env: {RECORD: "${RECORD}"}}
server: {http: "${HTTP}"}
state: "${STATE}"
drain_timeout: "${DRAIN:-20s}"
"""
HANDLERS = """
import json, os, time
OUT = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def record(event, context):
    os.write(OUT, (json.dumps(json.loads(event["body"])["id"]) + "\\n").encode())
def slow(event, context):
    os.write(OUT, b'"started"\\n')
    time.sleep(event["seconds"])
    os.write(OUT, b'"ended"\\n')
"""


@pytest.fixture
def engine(make_engine: MakeEngine, tmp_path: Path) -> Engine:
    (tmp_path / "app.py").write_text(HANDLERS)
    return make_engine(CONFIG, {"RECORD": str(tmp_path / "record")})


def recorded(engine: Engine) -> list[object]:
    path = engine.directory / "record"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def leftovers(engine: Engine) -> list[str]:
    """Processes that name this engine's directory in their environment or arguments, except the
    engine."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in (os.getpid(), engine.running.pid):
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(engine.directory).encode() in text:
                found.append(entry.name)
    return found


def test_sigterm_lets_running_work_end(engine: Engine) -> None:
    engine.start()
    assert engine.invoke("slow", {"seconds": 1.5}, "Event")[0] == 202
    eventually(lambda: recorded(engine) == ["started"])
    assert engine.stop(signal.SIGTERM) == 0
    assert recorded(engine) == ["started", "ended"]
    eventually(lambda: not leftovers(engine), 5)


def test_a_synchronous_caller_gets_its_answer_while_draining(engine: Engine) -> None:
    engine.start()
    answers: list[tuple[int, bytes]] = []
    caller = threading.Thread(target=lambda: answers.append(engine.invoke("slow", {"seconds": 1})))
    caller.start()
    eventually(lambda: recorded(engine) == ["started"])
    assert engine.stop(signal.SIGTERM) == 0
    caller.join()
    assert answers == [(200, b"null")]


def test_a_drain_that_runs_out_of_time_says_so_and_the_event_is_attempted_again(
    engine: Engine,
) -> None:
    engine.environ["DRAIN"] = "200ms"
    engine.start()
    engine.invoke("slow", {"seconds": 8}, "Event")
    eventually(lambda: recorded(engine) == ["started"])
    assert engine.stop(signal.SIGTERM) == 6
    engine.start()
    eventually(lambda: recorded(engine) == ["started", "started"])


def test_a_second_signal_stops_now(engine: Engine) -> None:
    engine.start()
    engine.invoke("slow", {"seconds": 50}, "Event")
    eventually(lambda: recorded(engine) == ["started"])
    engine.running.send_signal(signal.SIGINT)
    eventually(lambda: "stopping" in engine.log())
    assert engine.stop(signal.SIGINT) == 130
    eventually(lambda: not leftovers(engine), 5)


def test_a_second_engine_on_the_same_state_is_refused(engine: Engine) -> None:
    engine.start()
    second = command("run", str(engine.file), env={**engine.environ, "HTTP": "127.0.0.1:0"})
    assert second.returncode == 1
    assert str(engine.running.pid) in second.stderr
    assert "Traceback" not in second.stderr


JSON = {"Content-Type": "application/json"}


class Load(threading.Thread):
    """Posts numbered events until stopped; what was answered 202 is in `accepted`."""

    def __init__(self, engine: Engine, first: int) -> None:
        super().__init__()
        self.engine = engine
        self.next = first
        self.accepted: list[int] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            number, self.next = self.next, self.next + 1
            try:
                body = json.dumps({"id": number}).encode()
                if self.engine.request("POST", "/record", body, JSON)[0] == 202:
                    self.accepted.append(number)
            except OSError:
                time.sleep(0.005)
            except Exception:
                continue


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_hundred_kills_under_load_lose_nothing_accepted(engine: Engine) -> None:
    seed = int(os.environ.get("EVENTMESH_TEST_SEED", time.time_ns() % 10**9))
    print(f"EVENTMESH_TEST_SEED={seed}")
    chance = random.Random(seed)
    loads = [Load(engine, n * 1_000_000) for n in range(2)]
    engine.start()
    for load in loads:
        load.start()
    for _ in range(100):
        time.sleep(chance.uniform(0.05, 0.6))
        engine.kill()
        engine.start(wait=chance.random() < 0.7)
    for load in loads:
        load.stopped.set()
        load.join()
    eventually(engine.ready)
    accepted = {number for load in loads for number in load.accepted}
    assert len(accepted) > 100
    eventually(lambda: accepted <= set(recorded(engine)), 60)
    assert engine.stop() == 0
    eventually(lambda: not leftovers(engine), 5)
