"""Bad input against the real command: one row of the catalogue after the other, by its name.

C is configuration (`validate` and `run` exit 3 and start nothing), H what HTTP clients send, P
payloads, Z files. Rows of other tests: C8-C17 in tests/unit/config and test_cli*.py, H1-H6 in
test_http_server.py, E1-E24 in test_hostile_handlers.py, Z1-Z5 in tests/unit/functions.
"""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.engine import Engine, command, eventually

HANDLERS = """
import json, os
def echo(event, context):
    return event
def same(event, context):
    return json.dumps(event)
def note(event, context):
    with open(os.environ["RECORD"], "a") as out:
        out.write(json.dumps(event) + "\\n")
def look(event, context):
    import pathlib, time
    place = pathlib.Path(event["Records"][0]["eventmesh"]["path"])
    started = place.with_name("started-" + place.name + ".mark")
    started.touch()
    while not place.with_name("go.mark").exists():
        time.sleep(0.02)
    try:
        seen = place.read_text()
    except FileNotFoundError:
        seen = "gone"
    place.with_name("seen-" + place.name + ".mark").write_text(seen)
"""
CONFIG = """
functions:
  echo: {handler: app.echo}
  same: {handler: app.same}
  closed: {handler: app.echo, reserved_concurrency: 0}
  note:
    handler: app.note
    env: {RECORD: "${RECORD}"}
    events:
      - s3: {bucket: ./in, suffix: .txt}
  look:
    handler: app.look
    timeout: 60s
    events:
      - s3: {bucket: ./late, suffix: .dat, events: "s3:ObjectCreated:*"}
server: {http: "${HTTP}"}
state: "${STATE}"
"""
NOT_JSON = "Could not parse request body into json: Could not parse payload into json: "


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    directory = tmp_path_factory.mktemp("bad")
    (directory / "app.py").write_text(HANDLERS)
    (directory / "mappings.yaml").write_text(CONFIG)
    running = Engine(
        directory / "mappings.yaml", directory, {"RECORD": str(directory / "record")}
    ).start()
    yield running
    running.kill()


@pytest.fixture(autouse=True)
def neighbours_go_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every row the engine still answers others."""
    yield
    if "engine" in request.fixturenames:
        running: Engine = request.getfixturevalue("engine")
        assert running.invoke("echo", {"still": "here"}) == (200, b'{"still": "here"}')


def send(
    engine: Engine, body: bytes, headers: Mapping[str, str] | None = None, function: str = "echo"
) -> tuple[int, str, Any]:
    """The answer's status, AWS exception name and JSON body."""
    path = f"/2015-03-31/functions/{function}/invocations"
    status, got, answer = engine.request("POST", path, body, headers)
    named = {name.lower(): value for name, value in got.items()}
    return status, named.get("x-amzn-errortype", ""), json.loads(answer) if answer else None


# --- C: configuration


