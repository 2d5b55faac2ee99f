"""A whole file to a `LoadedConfig`."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from config_subjects import FULL, BucketOptions, options_for

from eventmesh.config.loader import load
from eventmesh.errors import ConfigError, Problem
from eventmesh.functions.function import AsyncInvokeConfig, DestinationReference, Function

One = Callable[..., Problem]
FUNCTION = "functions:\n  f:\n    handler: a.b\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "svc").mkdir()
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer.ZIP").write_bytes(b"PK")
    os.symlink(sys.executable, tmp_path / "svc/python")
    return tmp_path


def test_every_setting_reaches_its_place(project: Path, loaded) -> None:
    config = loaded(FULL, {"TOKEN": "a-long-token", "UNUSED": "another-long-one"})
    thumbnail, report = config.functions
    assert thumbnail == Function(
        name="thumbnail",
        handler="thumbs/app.handler",
        code_directory=project / "svc",
        python=project / "svc/python",
        timeout_seconds=0.5,
        memory_mb=1024,
        ephemeral_storage_mb=1024,
        environment={
            "SIZE": "256",
            "RATIO": "1.10",
            "MODE": "010",
            "ON": "true",
            "TOKEN": "a-long-token",
        },
        layers=(project / "layer", project / "layer.ZIP"),
        reserved_concurrency=5,
        provisioned_concurrency=2,
        isolation="inline",
        strict_json=True,
        region="eu-west-1",
        account_id="123456789012",
        asynchronous=AsyncInvokeConfig(
            maximum_retry_attempts=1,
            maximum_event_age_seconds=3600.0,
            on_success=DestinationReference("function", "report", "report"),
            on_failure=DestinationReference(
                "directory", BucketOptions(bucket=str(project / "failed")), "./failed"
            ),
            dead_letter_queue=DestinationReference(
                "directory", BucketOptions(bucket=str(project / "dead"), batch_size=5), "./dead"
            ),
        ),
    )
    assert report.arn == "arn:aws:lambda:eu-west-1:123456789012:function:report"
    assert config.secrets == {"a-long-token"}
    assert config.warnings == ()


def test_mappings(project: Path, loaded) -> None:
    mappings = loaded(FULL, {"TOKEN": "x"}).mappings
    assert [(m.name, m.connector, m.enabled, m.line) for m in mappings] == [
        ("thumbnail/s3:./uploads", "s3", True, 23),
        ("others", "s3", False, 24),
        ("nightly", "schedule", True, 27),
        ("the-mapping", "named", False, 28),
        ("thumbnail/mine.sources:connector:./mine", "mine.sources:connector", False, 30),
        ("thumbnail/s3:./x", "s3", True, 33),
    ]
    assert {m.function for m in mappings} == {"thumbnail"}
    assert mappings[0].options.model_dump() == {
        "bucket": str(project / "uploads"),
        "events": "s3:ObjectCreated:*",
        "suffix": (".jpg", ".png"),
        "batch_size": 20,
        "window": 0.0,
        "ratio": None,
        "auth": None,
    }
    assert mappings[2].options.model_dump()["window"] == 300.0
    assert mappings[3].options.model_dump() == {"name": "its-own", "mode": ""}


def test_the_mesh_around(project: Path, loaded) -> None:
    config = loaded(FULL, {"TOKEN": "x"})
    model = config.model
    assert model.server.address == ("::1", 0)
    assert (model.server.allowed_hosts, model.server.max_connections) == (("mesh.local",), 5)
    assert config.state_directory == project / "state"
    assert config.log_directory == project / "logs"
    assert (model.concurrency, model.drain_timeout, model.idle_timeout) == (8, 1.0, 60.0)
    assert model.asynchronous.model_dump() == {
        "concurrency": 4,
        "retry_delay": 0.01,
        "throttle_delay": 0.005,
    }
    assert (config.path, config.base_directory) == (project / "mappings.yaml", project)


def test_defaults_are_those_of_lambda(tmp_path: Path, loaded) -> None:
    config = loaded(FUNCTION)
    assert config.functions == (
        Function(
            name="f",
            handler="a.b",
            code_directory=tmp_path,
            python=Path(sys.executable),
            timeout_seconds=3.0,
            memory_mb=128,
            ephemeral_storage_mb=512,
            environment={},
        ),
    )
    assert config.model.server.address == ("127.0.0.1", 8080)
    assert config.model.asynchronous.retry_delay == 60.0
    assert config.state_directory == tmp_path / ".eventmesh"
    assert config.log_directory is None


def test_the_result_is_frozen(loaded) -> None:
    config = loaded(FUNCTION + "    events: [{s3: x}]\n")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.mappings = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.mappings[0].name = "x"
    with pytest.raises(ValueError, match="frozen"):
        config.model.concurrency = 3


@pytest.mark.parametrize(
    ("text", "address"),
    [("false", None), ("127.0.0.1:0", ("127.0.0.1", 0)), ("mesh:65535", ("mesh", 65535))],
)
def test_http_address(loaded, text: str, address: object) -> None:
    assert (
        loaded(
            FUNCTION + f"server: {{http: '{text}'}}\n".replace("'false'", "false")
        ).model.server.address
        == address
    )


@pytest.mark.parametrize(
    "text", ["8080", "true", "':8080'", "host", "'h:65536'", "'h:-1'", "'::1:80'", "'http://h:80'"]
)
def test_wrong_http_address(problem: One, text: str) -> None:
    found = problem(FUNCTION + f"server: {{http: {text}}}\n")
    assert (found.line, found.column) == (4, 16)
    assert found.message.startswith(("'http': an address is host:port", "'http': a port is"))


def test_dotenv_fills_in_and_the_environment_wins(tmp_path: Path, loaded) -> None:
    (tmp_path / ".env").write_text("A=from-dotenv-a\nB=from-dotenv-b\n")
    config = loaded(
        FUNCTION + "    env: {A: '${A}', B: '${B}', C: '${C:-none}'}\n", {"A": "from-environ"}
    )
    assert config.functions[0].environment == {
        "A": "from-environ",
        "B": "from-dotenv-b",
        "C": "none",
    }
    assert config.secrets == {"from-environ", "from-dotenv-b"}


def test_mistakes_in_dotenv_come_with_the_others(tmp_path: Path, problems) -> None:
    (tmp_path / ".env").write_bytes(b"good=1\nhunter2hunter2\n")
    found = problems("bogus: 1\n")
    assert [(Path(p.file).name, p.line) for p in found] == [(".env", 2), ("mappings.yaml", 1)]
    (tmp_path / ".env").write_bytes(b"KEY=secret\xff\n")
    assert [(p.message, p.source_line) for p in problems("{}")] == [
        ("byte 0xff is not valid UTF-8", "")
    ]


def test_variables_are_typed(loaded) -> None:
    config = loaded(FUNCTION + "    timeout: ${T:-30}\n    strict_json: ${S}\n", {"S": "true"})
    assert (config.functions[0].timeout_seconds, config.functions[0].strict_json) == (30.0, True)


def test_unset_variables(problems) -> None:
    found = problems(FUNCTION + "    timeout: ${T}\n    code: x${C:?where is it}\n")
    assert [(p.line, p.column, p.message) for p in found] == [
        (4, 14, "the variable T is not set"),
        (5, 12, "the variable C is not set: where is it"),
    ]


def test_no_secret_in_a_message(problems) -> None:
    found = problems(
        FUNCTION
        + """\
    memory: ${PASS}
    code: ./${PASS}
    on_failure: {"function": "${PASS}"}
    isolation: x${PASS}
    timeout: ${SHORT}
