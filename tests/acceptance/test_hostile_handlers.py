"""Handlers that misbehave: each has its expected result, and the engine goes on."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from eventmesh.connectors import InvocationResult
from tests.acceptance.environment_harness import REQUEST_ID, Mesh, eventually, payload, running

LEVEL_0 = "isolation level 0 refuses nothing of this kind; it is documented as such"


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running(tmp_path) as mesh:
        await mesh.call("plain.echo", "warm")  # the neighbour was there before
        yield mesh
        assert payload(await mesh.call("plain.echo", "neighbour")) == "neighbour"


async def provoke(mesh: Mesh, name: str, event: Any = None, **settings: Any) -> InvocationResult:
    settings.setdefault("timeout_seconds", 2.0)
    return await mesh.call(mesh.function(f"hostile.{name}", **settings), event)


def assert_exit(result: InvocationResult, text: str) -> None:
    assert payload(result) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {REQUEST_ID} Error: {text}",
    }
    assert result.function_error == "Unhandled"


async def stopped(mesh: Mesh, count: int = 1) -> list[str]:
    """Why environments stopped, once that many have."""
    await eventually(lambda: len(mesh.stopped()) >= count)
    return mesh.stopped()


async def test_e1_control_characters_in_an_exception(mesh: Mesh) -> None:
    result = await provoke(mesh, "raise_control_characters")
    assert b"line\\r\\nnext \\u001b[31mred" in result.payload
    assert payload(result)["errorMessage"] == "line\r\nnext \x1b[31mred"


async def test_e1_a_text_of_50_megabytes_is_cut(mesh: Mesh) -> None:
    result = await provoke(mesh, "raise_huge_text", memory_mb=1024)
    assert payload(result)["errorMessage"] == "x" * (256 * 1024)
    assert "bytes of output dropped" in mesh.log()


async def test_e1_a_text_that_is_no_unicode(mesh: Mesh) -> None:
    result = await provoke(mesh, "raise_surrogate")
    assert payload(result)["errorMessage"] == "lone \ud800"
    assert result.error_message == "lone ?"


async def test_e1_a_text_that_cannot_be_had(mesh: Mesh) -> None:
    error = payload(await provoke(mesh, "raise_without_str"))
    assert (error["errorType"], error["errorMessage"]) == (
        "Odd",
        "<the exception's text could not be had>",
    )


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (3, "Runtime exited with error: exit status 3"),
        (0, "Runtime exited without providing a reason"),
        (None, "Runtime exited without providing a reason"),
        ("bye", "Runtime exited with error: exit status 1"),
    ],
)
async def test_e2_sys_exit(mesh: Mesh, code: Any, text: str) -> None:
    result = await provoke(mesh, "exit_with", code)
    assert_exit(result, text)
    assert b"leaving\n" in result.log_tail
    assert result.log_tail.endswith(b"\tStatus: error\tError Type: Runtime.ExitError\n")
    assert (b"bye\n" in result.log_tail) is (code == "bye")
    assert await stopped(mesh) == ["exit"]


async def test_e3_os_exit(mesh: Mesh) -> None:
    assert_exit(await provoke(mesh, "exit_at_once", 0), "Runtime exited without providing a reason")
    assert_exit(await provoke(mesh, "exit_at_once", 9), "Runtime exited with error: exit status 9")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (signal.SIGKILL, "killed"),
        (signal.SIGTERM, "terminated"),
        (signal.SIGABRT, "aborted"),
        (signal.SIGUSR1, "user defined signal 1"),
    ],
)
async def test_e3_signals(mesh: Mesh, number: int, text: str) -> None:
    result = await provoke(mesh, "die_by", int(number))
    assert_exit(result, f"Runtime exited with error: signal: {text}")


async def test_e3_segmentation_fault(mesh: Mesh) -> None:
    result = await provoke(mesh, "segfault")
    assert_exit(result, "Runtime exited with error: signal: segmentation fault")


@pytest.mark.parametrize(
    "name", ["loop_for_ever", "ignore_sigterm", "swallow_everything", "die_by"]
)
async def test_e4_endless_handlers(mesh: Mesh, name: str) -> None:
    result = await provoke(mesh, name, int(signal.SIGSTOP), timeout_seconds=1.0)
    assert payload(result) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {REQUEST_ID} Error: Task timed out after 1.00 seconds",
    }
    assert await stopped(mesh) == ["timeout"]


async def test_e5_fork_bomb(mesh: Mesh) -> None:
    result = await provoke(mesh, "fork_bomb", timeout_seconds=6.0, memory_mb=3008)
    assert result.error_type == "Sandbox.Timedout"
    assert b"300 forks" in result.log_tail
    await mesh.until_processes_left(1)  # the neighbour\'s


async def test_e6_5000_threads(mesh: Mesh) -> None:
    error = payload(await provoke(mesh, "many_threads", timeout_seconds=10.0, memory_mb=512))
    assert (error["errorType"], error["errorMessage"]) == ("RuntimeError", "can't start new thread")
    assert mesh.stopped() == []


async def test_e6_300_threads_are_fine(mesh: Mesh) -> None:
    assert payload(await provoke(mesh, "some_threads", timeout_seconds=5.0)) == 300


async def test_e7_two_gigabytes_at_once(mesh: Mesh) -> None:
    result = await provoke(mesh, "allocate_at_once")
    assert result.error_type == "MemoryError"


@pytest.mark.parametrize("name", ["grow", "grow_in_child"])
async def test_e7_growing_memory(mesh: Mesh, name: str) -> None:
    result = await provoke(mesh, name, timeout_seconds=10.0)
    assert_exit(result, "Runtime exited with error: signal: killed")
    assert re.search(
        rb"memory limit of 128 MB exceeded \(\d+ MB in use\); environment killed\n", result.log_tail
    )
    assert result.max_memory_mb > 128
    assert f"Max Memory Used: {result.max_memory_mb} MB".encode() in result.log_tail
    assert await stopped(mesh) == ["memory"]


async def test_e7_shared_memory_counts_once(mesh: Mesh) -> None:
    assert payload(await provoke(mesh, "fork_sharing")) == 60 * 1024 * 1024


async def test_e8_200_megabytes_of_output(mesh: Mesh) -> None:
    result = await provoke(mesh, "flood_stdout", timeout_seconds=20.0)
    assert payload(result) == "done"
    dropped = 200 * 1024 * 1024 - 256 * 1024
    assert f"[eventmesh] {dropped} bytes of output dropped".encode() in result.log_tail
    assert len(mesh.log("hostile-flood_stdout")) < 300 * 1024


async def test_e9_closed_descriptors(mesh: Mesh) -> None:
    result = await provoke(mesh, "close_descriptors", timeout_seconds=10.0)
    assert_exit(result, "Runtime exited with error: signal: killed")
    assert await stopped(mesh) == ["exit"]


@pytest.mark.parametrize("name", ["junk_everywhere", "huge_frame", "forged_answer"])
async def test_e10_nonsense_on_the_protocol_socket(mesh: Mesh, name: str) -> None:
    result = await provoke(mesh, name, timeout_seconds=10.0)
    assert_exit(result, "Runtime exited with error: signal: killed")
    assert b"[eventmesh] environment discarded: " in result.log_tail
    assert await stopped(mesh) == ["protocol"]


async def test_e11_a_result_of_seven_megabytes(mesh: Mesh) -> None:
    result = await provoke(mesh, "give", "large")
    assert payload(result)["errorType"] == "Function.ResponseSizeTooLarge"
    assert payload(await provoke(mesh, "give", "set"))["errorType"] == "Runtime.MarshalError"
    assert mesh.stopped() == []


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("object", "Object of type object is not JSON serializable"),
        ("set", "Object of type set is not JSON serializable"),
        ("circular", "Circular reference detected"),
        ("deep", "maximum recursion depth exceeded while encoding a JSON object"),
        ("generator", "Object of type generator is not JSON serializable"),
    ],
)
async def test_e12_results_that_are_no_json(mesh: Mesh, what: str, message: str) -> None:
    error = payload(await provoke(mesh, "give", what))
    assert error["errorType"] == "Runtime.MarshalError"
    assert error["errorMessage"] == f"Unable to marshal response: {message}"
    assert mesh.stopped() == []


async def test_e14_a_lone_surrogate(mesh: Mesh) -> None:
    result = await provoke(mesh, "give", "surrogate")
    if sys.version_info >= (3, 12):
        assert result.error_type == "Runtime.MarshalError"
    else:
        assert result.payload == b'{"text": "\\ud800"}'
    assert mesh.stopped() == []


async def test_e15_a_daemon_left_behind(mesh: Mesh) -> None:
    function = mesh.function("hostile.leave_daemon")
    assert payload(await mesh.call(function)) == "left a daemon"
    assert payload(await mesh.call(function)) == "left a daemon"
    await mesh.until_processes_left(4)
    await mesh.pool.retire(function)
    await mesh.until_processes_left(1)  # the neighbour\'s


async def test_e15_a_thread_left_behind(mesh: Mesh) -> None:
    function = mesh.function("hostile.leave_thread")
    assert payload(await mesh.call(function)) == "left a thread"
    before = mesh.log().count("still here")
    await eventually(lambda: mesh.log().count("still here") > before)
    assert payload(await mesh.call(function)) == "left a thread"


async def test_e15_a_fork_that_returns(mesh: Mesh) -> None:
    function = mesh.function("hostile.fork_and_return")
    assert [payload(await mesh.call(function)) for _ in range(2)] == ["parent", "parent"]
    assert mesh.stopped() == []


async def test_e16_directory_and_umask_are_put_back(mesh: Mesh) -> None:
    function = mesh.function("hostile.change_process")
    expected = {"cwd": str(mesh.code), "umask": 0o022, "kept": None}
    assert payload(await mesh.call(function)) == expected
    assert payload(await mesh.call(function)) == {**expected, "kept": "yes"}


async def test_e17_a_file_over_the_limit(mesh: Mesh) -> None:
    result = await provoke(mesh, "write_large_file", 8, ephemeral_storage_mb=8)
    assert (result.error_type, result.error_message) == ("OSError", "[Errno 27] File too large")
    fits = mesh.function("hostile.write_large_file", name="fits", ephemeral_storage_mb=9)
    assert payload(await mesh.call(fits, 8)) == "written"


async def test_e17_storage_filled_file_by_file(mesh: Mesh) -> None:
    result = await provoke(mesh, "fill_tmp", timeout_seconds=20.0, ephemeral_storage_mb=8)
    assert_exit(result, "Runtime exited with error: signal: killed")
    assert b"[eventmesh] ephemeral storage limit of 8 MB exceeded (" in result.log_tail
    assert await stopped(mesh) == ["storage"]


async def test_e17_5000_open_files(mesh: Mesh) -> None:
    result = await provoke(mesh, "open_many_files")
    assert result.error_type == "OSError"
    assert result.error_message == "[Errno 24] Too many open files: '/dev/null'"
    assert mesh.stopped() == []


@pytest.mark.parametrize(
    ("what", "error_type"), [("interrupt", "KeyboardInterrupt"), ("generator", "GeneratorExit")]
)
async def test_e18_exceptions_that_are_no_errors(mesh: Mesh, what: str, error_type: str) -> None:
    result = await provoke(mesh, "raise_base", what)
    assert (result.error_type, result.error_message) == (error_type, what)
    assert mesh.stopped() == []


async def test_e18_a_subclass_of_system_exit(mesh: Mesh) -> None:
    result = await provoke(mesh, "exit_subclass")
    assert_exit(result, "Runtime exited with error: exit status 4")


async def test_e19_level_0_hides_no_process_but_has_no_secrets(mesh: Mesh) -> None:
    found = payload(await provoke(mesh, "attack_engine"))
    assert found["sees_engine"] is True, LEVEL_0
    assert found["zygote_environment"] == ["HOME", "LANG", "PATH"]
    assert found["core"] == [0, 0]
    assert found["no_new_privs"] is True


async def test_e19_a_stopped_zygote(mesh: Mesh) -> None:
    result = await provoke(mesh, "stop_zygote", timeout_seconds=1.0)
    assert result.error_type == "Sandbox.Timedout"


async def test_e19_a_killed_zygote(mesh: Mesh) -> None:
    result = await provoke(mesh, "kill_zygote")
    assert_exit(result, "Runtime exited with error: signal: killed")


async def test_e20_loading_is_tested_with_the_environments(mesh: Mesh) -> None:
    # hangs, exits and errors at import have their own tests; here only that neighbours go on
    for handler in ("syntax_error.handler", "import_error.handler", "exits_at_import.handler"):
        assert (await mesh.call(handler)).function_error == "Unhandled"


async def test_e21_patched_modules(mesh: Mesh) -> None:
    function = mesh.function("hostile.patch_everything")
    event = {"still": ["works", 1]}
    assert payload(await mesh.call(function, event)) == event
    assert payload(await mesh.call(function, event)) == event
    assert mesh.stopped() == []


async def test_e22_level_0_lets_code_be_replaced(mesh: Mesh) -> None:
    assert payload(await provoke(mesh, "replace_own_code")) == "changed", LEVEL_0
    assert (mesh.code / "hostile.py").read_text().endswith("# changed\n")


async def test_e23_an_async_generator_is_a_clear_error(mesh: Mesh) -> None:
    error = payload(await provoke(mesh, "generate"))
    assert error["errorType"] == "Runtime.MarshalError"
    assert (
        error["errorMessage"]
        == "Unable to marshal response: Object of type async_generator is not JSON serializable"
    )


async def test_e23_a_coroutine_never_awaited(mesh: Mesh) -> None:
    result = await provoke(mesh, "never_awaited")
    assert payload(result) == "not awaited"
    assert b"RuntimeWarning: coroutine 'sleep' was never awaited" in result.log_tail
