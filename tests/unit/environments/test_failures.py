"""The platform's error payloads, byte for byte (semantics 1.3, 1.4)."""

from __future__ import annotations

import signal

import pytest

from eventmesh.environments import failures, runtime


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1.00"), (3.0, "3.00"), (0.5, "0.50"), (900, "900.00"), (1.005, "1.00")],
)
def test_timeout(seconds: float, text: str) -> None:
    failure = failures.timed_out("some-id", seconds)
    assert failure.payload == (
        b'{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: some-id Error: '
        b'Task timed out after %s seconds"}' % text.encode()
    )
    assert failure.error_type == "Sandbox.Timedout"
    assert failure.status == "timeout"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "Runtime exited without providing a reason"),
        (3 << 8, "Runtime exited with error: exit status 3"),
        (127 << 8, "Runtime exited with error: exit status 127"),
        (int(signal.SIGKILL), "Runtime exited with error: signal: killed"),
        (int(signal.SIGSEGV), "Runtime exited with error: signal: segmentation fault"),
        (int(signal.SIGSEGV) | 0x80, "Runtime exited with error: signal: segmentation fault"),
        (int(signal.SIGABRT), "Runtime exited with error: signal: aborted"),
        (int(signal.SIGXFSZ), "Runtime exited with error: signal: file size limit exceeded"),
        (
            int(signal.SIGRTMIN) + 3,
            f"Runtime exited with error: signal: signal {signal.SIGRTMIN + 3}",
        ),
        (None, "Runtime exited with error: signal: killed"),
    ],
)
def test_exit(status: int | None, text: str) -> None:
    failure = failures.exited("some-id", status)
    assert failure.payload == (
        b'{"errorType":"Runtime.ExitError","errorMessage":"RequestId: some-id Error: %s"}'
        % text.encode()
    )
    assert failure.status == "error\tError Type: Runtime.ExitError"


def test_response_too_large() -> None:
    failure = failures.response_too_large()
    assert failure.payload == (
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload size '
        b'(6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}'
    )
    assert failure.payload == runtime.size_fault()
    assert failure.error_type == "Function.ResponseSizeTooLarge"