CONFIGURATIONS = {
    "C1 tab": (b"functions:\n\tf: {handler: a.b}\n", "2:1: error: a tab"),
    "C1 quote": (b'functions:\n  f: {handler: "a.b}\n', "2:16: error: this quote"),
    "C2 tag": (b'version: !!python/object/apply:os.system ["touch ran"]\n', "1:10: error: the tag"),
    "C3 twice": (b"state: a\nstate: b\n", "2:1: error: duplicate key 'state': it stands on lines"),
    "C4 version": (b"version: 1.10\n", "1:10: error: 'version' must be 1, not the number 1.10"),
    "C4 memory": (b"functions: {f: {handler: a.b, memory: 010}}\n", "'memory' must be from 128"),
    "C6 bomb": (
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            b"%c: &%c [%s]\n" % (name, name, b",".join([b"*%c" % (name - 1)] * 9))
            for name in b"bcdefgh"
        ),
        "too many aliases",
    ),
    "C6 self": (b"a: &a [*a]\n", "1:8: error: the alias '*a' contains itself"),
    "C6 depth": (b"a: " + b"[" * 3000 + b"]" * 3000, "nested more than 50 levels deep"),
    "C6 size": (b"#" * 1_100_000, "larger than 1,000,000 bytes"),
    "C7 two": (b"state: a\n---\nstate: b\n", "2:1: error: a second YAML document"),
    "C7 utf-16": ("state: a\n".encode("utf-16"), "1:1: error: the file is UTF-16"),
    "C7 bytes": (b'state: "\xff"\n', "1:9: error: byte 0xff is not valid UTF-8"),
    "C7 nul": (b'state: "\0"\n', "1:9: error: a NUL"),
    "C8 typo": (b"functions: {f: {handler: a.b, timout: 3}}\n", "did you mean 'timeout'?"),
    "C9 range": (b"functions: {f: {handler: a.b, max_retries: 3}}\n", "must be from 0 to 2"),
    "C10 auth": (
        b"functions: {f: {handler: a.b, events: [{http: {route: GET /x, auth: iam}}]}}\n",
        "unknown key 'auth'",
    ),
    "C12 same": (
        b"functions: {f: {handler: a.b, events: [{s3: ./u}, {s3: ./u}]}}\n",
        "two mappings are named 'f/s3:./u'",
    ),
    "C13 unset": (b'functions: {f: {handler: a.b, env: {K: "${NOPE}"}}}\n', "variable NOPE is not"),
    "C14 unix": (
        b'functions: {f: {handler: a.b, events: [{schedule: "* * * * *"}]}}\n',
        "is written cron(* * * * ? *)",
    ),
    "C14 never": (
        b'functions: {f: {handler: a.b, events: [{schedule: "cron(0 0 31 2 ? *)"}]}}\n',
        "never fires",
    ),
    "C15 zone": (
        b'functions: {f: {handler: a.b, events: [{schedule: {expression: "rate(1 day)", '
        b"timezone: Mars/Base}}]}}\n",
        "unknown time zone 'Mars/Base'",
    ),
}


@pytest.mark.parametrize("row", CONFIGURATIONS)
def test_c_a_bad_file_is_exit_3_and_shown_where_it_is_wrong(row: str, tmp_path: Path) -> None:
    data, message = CONFIGURATIONS[row]
    (tmp_path / "bad.yaml").write_bytes(data)
    result = command("validate", "--no-import", "bad.yaml", cwd=tmp_path)
    assert (result.returncode, message in result.stderr) == (3, True), result.stderr
    assert result.stderr.startswith("bad.yaml:")
    assert "Traceback" not in result.stderr
    assert len(result.stderr) < 5000
    assert os.listdir(tmp_path) == ["bad.yaml"]


def test_c_run_starts_nothing_of_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(CONFIGURATIONS["C8 typo"][0])
    result = command("run", "bad.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (3, "")
    assert "did you mean 'timeout'?" in result.stderr
    assert os.listdir(tmp_path) == ["bad.yaml"]


@pytest.mark.parametrize("value", ["timeout: ${S}", "memory: ${S}", "max_retries: ${S}"])
def test_c13_the_value_of_a_variable_is_not_shown(value: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(f'functions:\n  f:\n    handler: "a.b"\n    {value}\n')
    environ = {**os.environ, "S": "hunter2-is-secret"}
    result = command("validate", "--no-import", "bad.yaml", cwd=tmp_path, env=environ)
    assert result.returncode == 3
    assert "bad.yaml:4:" in result.stderr
    assert "hunter2" not in result.stdout + result.stderr


# --- H: HTTP


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"X-Amz-Invocation-Type": "Foo"}, "ValidationException"),
        ({"X-Amz-Log-Type": "Everything"}, "ValidationException"),
        ({"X-Amz-Client-Context": "no base64!"}, "InvalidRequestContentException"),
        (
            {"X-Amz-Client-Context": base64.b64encode(b"no json").decode()},
            "InvalidRequestContentException",
        ),
        ({"X-Amz-Client-Context": "A" * 3584}, "InvalidRequestContentException"),
    ],
)
def test_h13_headers_that_mean_nothing(engine: Engine, headers: dict[str, str], error: str) -> None:
    assert send(engine, b"{}", headers)[:2] == (400, error)


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("absent", {404}),
        ("..%2F..%2Fecho", {400}),
        ("%2e%2e%2fecho", {400}),
        ("%c0%ae%c0%ae", {400}),
        ("echo%00", {400}),
        ("a" * 65, {400}),
    ],
)
def test_h9_names_are_checked_before_they_are_looked_up(
    engine: Engine, name: str, statuses: set[int]
) -> None:
    assert send(engine, b"{}", function=name)[0] in statuses


