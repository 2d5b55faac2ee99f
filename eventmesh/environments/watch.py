"""Looks at busy environments every 100 ms: kills those over a limit, passes on their log so far.

Reading /proc and directories happens in one thread of its own; nothing runs while all are idle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from eventmesh.environments import limits
from eventmesh.environments.limits import Subject, Usage
from eventmesh.environments.process import EnvironmentProcess, State
from eventmesh.functions.function import Function

INTERVAL_SECONDS = 0.1
#: the size of a directory is read at every n-th look only
STORAGE_EVERY = 5


@dataclass(frozen=True, slots=True)
class Watched:
    process: EnvironmentProcess
    function: Function


class Watch:
    """`busy` lists what to look at. `touch` must be called whenever an environment gets busy."""

    def __init__(self, busy: Callable[[], Iterable[Watched]]) -> None:
        self._busy = busy
        self._reader: ThreadPoolExecutor | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looks = 0
        self.active = False

    def touch(self) -> None:
        """Look from now on, until nothing is busy. Never waits."""
        if not self.active:
            self.active = True
            self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._reader is not None:
            self._reader.shutdown(wait=False)
        self._reader = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._look)

    def _look(self) -> None:
        watched = list(self._busy())
        if not watched:
            self.active = False
            return
        for one in watched:
            if one.process.state is State.BUSY:
                one.process.log.flush()
        self._looks += 1
        with_storage = self._looks % STORAGE_EVERY == 0
        subjects = [_subject(one, with_storage) for one in watched]
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, "eventmesh-watch")
        loop = asyncio.get_running_loop()
        reading = self._reader.submit(lambda: list(map(limits.measure, subjects)))
        reading.add_done_callback(lambda done: _hand_over(loop, self._judge, watched, done))

    def _judge(self, watched: list[Watched], usages: list[Usage]) -> None:
        for one, usage in zip(watched, usages, strict=True):
            _enforce(one.process, one.function, usage)
        if self._reader is not None:
            self._arm()


def _subject(one: Watched, with_storage: bool) -> Subject:
    directory = one.process.sandbox.directory if with_storage else None
    return Subject(one.process.pid, one.function.memory_mb, directory)


def _hand_over(
    loop: asyncio.AbstractEventLoop,
    judge: Callable[[list[Watched], list[Usage]], None],
    watched: list[Watched],
    done: Future[list[Usage]],
) -> None:
    if not done.cancelled() and not loop.is_closed():
        loop.call_soon_threadsafe(judge, watched, done.result())


def _enforce(process: EnvironmentProcess, function: Function, usage: Usage) -> None:
    if process.state is State.DEAD:
        return
    process.max_memory_kb = max(process.max_memory_kb, usage.memory_kb)
    found = limits.overrun(usage, function.memory_mb, function.ephemeral_storage_mb)
    if found is not None:
        reason, sentence = found
        process.log.write(f"[eventmesh] {sentence}; environment killed\n".encode())
        process.kill(reason)
