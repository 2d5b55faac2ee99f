"""The command line as a user meets it: every command as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import eventmesh
from eventmesh import registry
from tests.acceptance.engine import Engine, command, eventually, free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = (
    "run",
    "validate",
    "invoke",
    "generate-event",
    "connectors",
    "schema",
    "dlq",
    "completion",
)
HANDLERS = """
import json, os, pathlib
print("imported")
HERE = pathlib.Path(__file__).parent
def echo(event, context):
    print("echoing")
    return event
def fail(event, context):
    raise ValueError("no " + json.dumps(event))
def flaky(event, context):
    if (HERE / "broken").exists():
        raise RuntimeError("broken on purpose")
    with open(HERE / "done", "a") as out:
        out.write(json.dumps(event) + "\\n")
def record(event, context):
    with open(HERE / "done", "a") as out:
        out.write(json.dumps(event) + "\\n")
def slow(event, context):
    (HERE / "started").touch()
    import time
    time.sleep(2)
answer = 42
"""
CONFIG = """
functions:
  echo: {handler: app.echo}
  fail: {handler: app.fail, maximum_retry_attempts: 0}
  flaky: {handler: app.flaky, maximum_retry_attempts: 0}
  record: {handler: app.record}
  inline: {handler: app.echo, isolation: inline}
  slow: {handler: app.slow, timeout: 60s}
server: {http: "${HTTP:-127.0.0.1:0}"}
state: "${STATE:-./idle}"
"""
#: imported only by those who need them
HEAVY = {
    "apscheduler",
    "asyncinotify",
    "asyncio",
    "eventmesh_connectors",
    "httptools",
    "orjson",
    "prometheus_client",
    "pydantic",
    "sqlite3",
    "watchfiles",
    "yaml",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("project")
    (directory / "app.py").write_text(HANDLERS)
    (directory / "mappings.yaml").write_text(CONFIG)
    return directory


@pytest.fixture(scope="module")
def engine(project: Path) -> Iterator[Engine]:
    running = Engine(project / "mappings.yaml", project).start()
    yield running
    running.kill()


def cli(
    directory: Path, *args: str, environ: Mapping[str, str] | None = None, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run one command in `directory`; without `environ`, beside no running engine."""
    return command(*args, cwd=directory, env=dict(environ or os.environ), input=text)


def config(directory: Path, text: str) -> Path:
    file = directory / "mappings.yaml"
    file.write_text(text)
    return file


