"""Execution environments, with real processes: what a handler sees and what its callers get."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from eventmesh.clock import SystemClock
from eventmesh.connectors import InvocationResult
from eventmesh.environments.inline import InlinePool
from eventmesh.environments.launchers import SpawnLauncher
from eventmesh.environments.pool import EnvironmentCounts, ProcessPool
from eventmesh.environments.router import RoutingPool
from eventmesh.errors import InitializationError
from eventmesh.telemetry import EnvironmentStarted, EnvironmentStopped, LogText
from eventmesh.testing import FakeClock
from tests.acceptance.environment_harness import (
    HANDLERS,
    REQUEST_ID,
    Mesh,
    eventually,
    payload,
    running,
)

PYTHONS = [path for path in (sys.executable, "/usr/bin/python3") if os.path.exists(path)]
REPORT = (
    r"REPORT RequestId: \S+\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
    r"Memory Size: 128 MB\tMax Memory Used: \d+ MB\t"
)


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running(tmp_path) as mesh:
        yield mesh


@pytest.fixture(params=["process", "spawn", "inline"])
async def any_mesh(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mesh]:
    """The same expectations for every way to run a handler."""
    async with running(
        tmp_path, pool_type=_SpawningPool if request.param == "spawn" else ProcessPool
    ) as mesh:
        if request.param != "inline":
            yield mesh
            return
        processes = mesh.pool
        mesh.pool = InlinePool(SystemClock(), mesh.telemetry)
        yield mesh
        await mesh.pool.close()
        mesh.pool = processes


class _SpawningPool(ProcessPool):
    launcher_type = SpawnLauncher


def assert_succeeded(result: InvocationResult) -> None:
    assert (result.function_error, result.error_type) == (None, None), result.payload


# --- results and errors (semantics 1.3, 1.4) --------------------------------------------------


async def test_the_event_arrives_and_the_result_comes_back(any_mesh: Mesh) -> None:
    event = {"text": "žluť 🐎", "numbers": [1, 2.5, None, True], "empty": {}}
    result = await any_mesh.call("plain.echo", event)
    assert_succeeded(result)
    assert payload(result) == event
    assert (result.request_id, result.executed_version) == (REQUEST_ID, "$LATEST")


async def test_nothing_returned_is_null(any_mesh: Mesh) -> None:
    result = await any_mesh.call("prints_at_import.handler")
    assert result.payload == b"null"


async def test_results_are_spaced_as_the_runtime_client_does(any_mesh: Mesh) -> None:
    result = await any_mesh.call("plain.echo", b'{"a":[1,2],"b":"c"}')
    assert result.payload == b'{"a": [1, 2], "b": "c"}'


async def test_text_is_escaped_before_python_3_12(any_mesh: Mesh) -> None:
    result = await any_mesh.call("plain.give_text")
    expected = '{"text": "žluť"}' if sys.version_info >= (3, 12) else '{"text": "\\u017elu\\u0165"}'
    assert result.payload == expected.encode()


async def test_an_exception_is_reported_key_by_key(any_mesh: Mesh) -> None:
    result = await any_mesh.call("plain.fail_deeper")
    file = any_mesh.code / "plain.py"
    lines = file.read_text().splitlines()
    outer, inner = (
        lines.index("    inner()") + 1,
        lines.index('        raise OrderError("no such order")') + 1,
    )
    assert result.payload.decode() == json.dumps(
        {
            "errorMessage": "no such order",
            "errorType": "OrderError",
            "requestId": REQUEST_ID,
            "stackTrace": [
                f'  File "{file}", line {outer}, in fail_deeper\n    inner()\n',
                f'  File "{file}", line {inner}, in inner\n    raise OrderError("no such order")\n',
            ],
        }
    )
    assert (result.function_error, result.error_type) == ("Unhandled", "OrderError")
    assert result.error_message == "no such order"


async def test_an_environment_is_used_again_after_an_exception(mesh: Mesh) -> None:
    function = mesh.function("plain.fail")
    await mesh.call(function, "one")
    [first] = mesh.processes.pids()
    await mesh.call(function, "two")
    assert mesh.processes.pids() == [first]


async def test_an_exception_without_text_has_an_empty_message(any_mesh: Mesh) -> None:
    result = await any_mesh.call("plain.fail_without_text")
    assert (payload(result)["errorType"], payload(result)["errorMessage"]) == ("KeyError", "")


async def test_a_wrong_signature_shows_no_machinery(any_mesh: Mesh) -> None:
    error = payload(await any_mesh.call("plain.takes_one"))
    assert error["errorType"] == "TypeError"
    assert error["stackTrace"] == []


async def test_frames_of_the_standard_library_stay(any_mesh: Mesh) -> None:
    error = payload(await any_mesh.call("plain.stack_of_json"))
    assert error["errorType"] == "JSONDecodeError"
    assert "plain.py" in error["stackTrace"][0]
    assert "json/decoder.py" in error["stackTrace"][-1]


@pytest.mark.parametrize(
    ("handler", "error_type", "message"),
    [
        (
            "nodot",
            "Runtime.MalformedHandlerName",
            "Bad handler 'nodot': not enough values to unpack (expected 2, got 1)",
        ),
        ("plain.nothing", "Runtime.HandlerNotFound", "Handler 'nothing' missing on module 'plain'"),
        (
            "time.sleep",
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module time as a handler module",
        ),
        (
            "absent.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'absent': No module named 'absent'",
        ),
        (
            "import_error.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'import_error': No module named 'module_that_is_not_there'",
        ),
        (
            "syntax_error.handler",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'syntax_error': expected ':' (syntax_error.py, line 1)",
        ),
    ],
)
async def test_a_handler_that_cannot_be_loaded(
    any_mesh: Mesh, handler: str, error_type: str, message: str
) -> None:
    result = await any_mesh.call(handler)
    error = payload(result)
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (error["errorType"], error["errorMessage"]) == (error_type, message)
    assert error["requestId"] == ""
    assert (result.function_error, result.error_type) == ("Unhandled", error_type)
    assert f"[ERROR] {error_type}: {message}".encode() in result.log_tail


async def test_a_syntax_error_names_its_place(any_mesh: Mesh) -> None:
    error = payload(await any_mesh.call("syntax_error.handler"))
    file = any_mesh.code / "syntax_error.py"
    assert error["stackTrace"] == [f'  File "{file}" Line 1\n    def handler(event, context)\n']


async def test_an_exception_at_import_keeps_its_type(any_mesh: Mesh) -> None:
    error = payload(await any_mesh.call("fails_at_import.handler"))
    assert (error["errorType"], error["errorMessage"], error["requestId"]) == (
        "KeyError",
        "'missing'",
        "",
    )
    assert error["stackTrace"][-1].endswith('in prepare\n    return {}["missing"]\n')


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        ("exits_at_import.handler", "Runtime exited with error: exit status 3"),
        ("exits_well_at_import.handler", "Runtime exited without providing a reason"),
    ],
)
async def test_a_process_that_ends_at_import(mesh: Mesh, handler: str, text: str) -> None:
    result = await mesh.call(handler)
    expected = {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {REQUEST_ID} Error: {text}",
    }
    assert result.payload == json.dumps(expected, separators=(",", ":")).encode()


async def test_modules_in_folders(any_mesh: Mesh) -> None:
    assert payload(await any_mesh.call("nested/deep.handler")) == "deep"
    assert payload(await any_mesh.call(any_mesh.function("nested.deep.handler"))) == "deep"


async def test_a_module_named_like_one_of_the_standard_library(mesh: Mesh) -> None:
    assert payload(await mesh.call("queue.handler")) == "my queue"


async def test_bytes_are_sent_as_they_are(any_mesh: Mesh) -> None:
    assert (await any_mesh.call("plain.give_bytes")).payload == b"\x00raw\xff"


async def test_decimals_are_numbers(any_mesh: Mesh) -> None:
    result = await any_mesh.call("plain.give_decimal")
    assert result.payload == b'{"price": 1.10, "big": 1E+3, "text": "\\""}'


async def test_nan_passes_unless_json_is_to_be_strict(any_mesh: Mesh) -> None:
    result = await any_mesh.call("plain.give_nan")
    assert result.payload == b'{"value": NaN, "limit": Infinity}'
    strict = await any_mesh.call(
        any_mesh.function("plain.give_nan", name="strict", strict_json=True)
    )
    assert strict.error_type == "Runtime.MarshalError"
    assert payload(strict)["errorMessage"].startswith("Unable to marshal response: ")


async def test_a_result_that_is_not_json(any_mesh: Mesh) -> None:
    error = payload(await any_mesh.call("plain.give_set"))
    assert error == {
        "errorMessage": "Unable to marshal response: Object of type set is not JSON serializable",
        "errorType": "Runtime.MarshalError",
        "requestId": REQUEST_ID,
        "stackTrace": [],
    }


async def test_an_event_that_is_not_json(any_mesh: Mesh) -> None:
    result = await any_mesh.call("plain.echo", b"{nonsense")
    assert result.error_type == "Runtime.UnmarshalError"
    assert payload(result)["errorMessage"].startswith("Unable to unmarshal input: ")


async def test_the_largest_response_passes_and_one_byte_more_does_not(any_mesh: Mesh) -> None:
    function = any_mesh.function("plain.give_sized", memory_mb=512)
    result = await any_mesh.call(function, 6_291_556 - 2)
    assert_succeeded(result)
    assert len(result.payload) == 6_291_556
    result = await any_mesh.call(function, 6_291_556 - 1)
    assert result.payload == (
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload size '
        b'(6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}'
    )
    assert (result.function_error, result.error_type) == (
        "Unhandled",
        "Function.ResponseSizeTooLarge",
    )


async def test_an_event_of_six_megabytes(mesh: Mesh) -> None:
    function = mesh.function("plain.echo", memory_mb=512)
    event = json.dumps("x" * (6 * 1024 * 1024 - 2)).encode()
    result = await mesh.call(function, event)
    assert result.payload == event


async def test_a_handler_over_its_time(any_mesh: Mesh) -> None:
    function = any_mesh.function("plain.sleep", timeout_seconds=0.3)
    result = await any_mesh.call(function, 3)
    text = f"RequestId: {REQUEST_ID} Error: Task timed out after 0.30 seconds"
    assert (
        result.payload
        == json.dumps(
            {"errorType": "Sandbox.Timedout", "errorMessage": text}, separators=(",", ":")
        ).encode()
    )
    assert (result.error_type, result.error_message) == ("Sandbox.Timedout", text)
    tail = result.log_tail.decode()
    if isinstance(any_mesh.pool, ProcessPool):
        assert "\ngoing to sleep\n" in tail
    assert re.search(
        rf"\n\d{{4}}-\d\d-\d\dT[\d:.]{{12}}Z {REQUEST_ID} Task timed out after 0.30 seconds\n", tail
    )
    assert tail.endswith("\tStatus: timeout\n")


# --- the context object and the process (semantics 1.7, 9.5) -----------------------------------


async def test_the_context_object(any_mesh: Mesh) -> None:
    client = json.dumps({"client": {"app_title": "shop"}, "custom": {"a": 1}, "env": {"b": 2}})
    function = any_mesh.function(
        "plain.describe_context", name="orders", memory_mb=256, version="7"
    )
    arn = f"{function.arn}:live"
    context = payload(
        await any_mesh.call(function, client_context=client, invoked_function_arn=arn)
    )
    stream = context["log_stream_name"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[7\][0-9a-f]{32}", stream)
    assert context["aws_request_id"] == REQUEST_ID
    assert context["function_name"] == "orders"
    assert context["function_version"] == "7"
    assert context["memory_limit_in_mb"] == "256"
    assert context["log_group_name"] == "/aws/lambda/orders"
    assert (
        context["invoked_function_arn"]
        == "arn:aws:lambda:us-east-1:000000000000:function:orders:live"
    )
    assert context["tenant_id"] is None
    assert context["identity"] == [None, None]
    assert context["client"] == ["shop", {"a": 1}, {"b": 2}]
    assert 4000 < context["remaining"] <= 5000
    assert context["repr"] == (
        f"LambdaContext([aws_request_id={REQUEST_ID},log_group_name=/aws/lambda/orders,"
        f"log_stream_name={stream},function_name=orders,memory_limit_in_mb=256,"
        f"function_version=7,invoked_function_arn={arn},client_context=ClientContext(["
        "custom={'a': 1},env={'b': 2},client=Client([installation_id=None,app_title=shop,"
        "app_version_name=None,app_version_code=None,app_package_name=None])]),"
        "identity=CognitoIdentity([cognito_identity_id=None,cognito_identity_pool_id=None]),"
        "tenant_id=None])"
    )


async def test_no_client_context_is_none(any_mesh: Mesh) -> None:
    context = payload(await any_mesh.call("plain.describe_context"))
    assert context["client_context"] is None
    assert context["client"] is None


async def test_remaining_time_runs(any_mesh: Mesh) -> None:
    first, second = payload(await any_mesh.call("plain.remaining_times"))
    assert first - second >= 50


async def test_the_variables_of_an_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_SECRET", "hidden")
    async with running(
        tmp_path, extra_environment={"AWS_ENDPOINT_URL": "http://x", "BOTH": "engine"}
    ) as mesh:
        function = mesh.function(
            "plain.describe_process",
            region="eu-west-1",
            environment={
                "TABLE": "orders",
                "BOTH": "function",
                "AWS_REGION": "mine",
                "PYTHONPATH": "/extra",
            },
        )
        process = payload(await mesh.call(function, trace_id="Root=1-2-3"))
    found = process["environment"]
    assert found["TABLE"] == "orders"
    assert found["BOTH"] == "function"
    assert found["AWS_ENDPOINT_URL"] == "http://x"
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert found["AWS_LAMBDA_FUNCTION_NAME"] == "plain-describe_process"
    assert found["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert found["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert found["AWS_EXECUTION_ENV"] == f"AWS_Lambda_python3.{sys.version_info.minor}"
    assert found["_HANDLER"] == "plain.describe_process"
    assert found["LAMBDA_TASK_ROOT"] == found["PWD"] == process["cwd"] == str(mesh.code)
    assert found["TZ"] == ":UTC"
    assert found["TMPDIR"] == found["TMP"] == found["TEMP"]
    assert process["trace"] == "Root=1-2-3"
    assert "ENGINE_SECRET" not in found
    assert process["path"][:2] == [str(mesh.code), "/extra"]
    assert not any("eventmesh/environments" in path for path in process["path"])
    assert process["stdin"] == ""
    # 0, 1, 2, the listing's own and the private protocol socket far away
    assert [fd for fd in process["descriptors"] if fd > 3] == [1000]


async def test_the_trace_id_is_that_of_each_invocation(mesh: Mesh) -> None:
    function = mesh.function("plain.describe_process")
    first = payload(await mesh.call(function, trace_id="Root=1"))
    second = payload(await mesh.call(function))
    assert (first["trace"], second["trace"]) == ("Root=1", None)


@pytest.mark.parametrize("python", PYTHONS)
async def test_a_function_has_its_own_interpreter(mesh: Mesh, python: str) -> None:
    process = payload(await mesh.call(mesh.function("plain.describe_process", python=Path(python))))
    assert process["executable"] == python


@pytest.mark.parametrize("pool_type", [ProcessPool, _SpawningPool])
async def test_an_interpreter_that_is_not_there(
    tmp_path: Path, pool_type: type[ProcessPool]
) -> None:
    async with running(tmp_path, pool_type=pool_type) as mesh:
        function = mesh.function("plain.echo", python=tmp_path / "no-python")
        with pytest.raises(
            InitializationError,
            match=r"cannot start the Python interpreter .*no-python: .*No such file",
        ):
            await mesh.call(function)
        assert payload(await mesh.call("plain.echo", 1)) == 1


async def test_an_interpreter_that_is_none(mesh: Mesh) -> None:
    function = mesh.function("plain.echo", python=Path("/bin/false"))
    with pytest.raises(
        InitializationError,
        match="cannot start the Python interpreter /bin/false: it ended at once",
    ):
        await mesh.call(function)


async def test_a_code_directory_that_is_not_there(mesh: Mesh) -> None:
    result = await mesh.call(mesh.function("plain.echo", code_directory=mesh.directory / "gone"))
    assert result.error_type == "FileNotFoundError"


async def test_the_later_layer_wins(mesh: Mesh) -> None:
    layers = []
    for name in ("one", "two"):
        layer = mesh.directory / name
        (layer / "python").mkdir(parents=True)
        (layer / "python" / "layered.py").write_text(f"NAME = {name!r}")
        layers.append(layer)
    result = await mesh.call(mesh.function("plain.use_layer", layers=tuple(layers)))
    assert payload(result) == "two"


async def test_site_packages_of_a_layer(mesh: Mesh) -> None:
    version = f"python3.{sys.version_info.minor}"
    site = mesh.directory / "layer" / "python" / "lib" / version / "site-packages"
    site.mkdir(parents=True)
    (site / "layered.py").write_text("NAME = 'site'")
    function = mesh.function("plain.use_layer", layers=(mesh.directory / "layer",))
    assert payload(await mesh.call(function)) == "site"


# --- async handlers ---------------------------------------------------------------------------


@pytest.mark.parametrize("handler", ["plain.add_slowly", "plain.wrapped"])
async def test_async_handlers_share_one_loop(any_mesh: Mesh, handler: str) -> None:
    function = any_mesh.function(handler)
    first, second = payload(await any_mesh.call(function)), payload(await any_mesh.call(function))
    assert (first["calls"], second["calls"]) == (1, 2)
    assert first["loop"] == second["loop"]


async def test_an_async_handler_that_fails(any_mesh: Mesh) -> None:
    error = payload(await any_mesh.call("plain.fail_slowly"))
    assert (error["errorType"], error["errorMessage"]) == ("OrderError", "late")
    [line] = error["stackTrace"]
    assert line.endswith('in fail_slowly\n    raise OrderError("late")\n')


async def test_a_callable_that_is_no_function(any_mesh: Mesh) -> None:
    assert payload(await any_mesh.call("plain.partial", 5)) == 5


# --- logs (semantics 1.8) ---------------------------------------------------------------------


async def test_a_cold_and_a_warm_log(mesh: Mesh) -> None:
    function = mesh.function("prints_at_import.handler", name="talker")
    cold = await mesh.call(function)
    warm = await mesh.call(function)
    texts = [event for event in mesh.events if isinstance(event, LogText)]
    assert [event.request_id for event in texts] == ["", REQUEST_ID, REQUEST_ID]
    assert len({event.stream for event in texts}) == 1
    assert re.fullmatch(
        rb"INIT_START Runtime Version: python:3\.\d+\.v\d+\tRuntime Version ARN: "
        rb"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}\npreparing\n",
        texts[0].text,
    )
    start = (
        f"START RequestId: {REQUEST_ID} Version: \\$LATEST\nhandling\nEND RequestId: {REQUEST_ID}\n"
    )
    assert re.fullmatch(start + REPORT + r"Init Duration: \d+\.\d\d ms\t\n", texts[1].text.decode())
    assert re.fullmatch(start + REPORT + r"\n", texts[2].text.decode())
    assert (cold.log_tail, warm.log_tail) == (texts[1].text, texts[2].text)
    assert cold.init_seconds is not None
    assert warm.init_seconds is None
    assert 1 <= warm.max_memory_mb < 60


async def test_everything_written_is_in_the_log_in_order(mesh: Mesh) -> None:
    result = await mesh.call("plain.print_and_log", "this")
    lines = result.log_tail.decode().splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert lines[1:3] == ["printed", "to stderr"]
    assert re.fullmatch(rf"\[INFO\]\t{stamp}\t{REQUEST_ID}\tlogged this", lines[3])
    assert re.fullmatch(rf"\[WARNING\]\t{stamp}\t{REQUEST_ID}\trooted", lines[4])
    assert lines[5:9] == ["raw", "written", "spawned", "unfinished"]
    assert lines[9] == f"END RequestId: {REQUEST_ID}"


async def test_an_uncaught_exception_in_the_log(any_mesh: Mesh) -> None:
    result = await any_mesh.call("plain.fail", "no")
    assert re.search(
        "\\[ERROR\\] ValueError: no\nTraceback \\(most recent call last\\):\n"
        '\u00a0\u00a0File ".*plain.py", line \\d+, in fail\n'
        "\u00a0\u00a0\u00a0\u00a0raise ValueError\\(event\\)\nEND ",
        result.log_tail.decode(),
    )


async def test_the_log_of_a_long_invocation_comes_while_it_runs(mesh: Mesh) -> None:
    waiting = asyncio.ensure_future(mesh.call("plain.sleep", 1))
    await eventually(lambda: "going to sleep" in mesh.log())
    assert "REPORT" not in mesh.log()
    tail = (await waiting).log_tail.decode()
    assert tail.startswith(f"START RequestId: {REQUEST_ID}")
    assert "going to sleep\nEND" in tail


# --- reuse, reset, ends (semantics 1.9) --------------------------------------------------------


async def test_globals_survive_in_a_warm_environment(any_mesh: Mesh) -> None:
    function = any_mesh.function("plain.count")
    results = [payload(await any_mesh.call(function)) for _ in range(3)]
    assert [result["calls"] for result in results] == [1, 2, 3]
    assert len({result["pid"] for result in results}) == 1


async def test_concurrent_invocations_have_an_environment_each(mesh: Mesh) -> None:
    function = mesh.function("plain.sleep")
    await asyncio.gather(*(mesh.call(function, 0.2) for _ in range(3)))
    assert mesh.processes.counts() == {"plain-sleep": EnvironmentCounts(3, 0)}
    before = set(mesh.processes.pids())
    await mesh.call(function, 0)
    assert set(mesh.processes.pids()) == before


async def test_busy_environments_are_counted(mesh: Mesh) -> None:
    function = mesh.function("plain.sleep")
    waiting = asyncio.ensure_future(mesh.call(function, 0.3))
    await eventually(lambda: "going to sleep" in mesh.log())
    assert mesh.processes.counts() == {"plain-sleep": EnvironmentCounts(1, 1)}
    await waiting


@pytest.mark.parametrize(("end", "reason"), [("sleep", "timeout"), ("exit", "exit")])
async def test_tmp_survives_a_reset_and_globals_do_not(mesh: Mesh, end: str, reason: str) -> None:
    function = mesh.function("plain.keep_file", timeout_seconds=0.5)
    assert payload(await mesh.call(function, "first")) is False
    [first] = mesh.processes.pids()
    assert (await mesh.call(function, end)).function_error == "Unhandled"
    assert payload(await mesh.call(function, "again")) is True
    assert mesh.processes.pids() != [first]
    assert mesh.stopped() == [reason]
    assert len({event.stream for event in mesh.events if isinstance(event, LogText)}) == 1


async def test_tmp_is_emptied_when_an_environment_is_retired(mesh: Mesh) -> None:
    function = mesh.function("plain.keep_file")
    await mesh.call(function)
    await mesh.pool.retire(function)
    assert payload(await mesh.call(function)) is False
    await mesh.pool.retire(function)
    await mesh.pool.close()
    assert list((mesh.directory / "work" / "tmp").iterdir()) == []


async def test_an_init_over_its_limit_is_repeated_within_the_timeout(tmp_path: Path) -> None:
    async with running(tmp_path, init_limit_seconds=0.3) as mesh:
        result = await mesh.call("hangs_once_at_import.handler")
        assert payload(result) == "second try"
        assert result.init_seconds is None
        assert re.search(
            r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\tStatus: timeout\n", mesh.log()
        )
        assert mesh.stopped() == ["timeout"]


async def test_an_init_that_never_ends_is_a_timeout(tmp_path: Path) -> None:
    async with running(tmp_path, init_limit_seconds=0.2) as mesh:
        result = await mesh.call(mesh.function("hangs_at_import.handler", timeout_seconds=0.4))
        assert result.error_type == "Sandbox.Timedout"
        assert (
            result.error_message
            == f"RequestId: {REQUEST_ID} Error: Task timed out after 0.40 seconds"
        )
        assert mesh.stopped() == ["timeout", "timeout"]


async def test_cancelling_kills_the_environment(mesh: Mesh) -> None:
    function = mesh.function("plain.sleep")
    waiting = asyncio.ensure_future(mesh.call(function, 30))
    await eventually(lambda: "going to sleep" in mesh.log())
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await eventually(lambda: not mesh.processes.pids())
    assert mesh.stopped() == ["cancelled"]
    assert payload(await mesh.call(function, 0)) == "slept"


async def test_cancelling_a_start_leaves_nothing(mesh: Mesh) -> None:
    await mesh.call("plain.echo")
    waiting = asyncio.ensure_future(mesh.call("hangs_at_import.handler"))
    await eventually(lambda: mesh.processes.counts().get("hangs_at_import-handler"))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await eventually(lambda: len(mesh.processes.pids()) <= 1)
    assert mesh.stopped() == ["cancelled"]


async def test_provisioned_environments_are_there_before_the_first_event(mesh: Mesh) -> None:
    function = mesh.function("plain.describe_process", provisioned_concurrency=2)
    await mesh.pool.provision(function)
    started = [event for event in mesh.events if isinstance(event, EnvironmentStarted)]
    assert sorted(event.pid for event in started) == sorted(mesh.processes.pids())
    assert len(started) == 2
    result = await mesh.call(function)
    assert result.init_seconds is None
    variables = payload(result)["environment"]
    assert variables["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"


async def test_a_provisioned_environment_that_cannot_start(any_mesh: Mesh) -> None:
    function = any_mesh.function("plain.nothing", provisioned_concurrency=1)
    with pytest.raises(
        InitializationError, match="Runtime.HandlerNotFound: Handler 'nothing' missing"
    ):
        await any_mesh.pool.provision(function)


async def test_a_provisioned_environment_that_died_is_replaced(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running(tmp_path, clock=clock) as mesh:
        function = mesh.function("plain.keep_file", provisioned_concurrency=1)
        await mesh.pool.provision(function)
        await mesh.call(function, "exit")
        assert mesh.processes.pids() == []
        await clock.advance(1.0)
        await eventually(
            lambda: mesh.processes.counts()["plain-keep_file"] == EnvironmentCounts(1, 0)
        )


async def test_idle_environments_are_stopped_provisioned_ones_kept(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running(tmp_path, clock=clock, idle_timeout_seconds=600.0) as mesh:
        kept = mesh.function("plain.echo", name="kept", provisioned_concurrency=1)
        await mesh.pool.provision(kept)
        await mesh.call("plain.sleep", 0)
        await clock.advance(590.0)
        assert len(mesh.processes.pids()) == 2
        await clock.advance(70.0)
        await eventually(lambda: len(mesh.processes.pids()) <= 1)
        assert mesh.stopped() == ["idle"]
        assert mesh.processes.counts()["kept"] == EnvironmentCounts(1, 0)


async def test_a_retired_function_ends_after_its_invocation(mesh: Mesh) -> None:
    function = mesh.function("plain.sleep")
    waiting = asyncio.ensure_future(mesh.call(function, 0.4))
    await eventually(lambda: "going to sleep" in mesh.log())
    await mesh.pool.retire(function)
    assert len(mesh.processes.pids()) == 1
    assert payload(await waiting) == "slept"
    await eventually(lambda: not mesh.processes.pids())
    assert mesh.stopped() == ["retired"]


async def test_a_changed_function_gets_new_environments(mesh: Mesh) -> None:
    await mesh.call(mesh.function("plain.count"))
    [old] = mesh.processes.pids()
    changed = mesh.function("plain.count", environment={"NEW": "1"})
    assert payload(await mesh.call(changed))["calls"] == 1
    await eventually(lambda: old not in mesh.processes.pids())
    assert mesh.stopped() == ["retired"]


async def test_an_equal_function_is_the_same(mesh: Mesh) -> None:
    await mesh.call(mesh.function("plain.count"))
    assert payload(await mesh.call(mesh.function("plain.count")))["calls"] == 2


async def test_closing_ends_what_runs(mesh: Mesh) -> None:
    waiting = asyncio.ensure_future(mesh.call("plain.sleep", 30))
    await eventually(lambda: "going to sleep" in mesh.log())
    await mesh.pool.close()
    assert (await waiting).error_type == "Runtime.ExitError"
    with pytest.raises(InitializationError, match="closed"):
        await mesh.call("plain.echo")


async def test_a_dead_zygote_is_replaced(mesh: Mesh) -> None:
    function = mesh.function("plain.count")
    pid = payload(await mesh.call(function))["pid"]
    os.kill(await asyncio.to_thread(_parent_of, pid), signal.SIGKILL)
    await eventually(lambda: not mesh.processes.pids())
    result = payload(await mesh.call(function))
    assert result["calls"] == 1
    assert result["pid"] != pid
    assert isinstance(mesh.events[-1], LogText)
    assert [e.reason for e in mesh.events if isinstance(e, EnvironmentStopped)] == ["exit"]


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# --- /tmp of its own --------------------------------------------------------------------------


@pytest.fixture
def outside_tmp() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        yield Path(directory).resolve()


async def test_tmp_is_private_where_nothing_needed_lies_below(outside_tmp: Path) -> None:
    async with running(outside_tmp) as mesh:
        function = mesh.function("plain.write_tmp")
        if await mesh.processes.temporary_storage(function) != "private /tmp":
            pytest.skip("no mount namespaces here")
        assert payload(await mesh.call(function)) == ["own.txt"]
        [directory] = (outside_tmp / "work" / "tmp").iterdir()
        assert (directory / "own.txt").read_text() == "mine"
        assert "own.txt" not in os.listdir("/tmp")
        process = payload(await mesh.call("plain.describe_process"))
        assert process["environment"]["TMPDIR"] == "/tmp"


async def test_tmp_stays_where_the_code_lies_below(mesh: Mesh) -> None:
    if not str(mesh.code).startswith("/tmp/"):
        pytest.skip("the tests' directories are not below /tmp")
    assert await mesh.processes.temporary_storage(mesh.function("plain.echo")) == "TMPDIR only"


# --- the engine dies --------------------------------------------------------------------------

_ENGINE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from tests.acceptance.environment_harness import eventually, running

async def main():
    async with running(Path({directory!r})) as mesh:
        asyncio.ensure_future(mesh.call("hostile.leave_daemon_and_sleep"))
        await eventually(lambda: "daemon runs" in mesh.log())
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_no_process_outlives_a_killed_engine(tmp_path: Path) -> None:
    directory = tmp_path / "engine"
    directory.mkdir()
    script = _ENGINE.format(here=str(HANDLERS.parents[2]), directory=str(directory))
    engine = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=subprocess.PIPE
    )
    assert engine.stdout is not None
    assert await engine.stdout.readline() == b"ready\n"
    mesh = Mesh(directory)
    assert len(await asyncio.to_thread(mesh.processes_left)) >= 2
    engine.kill()
    await engine.wait()
    await mesh.until_processes_left(0)


# --- inline only ------------------------------------------------------------------------------


async def test_inline_puts_the_engine_back_as_it_was(tmp_path: Path) -> None:
    before = (sys.stdout, sys.stderr, list(sys.path), dict(os.environ), sys.breakpointhook)
    async with running(tmp_path) as mesh:
        processes, mesh.pool = mesh.pool, InlinePool(SystemClock(), mesh.telemetry)
        await mesh.call(mesh.function("plain.echo", environment={"TABLE": "x"}))
        assert os.environ["TABLE"] == "x"
        await mesh.pool.close()
        mesh.pool = processes
    assert (sys.stdout, sys.stderr, list(sys.path), dict(os.environ), sys.breakpointhook) == before


async def test_inline_puts_directory_and_mask_back_after_each_call(tmp_path: Path) -> None:
    directory, mask = await asyncio.to_thread(os.getcwd), os.umask(0o022)
    os.umask(mask)
    async with running(tmp_path) as mesh:
        (mesh.code / "wanderer.py").write_text(
            "import os\n\ndef handler(event, context):\n    os.chdir('/')\n    os.umask(0o777)\n"
        )
        mesh.pool = InlinePool(SystemClock(), mesh.telemetry)
        await mesh.call(mesh.function("wanderer.handler", isolation="inline"))
        assert await asyncio.to_thread(os.getcwd) == directory
        assert os.umask(mask) == mask


async def test_inline_handlers_of_one_name_are_told_apart(tmp_path: Path) -> None:
    async with running(tmp_path) as mesh:
        processes, mesh.pool = mesh.pool, InlinePool(SystemClock(), mesh.telemetry)
        for name in ("one", "two", "one"):
            directory = tmp_path / name
            directory.mkdir(exist_ok=True)
            (directory / "app.py").write_text(f"def handler(e, c): return {name!r}")
            function = mesh.function("app.handler", name=name, code_directory=directory)
            assert payload(await mesh.call(function)) == name
        await mesh.pool.close()
        mesh.pool = processes


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (3, "Runtime exited with error: exit status 3"),
        (0, "Runtime exited without providing a reason"),
    ],
)
async def test_inline_sys_exit_does_not_end_the_engine(
    tmp_path: Path, code: int, text: str
) -> None:
    async with running(tmp_path) as mesh:
        processes, mesh.pool = mesh.pool, InlinePool(SystemClock(), mesh.telemetry)
        result = await mesh.call("hostile.exit_with", code)
        assert payload(result)["errorMessage"] == f"RequestId: {REQUEST_ID} Error: {text}"
        assert b"\nleaving\n" in result.log_tail
        await mesh.pool.close()
        mesh.pool = processes


async def test_inline_stops_the_clock_at_a_breakpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SlowTerminal())
    async with running(tmp_path) as mesh:
        processes, mesh.pool = mesh.pool, InlinePool(SystemClock(), mesh.telemetry)
        function = mesh.function("plain.break_here", timeout_seconds=0.2)
        assert payload(await mesh.call(function, "the event")) == "the event"
        await mesh.pool.close()
        mesh.pool = processes
    assert "(Pdb) 'the event'" in capsys.readouterr().out


class SlowTerminal(io.StringIO):
    """Somebody who thinks longer than the handler's timeout before typing `c`."""

    def __init__(self) -> None:
        super().__init__("p event\nc\n")

    def readline(self, size: int | None = -1, /) -> str:
        time.sleep(0.3)
        return super().readline(-1 if size is None else size)


# --- the router -------------------------------------------------------------------------------


async def test_each_function_runs_as_isolated_as_it_asks(mesh: Mesh) -> None:
    processes = mesh.processes
    mesh.pool = RoutingPool(processes, InlinePool(SystemClock(), mesh.telemetry))
    apart = payload(await mesh.call("plain.count"))
    inside = payload(
        await mesh.call(mesh.function("plain.count", name="inside", isolation="inline"))
    )
    assert apart["pid"] != os.getpid()
    assert inside["pid"] == os.getpid()
    await mesh.pool.close()
