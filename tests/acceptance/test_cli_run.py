"""`eventmesh run`: what it shows, what it refuses, and that one failure stays one failure."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventmesh
from tests.acceptance.conftest import MakeEngine
from tests.acceptance.engine import Engine, command, eventually
from tests.acceptance.test_cli import imported

HANDLERS = """
import os
def echo(event, context):
    print("echoing", event)
    return event
def leak(event, context):
    print("the token is", os.environ["TOKEN"])
    print(repr(os.environ["TOKEN"]))
    raise ValueError("cannot log in with " + os.environ["TOKEN"])
"""
#: a connector kept in the user's own project; `how` says what its source does
CONNECTOR = """
import asyncio
from eventmesh.connectors import Connector, Options
from eventmesh.errors import SourceUnavailable
class OddOptions(Options):
    short_form = "how"
    how: str
    token: str = ""
    @property
    def resource(self):
        return self.how
class OddSource:
    def __init__(self, options, context):
        self.how, self.token, self.context = options.how, options.token, context
    async def run(self, target):
        if self.how == "buggy":
            raise RuntimeError("a bug in the connector " + self.token)
        if self.how == "gone":
            raise SourceUnavailable("cannot reach the broker " + self.token)
        self.context.announce("ticking " + self.token)
        while self.how == "tick":
            await target.enqueue([b'{"tick": 1}'])
            await asyncio.sleep(0.2)
        await asyncio.sleep(3600)
connector = Connector("An odd source", source_options=OddOptions, source=OddSource)
"""
ODD = "type: 'odd:connector'"
CONFIG = f"""
functions:
  broken: {{handler: wrong.echo, maximum_retry_attempts: 0, events: [{{{ODD}, how: tick}}]}}
  early: {{handler: wrong.echo, provisioned_concurrency: 1}}
  neighbour:
    handler: app.echo
    events:
      - {{{ODD}, how: tick, name: good}}
      - {{{ODD}, how: buggy, name: bad}}
      - {{{ODD}, how: gone, name: away}}
server: {{http: "${{HTTP}}"}}
state: "${{STATE}}"
logs: {{directory: ./logs}}
"""


def project(directory: Path) -> Path:
    (directory / "app.py").write_text(HANDLERS)
    (directory / "odd.py").write_text(CONNECTOR)
    (directory / "wrong.py").write_text("def echo(:\n")
    return directory


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with a broken handler, a buggy connector and an unreachable source."""
    directory = project(tmp_path_factory.mktemp("troubled"))
    (directory / "mappings.yaml").write_text(CONFIG)
    engine = Engine(directory / "mappings.yaml", directory, {"PYTHONPROFILEIMPORTTIME": "1"})
    engine.start(wait=False)
    eventually(lambda: "look at it" in text(engine))
    yield engine
    engine.kill()


def text(engine: Engine) -> str:
    """What the engine wrote, without Python's list of imports."""
    lines = engine.log().splitlines()
    return "\n".join(line for line in lines if not line.startswith("import time:")) + "\n"


# --- one failure stays one failure


def test_a_broken_handler_is_reported_and_its_neighbour_works(troubled: Engine) -> None:
    eventually(lambda: " ok " in text(troubled))
    log = text(troubled)
    assert "WARNING a provisioned environment of function early did not start" in log
    assert "Runtime.UserCodeSyntaxError: Syntax error in module 'wrong'" in log
    assert "gave up after 1 attempts: RetriesExhausted" in log
    assert troubled.invoke("neighbour", {"n": 1}) == (200, b'{"n": 1}')
    assert b"UserCodeSyntaxError" in troubled.invoke("broken", {})[1]


def test_a_bug_in_a_connector_shows_its_traceback_once_and_stops_its_mapping_only(
    troubled: Engine,
) -> None:
    log = text(troubled)
    assert log.count("ERROR bad stops: a bug in its connector 'odd:connector'") == 1
    assert log.count("in run\n") == log.count('odd.py"') + 1
    assert "         RuntimeError: a bug in the connector \n" in log
    status, _, body = troubled.get("/readyz")
    assert status == 503
    assert b"a bug in the connector" in body


def test_a_source_that_is_away_is_tried_again(troubled: Engine) -> None:
    eventually(lambda: "away: cannot reach the broker  (again in 2 s)" in text(troubled))