"""
        + "    events: [{s3: {bucket: a, batch_size: '${PASS}'}}]\n",
        {"PASS": "hunter2hunter2", "SHORT": "abc"},
    )
    assert [p.line for p in found] == [4, 5, 6, 7, 8, 9]
    assert "hunter2" not in repr(found)
    assert found[1].message == "the code package './***' does not exist"
    assert (
        found[4].message
        == "'timeout': not a duration; write seconds as 30, or 500ms, 30s, 5m, 1h, 2d"
    )


def test_all_mistakes_of_a_file_at_once_in_order(problems) -> None:
    found = problems("""\
functions:
  one:
    handler: nodot
    timeout: 1h
    timeout: 2h
    code: ./nowhere
    envy: {}
    events:
      - s3: {batch_size: 0}
      - nope: {}
  two:
    memory: ${MISSING}
    on_failure: {function: three}
  bad name:
    handler: a.b
concurrency: "5"
""")
    assert [(p.line, p.column, p.message) for p in found] == [
        (3, 14, "'handler': a handler is module.function, such as app.handler"),
        (4, 14, "'timeout' must be more than 0 and at most 900 seconds, not the text '1h'"),
        (5, 5, "duplicate key 'timeout': it stands on lines 4 and 5"),
        (6, 11, "the code package './nowhere' does not exist"),
        (7, 5, "unknown key 'envy'"),
        (9, 9, "'bucket' is missing"),
        (9, 26, "'batch_size' must be from 1 to 10000, not the number 0"),
        (10, 9, "there is no connector 'nope'"),
        (11, 3, "'handler' is missing"),
        (12, 13, "the variable MISSING is not set"),
        (13, 28, "there is no function 'three'"),
        (14, 3, "'bad name' is not a valid name"),
        (16, 14, "'concurrency' must be a whole number, not the text '5'"),
    ]


@pytest.mark.parametrize(
    ("event", "message", "hint"),
    [
        ("s3", "an event is a connector's name with its options", "write '- s3:' and its options"),
        ("5", "an event is a connector's name with its options", ""),
        ("{}", "this event names no connector", "such as '- s3: ./uploads'"),
        ("{name: x}", "this event names no connector", "such as '- s3: ./uploads'"),
        (
            "{s3: x, schedule: y}",
            "one event has one connector, not 's3' and 'schedule'",
            "start 'schedule' as an event of its own, with '- '",
        ),
        (
            "s3:\n        bucket: x",
            "'bucket' stands beside 's3', not below it",
            "indent the options of 's3' further than its name",
        ),
        ("s3: 5", "this must be a map of settings, not the number 5", ""),
        ("named: x", "'named' takes a map of options, not a text", "options: name, mode"),
        ("s3:", "'bucket' is missing", "A directory."),
        ("s3: unresolvable", "this bucket cannot be", ""),
        ("directory: ./x", "connector 'directory' is no source", ""),
        (
            "type: s3",
            "'type' is a connector of your own project",
            "write package.module:attribute; an installed connector is written '- NAME: ...'",
        ),
        (
            "{s3: {bucket: x, name: a}, name: b}",
            "'name' stands beside the connector and among its options",
            "remove one of them",
        ),
        ("{s3: x, name: ''}", "'name' must have at least 1 characters", ""),
        ("{s3: x, name: 5}", "'name' must be text, not the number 5", 'quote it: "5"'),
        ("{s3: x, enabled: 1}", "'enabled' must be true or false, not the number 1", ""),
        (
            "s3: {bucket: x, size: 1, batch_size: 2}",
            "'size' means the same as 'batch_size', which is given too",
            "remove one of them",
        ),
        (
            "s3: {bucket: x, suffix: .jpg}",
            "'suffix' must be a list, not the text '.jpg'",
            "write [.jpg]",
        ),
        (
            "s3: {bucket: x, suffix: [.jpg, 5]}",
            "entry 2 of 'suffix' must be text, not the number 5",
            'quote it: "5"',
        ),
        (
            "s3: {bucket: x, events: 5}",
            "'events' must be text or a list, not the number 5",
            'quote it: "5"',
        ),
        (
            "s3: {bucket: x, events: [5]}",
            "entry 1 of 'events' must be text, not the number 5",
            'quote it: "5"',
        ),
        ("s3: {bucket: x, ratio: '2'}", "'ratio' must be a number, not the text '2'", None),
        ("s3: {bucket: x, auth: iam}", "'auth' must be a map of settings, not the text 'iam'", ""),
    ],
)  # fmt: skip
def test_mistakes_in_events(event_problem: One, event: str, message: str, hint: str) -> None:
    found = event_problem(event)
    assert found.message == message
    assert hint is None or found.hint.startswith(hint)


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ("./failed", "'on_failure' is one destination by its name"),
        ("[]", "'on_failure' is one destination by its name"),
        ("{}", "'on_failure' is one destination by its name"),
        ("{directory: a, function: f}", "'on_failure' is one destination by its name"),
        ("{function: f}", "a function cannot be a destination for itself"),
        ("{function: g}", "there is no function 'g'"),
        ("{function: [f]}", "'function' must be text, not a list"),
        ("{s3: ./x}", "connector 's3' is no destination"),
        ("{directory: {}}", "'bucket' is missing"),
        ("{directory: {bucket: x, name: y}}", "unknown key 'name'"),
        ("{directory: unresolvable}", "this bucket cannot be"),
    ],
)
def test_mistakes_in_destinations(problem: One, destination: str, message: str) -> None:
    found = problem(FUNCTION + f"    on_failure: {destination}\n")
    assert (found.line, found.message) == (4, message)


def test_a_destination_may_be_a_function_that_has_mistakes_itself(problem: One) -> None:
    found = problem(FUNCTION + "    on_failure: {function: g}\n  g:\n")
    assert found.message == "'g' must be a map of settings, not empty"


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("AWS_REGION: x", "AWS_REGION is set by Lambda itself and cannot be set here"),
        ("AWS_LAMBDA_X: x", "AWS_LAMBDA_X is set by Lambda itself and cannot be set here"),
        ("_HANDLER: x", "_HANDLER is set by Lambda itself and cannot be set here"),
        ("A-B: x", "a variable's name is a letter, then letters, digits and '_'"),
        ("A: [x]", "'A' must be text, not a list"),
        ("A: ", "'A' must be text, not empty"),
        (f"A: {'x' * 4089}", "'env': the variables take 4097 bytes, Lambda allows 4096"),
    ],
)
def test_mistakes_in_env(problem: One, variable: str, message: str) -> None:
    assert problem(FUNCTION + f"    env: {{{variable}}}\n").message == message


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "TZ",
        "PYTHONPATH",
        "AWS_LAMBDA_EXEC_WRAPPER",
        "AWS_XRAY_X",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ],
)
def test_env_names_that_may_be_set(loaded, name: str) -> None:
    environment = (
        loaded(FUNCTION + f"    env: {{{name}: x{'y' * 4000}}}\n").functions[0].environment
    )
    assert list(environment) == [name]


def test_provisioned_within_reserved(problem: One) -> None:
    found = problem(FUNCTION + "    reserved_concurrency: 1\n    provisioned_concurrency: 2\n")
    assert (found.line, found.column) == (2, 3)
    assert found.message == "'f': provisioned_concurrency (2) is more than reserved_concurrency (1)"


def test_places(tmp_path: Path, problems) -> None:
    (tmp_path / "plain").write_text("")
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/python").write_text("")
    found = problems("""\