def test_h7_a_compressed_body_is_not_inflated(engine: Engine) -> None:
    status, error, _ = send(engine, b"\x1f\x8b\x08\x00", {"Content-Encoding": "gzip"})
    assert (status, error) == (400, "InvalidRequestContentException")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "DELETE"])
def test_h10_other_methods(engine: Engine, method: str) -> None:
    assert engine.request(method, "/2015-03-31/functions/echo/invocations")[0] in {400, 405}


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET /\r\n\r\n"])
def test_h10_another_protocol(engine: Engine, first: bytes) -> None:
    with socket.create_connection(("127.0.0.1", engine.port), timeout=30) as client:
        client.sendall(first + b"\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_h14_a_websocket(engine: Engine) -> None:
    wanted = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    status, _, body = engine.request(
        "GET", "/2015-03-31/functions/echo/invocations", headers=wanted
    )
    assert (status, b"WebSocket is not supported" in body) == (400, True)


def test_4_4_a_foreign_page_is_refused(engine: Engine) -> None:
    assert send(engine, b"{}", {"Origin": "https://example.com"})[0] == 403
    assert send(engine, b"{}", {"Host": "rebound.example.com"})[0] == 403


# --- P: payloads


@pytest.mark.parametrize(
    ("row", "body"),
    [
        ("P2", b"{"),
        ("P2", b"{} x"),
        ("P2", b"{'a': 1}"),
        ("P2", b'"a\x01"'),
        ("P2", b"   "),
        ("P3", b"[" * 100_000 + b"]" * 100_000),
        ("P3", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        ("P4", b"NaN"),
        ("P4", b'{"a": Infinity}'),
        ("P4", b"[-Infinity]"),
        ("P4", b"1e999"),
        ("P5", b"1" * 5000),
        ("P6", '{"a": 1}'.encode("utf-16")),
        ("P6", b"\xef\xbb\xbf{}"),
        ("P7", b'"\xff"'),
        ("P7", b'"\xc0\xaf"'),
    ],
)
@pytest.mark.parametrize("kind", ["RequestResponse", "Event"])
def test_p_what_is_no_json_is_refused_with_awss_words(
    engine: Engine, row: str, body: bytes, kind: str
) -> None:
    status, error, answer = send(engine, body, {"X-Amz-Invocation-Type": kind})
    assert (status, error) == (400, "InvalidRequestContentException"), row
    assert answer["Type"] == "User"
    assert answer["message"].startswith(NOT_JSON)
    assert len(answer["message"]) < 500


def test_p1_an_empty_body_is_an_empty_object(engine: Engine) -> None:
    assert send(engine, b"") == (200, "", {})


@pytest.mark.parametrize(
    ("row", "body"),
    [
        ("P3", b"[" * 500 + b"]" * 500),
        ("P5", b"[" + b"1" * 4000 + b"]"),
        ("P8", b'"\\ud800"'),
        ("P8", b'"a\\u0000b"'),
        ("P9", b'{"a": 1, "a": 2}'),
        ("P11", b'{"__proto__": {"x": 1}, "$ref": "#/a", "b": "${jndi:ldap://x}"}'),
        ("P11", b'{"sql": "\'; drop table events; --", "sh": "$(touch /tmp/x) `id`"}'),
    ],
)
def test_p_odd_but_valid_json_is_data(engine: Engine, row: str, body: bytes) -> None:
    status, _, answer = send(engine, body, function="same")
    assert (status, json.loads(answer)) == (200, json.loads(body)), row


def test_p10_an_object_of_very_many_keys(engine: Engine) -> None:
    body = json.dumps({f"k{number}": 0 for number in range(400_000)}, separators=(",", ":"))
    assert len(body) < 6 * 1024 * 1024
    assert send(engine, body.encode())[2] == json.loads(body)


# --- what was refused for good is kept, and said once


def test_an_event_that_may_not_run_is_listed_with_its_reason_once(engine: Engine) -> None:
    assert engine.invoke("closed", {"n": 1}, "Event") == (202, b"")

    def listed() -> str:
        return command(
            "dlq", "list", "--function", "closed", "-f", str(engine.file), env=engine.environ
        ).stdout

    eventually(lambda: "closed" in listed())
    assert listed().rstrip("\n").endswith("  ZeroReservedConcurrency")
    assert listed().count("ZeroReservedConcurrency") == 1


# --- Z: files


def keys(engine: Engine) -> list[str]:
    record = Path(engine.environ["RECORD"])
    lines = record.read_text().splitlines() if record.exists() else []
    return sorted(json.loads(line)["Records"][0]["s3"]["object"]["key"] for line in lines)


def test_z6_z7_odd_names_are_encoded_and_what_is_no_file_is_ignored(engine: Engine) -> None:
    bucket = os.fsencode(engine.file.parent / "in")
    names = {
        b"a b+c.txt": "a+b%2Bc.txt",
        b"new\nline\x1b[31m.txt": "new%0Aline%1B%5B31m.txt",
        b'-rf "quoted".txt': "-rf+%22quoted%22.txt",
        b"bytes\xff.txt": "bytes%FF.txt",
        b"n" * 251 + b".txt": "n" * 251 + ".txt",
    }
    os.mkfifo(os.path.join(bucket, b"pipe.txt"))
    os.symlink("/etc/passwd", os.path.join(bucket, b"out.txt"))
    os.symlink(".", os.path.join(bucket, b"loop.txt"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.join(bucket, b"sock.txt"))
        for name in names:
            with open(os.path.join(bucket, name), "wb") as file:
                file.write(b"1")
        eventually(lambda: len(keys(engine)) >= len(names))
        os.remove(os.path.join(bucket, b"sock.txt"))
    with open(os.path.join(bucket, b"last.txt"), "wb") as file:
        file.write(b"1")
    eventually(lambda: "last.txt" in keys(engine))
    assert keys(engine) == sorted([*names.values(), "last.txt"])
    assert "\x1b" not in engine.log()


def test_z8_a_file_changed_before_it_is_read_is_delivered_as_it_is_then(engine: Engine) -> None:
    bucket = engine.file.parent / "late"
    for name in ("replaced.dat", "removed.dat"):
        (bucket / name).write_text("old")
        eventually((bucket / f"started-{name}.mark").exists)
    (bucket / "new").write_text("new")
    (bucket / "new").replace(bucket / "replaced.dat")
    (bucket / "removed.dat").unlink()
    (bucket / "go.mark").touch()
    for name, seen in (("replaced.dat", "new"), ("removed.dat", "gone")):
        mark = bucket / f"seen-{name}.mark"
        eventually(lambda mark=mark, seen=seen: mark.exists() and mark.read_text() == seen)


def test_c16_a_damaged_state_is_refused_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANDLERS)
    (tmp_path / "mappings.yaml").write_text(
        "functions: {echo: {handler: app.echo}}\nserver: {http: false}\n"
    )
    state = tmp_path / ".eventmesh"
    state.mkdir(mode=0o700)
    (state / "state.sqlite3").write_bytes(b"no database " * 1000)
    result = command("run", cwd=tmp_path)
    assert (result.returncode, "state.sqlite3 is damaged" in result.stderr) == (1, True)
    assert (state / "state.sqlite3").read_bytes() == b"no database " * 1000