def test_the_start_up_screen(troubled: Engine) -> None:
    log = text(troubled)
    screen = log[log.index(f"eventmesh {eventmesh.__version__}  run") :].split("\n")
    assert f"  {troubled.file}   (3 functions, 4 sources)   Python 3." in screen[0]
    assert screen[1:4] == [
        "  functions  broken     wrong.echo  timeout 3s  128 MB",
        "             early      wrong.echo  timeout 3s  128 MB",
        "             neighbour  app.echo    timeout 3s  128 MB",
    ]
    assert screen[4:8] == [
        "  sources    odd:connector  tick   ticking",
        "             odd:connector  tick   ticking",
        "             odd:connector  buggy  FAILED: a bug in the connector",
        "             odd:connector  gone   PROBLEM: cannot reach the broker",
    ]
    assert screen[8] == f"  state      sqlite {troubled.state}   (survives restart)"
    assert screen[9].startswith("  handlers   one process each, ")
    assert screen[10] == f"  logs       {troubled.directory}/logs"
    assert screen[11].startswith(f"  server     http://127.0.0.1:{troubled.port}   invoke API, ")
    assert screen[12].startswith("  tip        send an event:  eventmesh invoke broken -f ")
    assert all(c.isprintable() or c == "\n" for c in "\n".join(screen[:13]))


def test_functions_have_log_files(troubled: Engine) -> None:
    file = troubled.directory / "logs" / "neighbour.log"
    assert troubled.invoke("neighbour", {"in": "the file\x07"})[0] == 200
    eventually(lambda: "echoing {'in': 'the file\\x07'}\nEND RequestId: " in file.read_text())
    assert file.read_text().splitlines()[0].startswith("INIT_START Runtime Version: python:3.")
    assert "\nREPORT RequestId: " in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "Runtime.UserCodeSyntaxError" in (file.parent / "broken.log").read_text()


def test_run_imports_the_connectors_a_file_names_and_no_other(troubled: Engine) -> None:
    found = set(imported(troubled.log()))
    assert "prometheus_client" in found
    assert not {"apscheduler", "asyncinotify", "watchfiles"} & found
    assert not [name for name in found if name.startswith("eventmesh_connectors.")]


def test_strict_ends_when_a_source_is_away(troubled: Engine, tmp_path: Path) -> None:
    environ = {**troubled.environ, "HTTP": "127.0.0.1:0", "STATE": str(tmp_path / "state")}
    environ.pop("PYTHONPROFILEIMPORTTIME")
    ended = command("run", "--strict", str(troubled.file), env=environ)
    assert ended.returncode == 4
    assert "eventmesh: away: cannot reach the broker" in ended.stderr
    assert "eventmesh: bad: a bug in the connector" in ended.stderr
    assert "good" not in ended.stderr


# --- what is refused


def test_a_second_engine_is_refused(troubled: Engine) -> None:
    environ = {**troubled.environ, "HTTP": "127.0.0.1:0"}
    environ.pop("PYTHONPROFILEIMPORTTIME")
    second = command("run", str(troubled.file), env=environ)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.count("\n") == 1
    pid = troubled.running.pid
    assert f"another eventmesh runs on {troubled.state}: process {pid} (" in second.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = "{}:{}".format(*other.getsockname())
        (project(tmp_path) / "mappings.yaml").write_text(
            f"functions: {{f: {{handler: app.echo}}}}\nserver: {{http: '{address}'}}\n"
        )
        ended = command("run", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"eventmesh: cannot listen on {address}: another program listens there; stop it, or set "
        "`server: {http: HOST:PORT}` to a free port\n"
    )


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    (project(tmp_path) / "mappings.yaml").write_text("server: {http: '192.0.2.1:8080'}\n")
    ended = command("run", cwd=tmp_path)
    assert ended.returncode == 1
    assert "cannot listen on 192.0.2.1:8080: this machine has no such address" in ended.stderr