functions:
  a: {handler: a.b, code: ./plain, python: ./plain, layers: [., ./nope]}
  b: {handler: a.b, code: ./nope.zip, python: ./venv}
  c: {handler: a.b, python: ./nope}
  d: {handler: a.b, python: no-such-python-anywhere}
""")
    assert [(p.line, p.message, p.hint) for p in found] == [
        (2, "the code package './plain' is neither a directory nor a .zip",
         "give the directory, or pack the file into a .zip"),
        (2, "the interpreter './plain' is not executable", f"chmod +x {tmp_path}/plain"),
        (2, "the layer './nope' does not exist", f"looked for {tmp_path}/nope"),
        (3, "the code package './nope.zip' does not exist", f"looked for {tmp_path}/nope.zip"),
        (3, "the interpreter './venv' is a directory", "write ./venv/bin/python"),
        (4, "the interpreter './nope' does not exist", f"looked for {tmp_path}/nope"),
        (5, "the interpreter 'no-such-python-anywhere' does not exist",
         f"looked for {tmp_path}/no-such-python-anywhere"),
    ]  # fmt: skip


def test_a_bare_interpreter_is_looked_up_in_path(loaded) -> None:
    assert loaded(FUNCTION + "    python: sh\n").functions[0].python.name == "sh"


def test_a_file_given_relatively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mesh.yaml").write_text(FUNCTION)
    monkeypatch.chdir(tmp_path)
    config = load(Path("mesh.yaml"), environ={}, options_for=options_for)
    assert config.functions[0].code_directory == tmp_path
    (tmp_path / "mesh.yaml").write_text("bogus: 1")
    with pytest.raises(ConfigError) as caught:
        load(Path("mesh.yaml"), environ={}, options_for=options_for)
    assert caught.value.problems[0].file == "mesh.yaml"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cases = {
        "nope.yaml": "the file does not exist",
        ".": "this is a directory",
        "loop": "the file cannot be read: Too many levels of symbolic links",
        "nu\0l": "the file cannot be read: embedded null byte",
    }
    for name, message in cases.items():
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / name, environ={}, options_for=options_for)
        (found,) = caught.value.problems
        assert (found.line, found.column, found.message) == (0, 0, message)


def test_state_must_be_a_directory_for_now(problem: One) -> None:
    found = problem("state: postgresql://x\n")
    assert found.message == "'state': the state is a directory, such as ./.eventmesh"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("region: Zurich", "'region' cannot be the text 'Zurich'"),
        ("account_id: 12345", "'account_id' cannot be the text '12345'"),
        ("concurrency: 0", "'concurrency' must be from 1 to 100000, not the number 0"),
        (
            "idle_timeout: 0",
            "'idle_timeout' must be more than 0 and at most 86400 seconds, not the number 0",
        ),
        ("logs: {format: xml}", "'format' must be 'human', 'json' or 'lambda', not the text 'xml'"),
        ("functions: []", "'functions' must be a map of keys and values, not a list"),
        ("functions: {f: a.b}", "'f' must be a map of settings, not the text 'a.b'"),
        ("functions: {f: {handler: a.b, events: {s3: x}}}", "'events' must be a list, not a map"),
    ],
)  # fmt: skip
def test_mistakes_in_the_mesh(problem: One, setting: str, message: str) -> None:
    assert problem(setting + "\n").message == message


def test_five_hundred_functions(loaded) -> None:
    block = """\
  f{n}:
    handler: app.handler
    timeout: 30s
    memory: 512
    env: {{SIZE: "${{SIZE:-256}}", N: {n}}}
    on_failure: {{directory: ./failed}}
    events:
      - s3: {{bucket: ./u{n}, suffix: [.jpg, .png], batch_size: 5}}
      - schedule: rate(5 minutes)
"""
    config = loaded("functions:\n" + "".join(block.format(n=n) for n in range(500)))
    assert (len(config.functions), len(config.mappings)) == (500, 1000)
    assert config.mappings[-1].name == "f499/schedule:rate(5 minutes)"