def modules(*args: str, directory: Path) -> set[str]:
    """The modules that a command imports."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "eventmesh", *args],
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=60,
        check=True,
    )
    return set(imported(ended.stderr))


def imported(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith("import time:"):
            yield line.rpartition("|")[2].strip()


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def done(directory: Path) -> list[Any]:
    file = directory / "done"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


# --- help


def test_help_lists_every_command(tmp_path: Path) -> None:
    ended = cli(tmp_path, "--help")
    assert ended.returncode == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name}  +[A-Z]\S", ended.stdout, re.MULTILINE), name


def test_the_version(tmp_path: Path) -> None:
    assert cli(tmp_path, "--version").stdout == f"eventmesh {eventmesh.__version__}\n"


@pytest.mark.parametrize(
    "name", [*COMMANDS, "dlq list", "dlq show", "dlq redrive"], ids=lambda n: n.replace(" ", "-")
)
def test_every_help_has_two_examples(name: str, tmp_path: Path) -> None:
    ended = cli(tmp_path, *name.split(), "--help")
    _, _, examples = ended.stdout.partition("Examples:\n")
    shown = [line for line in examples.split("\n\n")[0].splitlines() if "eventmesh " in line]
    assert len(shown) >= 2, ended.stdout
    assert all(line.startswith("    ") for line in shown)


@pytest.mark.parametrize(
    ("args", "suggestion"),
    [
        (["vaildate"], "Did you mean 'validate'?"),
        (["generate_event"], "Did you mean 'generate-event'?"),
        (["run", "--quite"], "--quiet"),
        (["dlq", "redrve"], "redrive"),
        (["invoke"], "Missing argument 'FUNCTION'"),
    ],
)
def test_a_wrong_command_line_suggests_the_right_one(
    args: list[str], suggestion: str, tmp_path: Path
) -> None:
    ended = cli(tmp_path, *args)
    assert ended.returncode == 2
    assert suggestion in ended.stderr
    assert ended.stdout == ""


# --- what starting costs


def test_help_imports_no_library_but_click(tmp_path: Path) -> None:
    found = modules("--help", directory=tmp_path)
    assert not tops(found) & HEAVY
    began = time.perf_counter()
    cli(tmp_path, "--help")
    print(f"--help took {(time.perf_counter() - began) * 1000:.0f} ms")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_imports_little(name: str, tmp_path: Path) -> None:
    found = modules(name, "--help", directory=tmp_path)
    assert not tops(found) & (HEAVY), "only its own module is needed"


def test_validate_imports_the_connectors_a_file_names_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANDLERS)
    config(tmp_path, "functions: {f: {handler: app.echo, events: [{schedule: rate(1 hour)}]}}")
    found = modules("validate", "--no-import", directory=tmp_path)
    connectors = {name.split(".")[1] for name in found if name.startswith("eventmesh_connectors.")}
    assert connectors == {"schedule"}
    assert not tops(found) & {"asyncinotify", "watchfiles", "httptools", "prometheus_client"}


def test_validating_five_hundred_functions(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANDLERS)
    lines = [f"  f{n}: {{handler: app.echo, events: [http: GET /f{n}]}}" for n in range(500)]
    config(tmp_path, "\n".join(["functions:", *lines]))
    began = time.perf_counter()
    ended = cli(tmp_path, "validate", "--no-import")
    print(f"500 functions took {(time.perf_counter() - began) * 1000:.0f} ms")
    assert ended.stdout == "mappings.yaml: fine (500 functions, 500 mappings)\n"


# --- validate


def test_a_good_file(project: Path) -> None:
    ended = cli(project, "validate")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "mappings.yaml: fine (6 functions, 0 mappings)\n"
    found = json.loads(cli(project, "validate", "--json").stdout)
    assert found == {
        "file": "mappings.yaml",
        "valid": True,
        "functions": 6,
        "mappings": 0,
        "problems": [],
    }


MISTAKEN = """functions:
  echo:
    handlr: app.echo
    timeout: 20m
  other:
    handler: app.echo
    events:
      - s4: ./uploads
      - schedule: "* * * * *"
bogus: 1
"""


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    config(tmp_path, MISTAKEN)
    ended = cli(tmp_path, "validate")
    assert (ended.returncode, ended.stdout) == (3, "")
    places = re.findall(r"^mappings\.yaml:(\d+):(\d+): error: (.*)$", ended.stderr, re.MULTILINE)
    found = [(int(line), int(column), text) for line, column, text in places]
    assert [place[:2] for place in found] == [(2, 3), (3, 5), (4, 14), (8, 9), (9, 19), (10, 1)]
    assert "unknown key 'handlr'" in found[1][2]
    assert "there is no connector 's4'" in found[3][2]
    assert "     3 |     handlr: app.echo\n       |     ^\n  hint: did you mean 'handler'?\n" in (
        ended.stderr
    )
    assert ended.stderr.endswith("6 problems found.\n")
    as_json = cli(tmp_path, "validate", "--json")
    assert as_json.returncode == 3
    problems = json.loads(as_json.stdout)["problems"]
    assert [(p["line"], p["column"], p["message"]) for p in problems] == found
    assert {p["severity"] for p in problems} == {"error"}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    ended = cli(tmp_path, "validate", "absent.yaml")
    assert ended.returncode == 3
    assert "absent.yaml: error: the file does not exist" in ended.stderr


BROKEN = """functions:
  good: {handler: app.echo}
  attribute: {handler: app.ecko}
  module: {handler: absent.echo}
  syntax: {handler: wrong.echo}
  exits: {handler: leaves.echo}
  library: {handler: needs.echo}
  raises: {handler: raises.echo}
  constant: {handler: app.answer}