def test_a_state_directory_that_everyone_may_write(tmp_path: Path) -> None:
    (project(tmp_path) / "mappings.yaml").write_text("server: {http: false}\n")
    (tmp_path / ".eventmesh").mkdir()
    (tmp_path / ".eventmesh").chmod(0o777)
    ended = command("run", cwd=tmp_path)
    assert ended.returncode == 1
    assert "is writable by everyone" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_log_directory_that_cannot_be(tmp_path: Path) -> None:
    (project(tmp_path) / "taken").write_text("a file")
    (tmp_path / "mappings.yaml").write_text(
        "server: {http: false}\nlogs: {directory: ./taken/logs}\n"
    )
    ended = command("run", cwd=tmp_path)
    assert ended.returncode == 1
    assert "\neventmesh: cannot write log files: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_invalid_file_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "mappings.yaml").write_text("functions: {f: {}}\n")
    ended = command("run", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "mappings.yaml:1:13: error: 'handler' is missing" in ended.stderr
    assert not (tmp_path / ".eventmesh").exists()


# --- without HTTP


def test_a_mesh_without_a_server(make_engine: MakeEngine, tmp_path: Path) -> None:
    project(tmp_path)
    engine = make_engine(
        f"functions: {{f: {{handler: app.echo, events: [{{{ODD}, how: tick}}]}}}}\n"
        "server: {http: false}\nstate: ./state\n"
    )
    engine.start("--quiet", wait=False)
    eventually(lambda: "  server     off" in engine.log())
    invoked = command("invoke", "f", "-e", "s3-put", cwd=tmp_path, env=engine.environ)
    assert invoked.returncode == 0, "beside an engine without a server it runs here"
    assert engine.stop() == 0
    lines = engine.log().splitlines()
    assert lines[-1] == "stopping: 0 events running, up to 30 s; again to stop now"
    assert not any(" ok " in line or "echoing" in line for line in lines), "it was to be quiet"


# --- secrets


SECRET = 'canary "Xy/7+ é\\ 4711'
LEAKING = f"""
functions:
  leak:
    handler: app.leak
    maximum_retry_attempts: 0
    env: {{TOKEN: "${{SECRET}}"}}
    events:
      - {{{ODD}, how: tick, token: "${{SECRET}}", name: good}}
      - {{{ODD}, how: buggy, token: "${{SECRET}}", name: "bad ${{SECRET}}"}}
      - {{{ODD}, how: gone, token: "${{SECRET}}", name: away}}
server: {{http: false}}
state: ./state
logs: {{directory: ./logs}}
"""


@pytest.mark.parametrize("log_format", ["human", "json", "lambda"])
def test_secrets_from_the_environment_are_never_shown(
    make_engine: MakeEngine, tmp_path: Path, log_format: str
) -> None:
    project(tmp_path)
    engine = make_engine(LEAKING, {"SECRET": SECRET})
    engine.start("--log-format", log_format, wait=False)
    expected = {"human": "gave up after", "json": '"EventFailed"', "lambda": "gave up after"}
    eventually(lambda: expected[log_format] in engine.log())
    eventually(lambda: "(again in 2 s)" in engine.log() or '"retry_seconds":2.0' in engine.log())
    assert engine.stop() == 0
    log = engine.log() + (tmp_path / "logs" / "leak.log").read_text()
    assert "canary" not in log
    assert "4711" not in log
    assert "cannot log in with ***" in log
    assert "cannot reach the broker ***" in log
    assert "the token is ***" in (tmp_path / "logs" / "leak.log").read_text()
    if log_format == "json":
        _check_json(engine.log().splitlines())


def _check_json(lines: list[str]) -> None:
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert all({"time", "event"} <= record.keys() for record in records)
    by_event = {record["event"]: record for record in records}
    assert by_event["Started"]["mappings"] == 3
    assert by_event["Started"]["http"] is None
    assert by_event["SourceFailed"]["error"] == "cannot reach the broker ***"
    assert by_event["EventFailed"]["error_message"] == "cannot log in with ***"
    assert "RuntimeError: a bug in the connector ***" in by_event["Log"]["traceback"]
    assert by_event["Stopping"]["drain_timeout"] == 30


# --- size


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_schedules_start(make_engine: MakeEngine, tmp_path: Path) -> None:
    project(tmp_path)
    lines = ["functions:"]
    for number in range(100):
        lines += [f"  f{number}:", "    handler: app.echo", "    events:"]
        lines += [
            f"    - schedule: {{expression: rate(6 hours), name: s{number}-{each}}}"
            for each in range(100)
        ]
    engine = make_engine("\n".join([*lines, 'server: {http: "${HTTP}"}', 'state: "${STATE}"']))
    began = time.perf_counter()
    engine.start()
    eventually(lambda: "10000 sources" in engine.log())
    seconds = time.perf_counter() - began
    peak = Path(f"/proc/{engine.running.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
    print(f"10,000 schedules: {seconds:.1f} s, {int(peak) // 1024} MB")
    assert "... and 9960 more" in engine.log()
    assert engine.stop() == 0
