"""One environment, its process played by the test: every order in which things can end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eventmesh.environments import frames
from eventmesh.environments.launchers import Child, Interpreter
from eventmesh.environments.logs import LogStream
from eventmesh.environments.process import Death, EnvironmentProcess, State
from eventmesh.environments.results import Reply
from eventmesh.environments.specification import Sandbox

PID = 2**22 + 7  # larger than any there can be
READY = b'{"max_rss_kb":2000}'


class PlayedLauncher:
    """Keeps what it was given; the test is the process."""

    interpreter = Interpreter((3, 12, 0), False, ())
    lost = False

    def __init__(self) -> None:
        self.killed: list[int] = []
        self.kill_asked = asyncio.Event()
        self.connection: socket.socket | None = None
        self.output_fd = -1

    def launch(self, child: Child, connection: socket.socket, output_fd: int) -> None:
        connection.setblocking(False)
        self.connection, self.output_fd = connection, output_fd

    def kill(self, pid: int) -> None:
        self.killed.append(pid)
        self.kill_asked.set()

    def suspect(self) -> None:
        raise AssertionError("no kill was in vain")

    async def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.leave_output()

    def leave_output(self) -> None:
        if self.output_fd >= 0:
            os.close(self.output_fd)
            self.output_fd = -1

    def write(self, kind: int, sequence: int, header: bytes, body: bytes = b"") -> None:
        assert self.connection is not None
        self.connection.send(frames.encode_head(kind, sequence, header, len(body)) + body)

    def print(self, text: bytes) -> None:
        os.write(self.output_fd, text)


class Stage:
    def __init__(self) -> None:
        self.launcher = PlayedLauncher()
        self.deaths: list[EnvironmentProcess] = []
        self.logged: list[tuple[str, bytes]] = []
        log = LogStream("stream", lambda *text: self.logged.append(text))
        sandbox = Sandbox("ab", "stream", Path("/nowhere"))
        self.process = EnvironmentProcess(sandbox, log, self.launcher, self.deaths.append)

    async def until_idle(self) -> None:
        starting = self.process.start(b"{}", 60.0)
        self.process.launched(PID)
        self.launcher.write(frames.READY, 0, READY)
        assert await starting == Reply(b"")
        assert self.process.state is State.IDLE

    def send(self) -> asyncio.Future[Reply | Death]:
        future = self.process.send(b"{}", b"event", 60.0)
        assert future is not None
        return future


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    stage.process.exited(0)
    await stage.launcher.close()


async def test_an_invocation(stage: Stage) -> None:
    await stage.until_idle()
    future = stage.send()
    assert stage.process.state is State.BUSY
    stage.launcher.print(b"said\n")
    stage.launcher.write(frames.RESULT, 1, b'{"ok":true,"max_rss_kb":3000}', b"body")
    assert await future == Reply(b"body")
    assert (stage.process.state, stage.process.max_memory_kb) == (State.IDLE, 3000)
    assert stage.process.log.end() == b"said\n"


async def test_a_failed_invocation(stage: Stage) -> None:
    await stage.until_idle()
    future = stage.send()
    header = b'{"ok":false,"max_rss_kb":1,"error_type":"KeyError","error_message":"k"}'
    stage.launcher.write(frames.RESULT, 1, header, b"{}")
    assert await future == Reply(b"{}", "KeyError", "k")


async def test_an_answer_counts_when_its_sender_ended_at_once(stage: Stage) -> None:
    await stage.until_idle()
    future = stage.send()
    stage.launcher.print(b"last words")
    stage.launcher.write(frames.RESULT, 1, b'{"ok":true,"max_rss_kb":1}', b"body")
    stage.process.exited(3 << 8)  # reported before the loop looked at the socket
    assert await future == Reply(b"body")
    assert stage.process.death == Death("exit", 3 << 8)
    assert stage.deaths == [stage.process]
    assert stage.process.log.end() == b"last words\n"


async def test_half_an_answer_does_not_count(stage: Stage) -> None:
    await stage.until_idle()
    future = stage.send()
    assert stage.launcher.connection is not None
    stage.launcher.connection.send(frames.encode_head(frames.RESULT, 1, b"{}", 100) + b"half")
    stage.process.exited(9)
    assert await future == Death("exit", 9)


async def test_output_is_complete_at_death(stage: Stage) -> None:
    await stage.until_idle()
    future = stage.send()
    stage.launcher.print(b"x" * 60_000 + b"\n")
    stage.process.exited(9)
    assert await future == Death("exit", 9)
    assert stage.process.log.end()[-3:] == b"xx\n"


async def test_the_end_of_the_socket_kills_and_waits_for_the_status(stage: Stage) -> None:
    await stage.until_idle()
    future = stage.send()
    assert stage.launcher.connection is not None
    stage.launcher.connection.close()
    await stage.launcher.kill_asked.wait()
    assert stage.launcher.killed == [PID]
    assert not future.done()
    stage.process.exited(4 << 8)
    assert await future == Death("exit", 4 << 8)


@pytest.mark.parametrize(
    ("kind", "sequence", "header"),
    [
        (frames.RESULT, 2, b'{"ok":true,"max_rss_kb":1}'),
        (frames.RESULT, 1, b"not json"),
        (frames.RESULT, 1, b'["ok"]'),
        (frames.RESULT, 1, b'{"ok":true}'),
        (frames.RESULT, 1, b'{"ok":false,"max_rss_kb":1}'),
        (frames.READY, 0, READY),
        (frames.INIT_ERROR, 0, b'{"max_rss_kb":1,"error_type":"","error_message":""}'),
        (frames.INVOKE, 1, b"{}"),
    ],
)
async def test_what_is_no_answer_is_a_violation(
    stage: Stage, kind: int, sequence: int, header: bytes
) -> None:
    await stage.until_idle()
    future = stage.send()
    stage.launcher.write(kind, sequence, header)
    await stage.launcher.kill_asked.wait()
    stage.process.exited(9)
    assert await future == Death("protocol", 9)
    assert b"[eventmesh] environment discarded: " in stage.process.log.end()


async def test_an_idle_environment_has_nothing_to_say(stage: Stage) -> None:
    await stage.until_idle()
    stage.launcher.write(frames.RESULT, 0, b'{"ok":true,"max_rss_kb":1}')
    await stage.launcher.kill_asked.wait()
    assert stage.process.send(b"{}", b"event", 60.0) is None
    stage.process.exited(9)
    assert stage.process.death == Death("protocol", 9)


async def test_an_init_error_ends_the_process(stage: Stage) -> None:
    starting = stage.process.start(b"{}", 60.0)
    stage.process.launched(PID)
    header = b'{"ok":false,"max_rss_kb":1,"error_type":"E","error_message":"m"}'
    stage.launcher.write(frames.INIT_ERROR, 0, header, b"payload")
    assert await starting == Reply(b"payload", "E", "m")
    assert stage.launcher.killed == [PID]
    stage.process.exited(1 << 8)
    assert stage.process.death == Death("error", 1 << 8)
    assert stage.process.ready is False


async def test_a_kill_before_the_fork_is_done_after_it(stage: Stage) -> None:
    starting = stage.process.start(b"{}", 60.0)
    stage.process.kill("cancelled")
    assert stage.launcher.killed == []
    stage.process.launched(PID)
    assert stage.launcher.killed == [PID]
    stage.process.exited(9)
    assert await starting == Death("cancelled", 9)


async def test_the_first_reason_counts(stage: Stage) -> None:
    await stage.until_idle()
    stage.process.kill("idle")
    stage.process.kill("closing")
    stage.process.exited(9)
    assert await stage.process.gone() == Death("idle", 9)
    stage.process.exited(9)
    assert len(stage.deaths) == 1


async def test_a_launch_that_failed(stage: Stage) -> None:
    starting = stage.process.start(b"{}", 60.0)
    stage.process.launch_failed("no memory")
    assert await starting == Death("error", None, "no memory")


async def test_a_limit_of_nothing_is_over_at_once(stage: Stage) -> None:
    await stage.until_idle()
    future = stage.process.send(b"{}", b"event", 0.0)
    assert future is not None
    await stage.launcher.kill_asked.wait()
    stage.process.exited(9)
    assert await future == Death("timeout", 9)