"""
MODULES = {
    "app.py": HANDLERS,
    "wrong.py": "def echo(:\n",
    "leaves.py": "import sys\nsys.exit(3)\n",
    "needs.py": "import no_such_library\n",
    "raises.py": "import os\nTABLE = os.environ['TABLE']\n",
    "hangs.py": "import time\ntime.sleep(60)\n",
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("broken")
    for name, text in MODULES.items():
        (directory / name).write_text(text)
    config(directory, BROKEN)
    return directory


def test_handlers_that_cannot_be_imported_are_shown_where_they_stand(broken: Path) -> None:
    ended = cli(broken, "validate")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "Traceback" not in ended.stderr
    assert "\nimported\n" not in ended.stderr, "what handlers print is not ours"
    for expected in [
        "mappings.yaml:3:24: error: function 'attribute': handler 'ecko' missing on module 'app'\n"
        "     3 |   attribute: {handler: app.ecko}\n"
        "       |                        ^\n"
        "  hint: did you mean 'app.echo'?\n",
        "mappings.yaml:4:21: error: function 'module': unable to import module 'absent': "
        "No module named 'absent'\n",
        f"  hint: looked in {broken}\n",
        "mappings.yaml:5:21: error: function 'syntax': syntax error in module 'wrong': ",
        "mappings.yaml:6:20: error: function 'exits': its module ended the process while it was "
        "imported (exit status 3)\n",
        "mappings.yaml:7:22: error: function 'library': unable to import module 'needs': "
        "No module named 'no_such_library'\n",
        " has no 'no_such_library'; install it there, or set 'python:' or 'layers:'\n",
        "mappings.yaml:8:21: error: function 'raises': KeyError: 'TABLE' while its module was "
        "imported\n",
        f"  hint: raised at {broken}/raises.py:2\n",
        "mappings.yaml:9:23: error: function 'constant': 'answer' in module 'app' is no function\n",
        "  hint: functions of 'app': echo, fail, flaky, record, slow\n",
    ]:
        assert expected in ended.stderr
    assert ended.stderr.endswith("7 problems found.\n")
    assert not (broken / ".eventmesh").exists(), "nothing was opened"


def test_an_import_that_hangs(broken: Path) -> None:
    (broken / "hanging.yaml").write_text("functions: {slow: {handler: hangs.echo}}\n")
    ended = cli(broken, "validate", "--import-timeout", "0.3", "hanging.yaml")
    assert ended.returncode == 3
    assert (
        "hanging.yaml:1:29: error: function 'slow': importing its module took longer than 0.3 s"
    ) in ended.stderr


def test_handlers_are_not_imported_when_not_wanted(broken: Path) -> None:
    assert cli(broken, "validate", "--no-import").returncode == 0


# --- invoke


def test_invoking_without_an_engine(project: Path) -> None:
    ended = cli(project, "invoke", "echo", "-e", "-", text='{"n": [1, "é"]}')
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout) == {"n": [1, "é"]}
    assert cli(project, "invoke", "echo").stdout == "{}\n"


def test_events_come_from_a_file_or_a_sample(project: Path) -> None:
    (project / "event.json").write_text('{"from": "file"}')
    assert json.loads(cli(project, "invoke", "echo", "-e", "event.json").stdout) == {"from": "file"}
    sample = json.loads(cli(project, "invoke", "echo", "-e", "s3-put").stdout)
    assert sample["Records"][0]["eventName"] == "ObjectCreated:Put"
    neither = cli(project, "invoke", "echo", "-e", "s3-putt")
    assert neither.returncode == 2
    assert "'s3-putt' is neither a file nor a sample event; did you mean 's3-put'?" in (
        neither.stderr
    )


def test_the_tail_goes_to_standard_error(project: Path) -> None:
    ended = cli(project, "invoke", "echo", "--tail")
    assert ended.stdout == "{}\n"
    assert ended.stderr.startswith("START RequestId: ")
    assert "\nechoing\n" in ended.stderr
    assert "\nREPORT RequestId: " in ended.stderr


def test_an_inline_function_prints_nothing_but_its_result(project: Path) -> None:
    ended = cli(project, "invoke", "inline", "-e", "-", "--tail", text='{"n": 1}')
    assert (ended.returncode, ended.stdout) == (0, '{"n": 1}\n')
    assert "\nechoing\n" in ended.stderr


def test_invoking_as_json(project: Path) -> None:
    answer = json.loads(cli(project, "invoke", "fail", "--json").stdout)
    assert set(answer) == {
        "StatusCode",
        "FunctionError",
        "ExecutedVersion",
        "RequestId",
        "Payload",
    }
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.loads(answer["Payload"])["errorMessage"] == "no {}"


def test_a_handler_that_fails_is_exit_code_five(project: Path) -> None:
    ended = cli(project, "invoke", "fail", "-e", "-", text='"way"')
    assert ended.returncode == 5
    assert json.loads(ended.stdout)["errorMessage"] == 'no "way"'


def test_an_unknown_function_names_those_there_are(project: Path) -> None:
    ended = cli(project, "invoke", "ecco")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Function not found: arn:aws:lambda:us-east-1:000000000000:function:ecco" in ended.stderr
    assert "hint: did you mean 'echo'?" in ended.stderr


def test_an_event_that_is_not_json(project: Path) -> None:
    ended = cli(project, "invoke", "echo", "-e", "-", text="{")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("eventmesh: Could not parse request body into json")
    assert "Traceback" not in ended.stderr


def test_an_interrupted_invocation(project: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "eventmesh", "invoke", "slow"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    eventually((project / "started").exists)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (130, b"")
    assert b"Traceback" not in errors


def test_a_dry_run_runs_nothing(project: Path) -> None:
    ended = cli(project, "invoke", "fail", "--type", "DryRun")
    assert (ended.returncode, ended.stdout) == (0, "the function can be invoked\n")


def test_invoking_in_the_running_engine(project: Path, engine: Engine) -> None:
    ended = cli(project, "invoke", "echo", "--json", environ=engine.environ)
    request_id = json.loads(ended.stdout)["RequestId"]
    by_state = cli(project, "invoke", "echo", "-e", "s3-put", "--tail", environ=engine.environ)
    assert json.loads(by_state.stdout)["Records"]
    assert "echoing" in by_state.stderr
    address = f"127.0.0.1:{engine.port}"
    by_address = cli(project, "invoke", "echo", "--endpoint", f"http://{address}")
    assert by_address.stdout == "{}\n"
    counted = b'eventmesh_invocations_total{function="echo",mode="RequestResponse"} 3.0'
    assert counted in engine.get("/metrics")[2], "all three ran in the engine"
    assert request_id != ""
    failed = cli(project, "invoke", "fail", environ=engine.environ)
    assert failed.returncode == 5
    unknown = cli(project, "invoke", "nothing", environ=engine.environ)
    assert unknown.returncode == 1
    assert "hint: functions: echo, fail, flaky, inline, record, slow" in unknown.stderr


@pytest.mark.parametrize("endpoint", ["nowhere", "host:x", ":8080", "h:70000"])
def test_an_endpoint_that_is_none(project: Path, endpoint: str) -> None:
    ended = cli(project, "invoke", "echo", "--endpoint", endpoint)
    assert ended.returncode == 2
    assert f"'{endpoint}' is not HOST:PORT" in ended.stderr


def test_nobody_at_the_endpoint(project: Path) -> None:
    ended = cli(project, "invoke", "echo", "--endpoint", f"127.0.0.1:{free_port()}")
    assert ended.returncode == 1
    assert ended.stderr.startswith("eventmesh: no engine answers at 127.0.0.1:")


def test_an_asynchronous_event_runs_in_the_running_engine(project: Path, engine: Engine) -> None:
    event = '{"asynchronous": 1}'
    environ = engine.environ
    ended = cli(
        project, "invoke", "record", "--type", "Event", "-e", "-", text=event, environ=environ
    )
    assert ended.returncode == 0
    assert re.fullmatch(r"accepted as [0-9a-f-]{36}\n", ended.stdout)
    eventually(lambda: {"asynchronous": 1} in done(project))


# --- sample events


def test_the_kinds_of_sample_events(project: Path) -> None:
    listed = cli(project, "generate-event").stdout.splitlines()
    assert any(re.fullmatch(r"s3-put +\S.*", line) for line in listed)
    assert len(listed) > 30
    rows = json.loads(cli(project, "generate-event", "--json").stdout)
    assert {"kind", "summary", "settings"} == set(rows[0])
    assert "key" in next(row for row in rows if row["kind"] == "s3-put")["settings"]


def test_a_sample_event_with_changes(project: Path) -> None:
    ended = cli(project, "generate-event", "sqs", "--count", "3", "--set", "body=hello")
    records = json.loads(ended.stdout)["Records"]
    assert [record["body"] for record in records] == ["hello"] * 3
    assert len({record["messageId"] for record in records}) == 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["s3put"], "no sample event 's3put'; did you mean 's3-put'?"),
        (["s3-put", "--set", "kee=a"], "s3-put has no setting 'kee'"),
        (["s3-put", "--set", "key"], "'key' is not KEY=VALUE"),
        (["s3-put", "--count", "0"], "0 is not in the range"),
    ],
)
def test_a_sample_that_cannot_be_made(project: Path, args: list[str], message: str) -> None:
    ended = cli(project, "generate-event", *args)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr


# --- connectors


def test_the_installed_connectors(project: Path) -> None:
    listed = cli(project, "connectors").stdout
    for name in ("directory", "http", "s3", "schedule"):
        assert re.search(rf"^{name}  +(source|destination)", listed, re.MULTILINE)
    rows = json.loads(cli(project, "connectors", "--json").stdout)
    assert {"name": "schedule", "roles": "source"}.items() <= next(
        row for row in rows if row["name"] == "schedule"
    ).items()
    assert {row["distribution"] for row in rows} == {"eventmesh"}


@pytest.mark.parametrize("name", registry.installed())
def test_a_connectors_settings_are_readable(project: Path, name: str) -> None:
    text = cli(project, "connectors", name).stdout
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith(f"{name}: ")
    schemas = json.loads(cli(project, "connectors", name, "--json").stdout)
    roles = schemas.keys() & {"source", "destination"}
    assert roles
    for role in roles:
        _, _, part = text.partition(f"as a {role}")
        for setting, rule in schemas[role]["properties"].items():
            assert re.search(rf"^  {setting}  +[a-z0-9|.]", part, re.MULTILINE), setting
            for word in rule["description"].split():
                assert word in part


def test_settings_show_their_type_and_default(project: Path) -> None:
    lines = cli(project, "connectors", "s3").stdout.splitlines()
    assert any(re.match(r"  watch +auto \| inotify \| poll +how changes", line) for line in lines)
    assert any(re.match(r"  poll_interval +duration +", line) for line in lines)
    assert any(re.match(r"  recursive +true or false .*\(default true\)", line) for line in lines)
    assert "(required)" in "\n".join(lines)


def test_an_unknown_connector(project: Path) -> None:
    ended = cli(project, "connectors", "shedule")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "there is no connector 'shedule'; did you mean 'schedule'?" in ended.stderr


def test_the_schema_describes_every_example(project: Path) -> None:
    ended = cli(project, "schema")
    assert (ended.returncode, ended.stderr) == (0, "")
    schema = json.loads(ended.stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    examples = sorted(EXAMPLES.glob("*/mappings.yaml"))
    assert len(examples) >= 3
    for file in examples:
        validator.validate(yaml.safe_load(file.read_text()))
    assert not validator.is_valid(yaml.safe_load(MISTAKEN))


# --- dead letters


def test_no_state_means_no_dead_letters(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANDLERS)
    config(tmp_path, "functions: {f: {handler: app.echo}}")
    listed = cli(tmp_path, "dlq", "list")
    assert (listed.returncode, listed.stdout) == (0, "no dead letters\n")
    assert cli(tmp_path, "dlq", "list", "--json").stdout == ""
    shown = cli(tmp_path, "dlq", "show", "abcd")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "no dead letter 'abcd'" in shown.stderr
    assert cli(tmp_path, "dlq", "redrive", "abcd").returncode == 1
    assert cli(tmp_path, "dlq", "redrive", "--function", "f").stdout == "0 queued again\n"
    assert cli(tmp_path, "dlq", "redrive").returncode == 2
    assert not (tmp_path / ".eventmesh").exists()


def test_a_dead_letter_is_listed_shown_and_driven_again(project: Path, engine: Engine) -> None:
    environ, event = engine.environ, '{"dead": 1}'
    (project / "broken").touch()
    sent = cli(
        project, "invoke", "flaky", "--type", "Event", "-e", "-", text=event, environ=environ
    )
    request_id = sent.stdout.split()[-1]

    def listed() -> str:
        return cli(project, "dlq", "list", "--function", "flaky", environ=environ).stdout

    eventually(lambda: request_id in listed())
    assert "RetriesExhausted  RuntimeError: broken on purpose" in listed()
    shown = cli(project, "dlq", "show", request_id[:8], environ=environ).stdout
    assert re.search(rf"^request_id +{request_id}$", shown, re.MULTILINE)
    assert re.search(r'^event +\{"dead": 1\}$', shown, re.MULTILINE)
    as_json = json.loads(cli(project, "dlq", "show", request_id, "--json", environ=environ).stdout)
    assert (as_json["function"], as_json["event"]) == ("flaky", event)

    (project / "broken").unlink()
    redriven = cli(project, "dlq", "redrive", request_id[:8], environ=environ)
    assert redriven.stdout == "1 queued again\n"
    eventually(lambda: {"dead": 1} in done(project), 5)
    assert "(sent again)" in listed()
    again = cli(project, "dlq", "redrive", "--function", "flaky", environ=environ)
    assert again.stdout == "0 queued again\n"


def test_without_an_engine_events_wait_for_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANDLERS)
    idle = Engine(config(tmp_path, CONFIG), tmp_path)
    environ = idle.environ
    event = '{"waited": 1}'
    sent = cli(
        tmp_path, "invoke", "record", "--type", "Event", "-e", "-", text=event, environ=environ
    )
    assert sent.stdout.startswith("accepted as ")
    assert done(tmp_path) == []
    (tmp_path / "broken").touch()
    sent = cli(tmp_path, "invoke", "flaky", "--type", "Event", environ=environ)
    request_id = sent.stdout.split()[-1]
    try:
        idle.start()
        eventually(lambda: done(tmp_path) == [{"waited": 1}])
        eventually(lambda: request_id in cli(tmp_path, "dlq", "list", environ=environ).stdout)
        assert idle.stop() == 0
        (tmp_path / "broken").unlink()
        redriven = cli(tmp_path, "dlq", "redrive", "--function", "flaky", environ=environ)
        assert redriven.stdout == "1 queued again; the next `eventmesh run` attempts them\n"
        idle.start()
        eventually(lambda: done(tmp_path) == [{"waited": 1}, {}])
    finally:
        idle.kill()


# --- completion


@pytest.mark.parametrize(
    ("shell", "mark"),
    [
        ("bash", "complete -o nosort"),
        ("zsh", "#compdef eventmesh"),
        ("fish", "complete --no-files"),
    ],
)
def test_completion_scripts(project: Path, shell: str, mark: str) -> None:
    script = cli(project, "completion", shell).stdout
    assert mark in script
    assert "_EVENTMESH_COMPLETE" in script
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=script, text=True, check=False)
        assert checked.returncode == 0


def complete(directory: Path, words: str) -> list[str]:
    environ = {
        **os.environ,
        "_EVENTMESH_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    ended = cli(directory, environ=environ)
    assert ended.stderr == ""
    return [line.partition(",")[2] for line in ended.stdout.split()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("eventmesh val", ["validate"]),
        ("eventmesh invoke ", ["echo", "fail", "flaky", "record", "inline", "slow"]),
        ("eventmesh invoke fl", ["flaky"]),
        ("eventmesh dlq list --function e", ["echo"]),
        ("eventmesh connectors sch", ["schedule"]),
        ("eventmesh generate-event s3-pu", ["s3-put"]),
        ("eventmesh invoke echo --type D", ["DryRun"]),
    ],
)
def test_completing_a_command_line(project: Path, words: str, expected: list[str]) -> None:
    assert complete(project, words) == expected


def test_completing_in_a_broken_project_says_nothing(tmp_path: Path) -> None:
    config(tmp_path, MISTAKEN)
    assert complete(tmp_path, "eventmesh invoke ") == []
    assert complete(tmp_path / "..", "eventmesh invoke x") == []


def test_a_destination_inside_its_own_bucket_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "mappings.yaml").write_text(
        "functions:\n  f:\n    handler: app.f\n    on_failure: {directory: ./up/failed}\n"
        "    events: [{s3: ./up}]\n"
    )
    (tmp_path / "app.py").touch()
    checked = command("validate", "--no-import", str(tmp_path / "mappings.yaml"))
    assert checked.returncode == 0
    assert "warning: f/s3:./up: " in checked.stderr
    assert "triggers the function again" in checked.stderr
