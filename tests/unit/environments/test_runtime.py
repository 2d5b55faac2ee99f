"""What the runtime does with results and errors; and that old interpreters can read it."""

from __future__ import annotations

import ast
import decimal
import json
import linecache
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.environments import fork_server, runtime, shim

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("module", [fork_server, runtime, shim])
def test_python_3_9_can_read_the_worker(module: Any) -> None:
    source = Path(module.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    assert "from __future__ import annotations" in source
    assert not [node for node in ast.walk(tree) if isinstance(node, getattr(ast, "Match", ()))]


@pytest.mark.parametrize("module", [fork_server, runtime, shim])
def test_the_worker_imports_the_standard_library_only(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    for node in tree.body:  # what stands under TYPE_CHECKING is not run
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert not node.module.startswith("eventmesh")


@given(JSON_VALUES)
def test_json_is_that_of_the_standard_library(value: Any) -> None:
    assert runtime.marshal(value, ensure_ascii=True) == json.dumps(value).encode()
    assert (
        runtime.marshal(value, ensure_ascii=False) == json.dumps(value, ensure_ascii=False).encode()
    )


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_keep_every_digit(value: decimal.Decimal) -> None:
    text = runtime.marshal({"value": [value], "text": str(value)}).decode()
    assert text == f'{{"value": [{value}], "text": "{value}"}}'
    assert json.loads(text, parse_float=decimal.Decimal, parse_int=decimal.Decimal)["value"] == [
        value
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("NaN", b"NaN"), ("-NaN", b"NaN"), ("Infinity", b"Infinity"), ("-Infinity", b"-Infinity")],
)
def test_decimals_that_are_no_numbers(text: str, expected: bytes) -> None:
    assert runtime.marshal(decimal.Decimal(text)) == expected
    with pytest.raises(runtime.Fault, match="Unable to marshal response: Out of range float"):
        runtime.marshal(decimal.Decimal(text), strict=True)


def test_bytes_inside_are_text() -> None:
    assert runtime.marshal({"body": b"abc"}) == b'{"body": "abc"}'
    with pytest.raises(runtime.Fault, match="Unable to marshal response: 'utf-8' codec"):
        runtime.marshal({"body": b"\xff"})


def test_a_lone_surrogate_cannot_be_sent_as_utf8() -> None:
    assert runtime.marshal("\ud800", ensure_ascii=True) == b'"\\ud800"'
    with pytest.raises(runtime.Fault, match="surrogates not allowed"):
        runtime.marshal("\ud800", ensure_ascii=False)


def test_a_fault_has_no_stack_trace() -> None:
    failure = runtime.Failure(runtime.Fault("Runtime.X", "text"))
    assert failure.payload("id") == (
        b'{"errorMessage": "text", "errorType": "Runtime.X", "requestId": "id", "stackTrace": []}'
    )
    assert failure.log_text() == "[ERROR] Runtime.X: text\nTraceback (most recent call last):\n"


@pytest.mark.parametrize("character", ["x", "ž", "🐎", "\ud800"])
def test_long_messages_are_cut_to_256_kb_of_utf8(character: str) -> None:
    message = runtime.Failure(ValueError(character * 300_000)).message
    size = len(character.encode("utf-8", "surrogatepass"))
    expected = 0 if character == "\ud800" else 256 * 1024 // size
    assert message == character * expected


def test_a_long_stack_trace_is_cut() -> None:
    # two functions in turn: repeated lines of one alone are folded already
    padding = "#" * 4000
    source = (
        f"def ping(n):\n    if n: pong(n - 1) {padding}\n    raise ValueError(n)\n"
        f"def pong(n):\n    if n: ping(n - 1) {padding}\n    raise ValueError(n)\n"
    )
    linecache.cache["made-up"] = (len(source), None, source.splitlines(True), "made-up")
    names: dict[str, Any] = {}
    exec(compile(source, "made-up", "exec"), names)
    with pytest.raises(ValueError, match="0") as caught:
        names["ping"](200)
    lines = runtime.Failure(caught.value).trace
    assert len(lines) == 65
    assert 252 * 1024 < sum(map(len, lines)) <= 256 * 1024


def test_log_records_in_the_runtimes_format() -> None:
    handler = runtime.LogHandler(lambda: "the-id")
    record = logging.LogRecord("orders", logging.WARNING, "f.py", 1, "took %d", (3,), None)
    record.created, record.msecs = 1_700_000_000.007, 7.0
    record.aws_request_id = "the-id"
    assert handler.format(record) == "[WARNING]\t2023-11-14T22:13:20.007Z\tthe-id\ttook 3\n"


def test_client_context_must_be_json() -> None:
    header = {"request_id": "id", "arn": "arn", "deadline_ms": 0, "client_context": "{nonsense"}
    with pytest.raises(runtime.Fault, match="Unable to parse Client Context JSON: "):
        runtime.LambdaContext({}, header)


def test_no_time_remains_after_the_deadline() -> None:
    context = runtime.LambdaContext({}, {"request_id": "id", "arn": "arn", "deadline_ms": 1000})
    assert context.get_remaining_time_in_millis() == 0
