"""Virtual time: event loops that share one clock which jumps to whatever is due next.

Each simulated process has a loop of its own, so that it can be stopped and killed as a process can;
what belongs to no process (the network, the store, handlers) is called by the timeline itself.
Nothing depends on addresses or on the wall clock: a run is decided by its seed alone.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

#: callbacks at one moment of virtual time before it is called a livelock
MOST_CALLS_AT_ONCE = 200_000
EPOCH = 1_700_000_000.0


class Livelock(AssertionError):
    """Tasks wake each other for ever and time does not move on."""


class Call:
    """A callback, of a loop or (loop None) of the timeline. What loops call a handle."""

    __slots__ = ("args", "callback", "context", "due", "is_cancelled", "loop")

    def __init__(
        self,
        loop: SimulatedLoop | None,
        due: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        self.loop = loop
        self.due = due
        self.callback = callback
        self.args = args
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.callback, self.args = _nothing, ()

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.due


def _nothing() -> None:
    return None


class Timeline:
    """The one clock. `run` calls everything in order of time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = itertools.count()
        self._later: list[tuple[float, int, Call]] = []
        self._ready: deque[Call] = deque()

    def after(self, seconds: float, callback: Callable[..., object], *args: Any) -> Call:
        """Call something that belongs to no process."""
        return self.put(Call(None, self.now + max(0.0, seconds), callback, args, None))

    def put(self, call: Call) -> Call:
        heapq.heappush(self._later, (call.due, next(self._order), call))
        return call

    def put_ready(self, call: Call) -> Call:
        self._ready.append(call)
        return call

    def run(self, until: float, done: Callable[[], bool]) -> None:
        """Let time pass until `done()`, or `until`. Raises Livelock."""
        try:
            while not done():
                if not self._later or self._later[0][0] > until:
                    self.now = until
                    return
                due, _, call = heapq.heappop(self._later)
                self.now = max(self.now, due)
                self._ready.append(call)
                self.run_ready()
        finally:
            asyncio._set_running_loop(None)

    def run_ready(self) -> None:
        """Run what can run now."""
        ready, calls = self._ready, 0
        current: SimulatedLoop | None = None
        while ready:
            call = ready.popleft()
            calls += 1
            if calls > MOST_CALLS_AT_ONCE:
                raise Livelock(f"{calls} callbacks at {self.now}")
            if call.is_cancelled:
                continue
            loop = call.loop
            if loop is None:
                current = loop  # only an engine's code asks which loop runs
                call.callback(*call.args)
                continue
            if loop.is_stopped:
                loop.missed.append(call)
                continue
            if loop.is_dead:
                continue
            if loop is not current:
                asyncio._set_running_loop(loop)
                current = loop
            if call.context is None:
                call.callback(*call.args)
            else:
                call.context.run(call.callback, *call.args)


class _Future(asyncio.Future[Any]):
    """A future whose hash is its number: sets of them iterate the same in every run."""

    def __hash__(self) -> int:
        return self.number  # type: ignore[attr-defined,no-any-return]


class _Task(asyncio.Task[Any]):
    def __new__(cls, coro: Any, *, loop: SimulatedLoop, **_: Any) -> _Task:
        task = super().__new__(cls)
        task.number = next(loop.numbers)  # type: ignore[attr-defined]
        return task

    def __hash__(self) -> int:
        return self.number  # type: ignore[attr-defined,no-any-return]


class SimulatedLoop(asyncio.AbstractEventLoop):
    """The event loop of one simulated process: timers and callbacks, nothing else."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.numbers = itertools.count(1)
        #: SIGSTOP: what comes due meanwhile is in `missed`
        self.is_stopped = False
        self.is_dead = False
        self.missed: list[Call] = []
        self.problems: list[str] = []

    def resume(self, random: Random) -> None:
        """SIGCONT. A real loop takes network and timers in no promised order."""
        self.is_stopped = False
        missed, self.missed = self.missed, []
        timers = [call for call in missed if call.due]
        others = [call for call in missed if not call.due]
        for call in others + timers if random.random() < 0.5 else timers + others:
            self.timeline.put_ready(call)

    def kill(self) -> None:
        """SIGKILL: the process never runs again. Its coroutines are unwound, which nobody sees."""
        self.is_stopped = False
        for call in self.missed:
            self.timeline.put_ready(call)
        self.missed = []
        while alive := sorted(asyncio.all_tasks(self), key=hash):
            for task in alive:
                task.cancel()
            self.timeline.run_ready()
        self.is_dead = True

    def time(self) -> float:
        return self.timeline.now

    def call_soon(
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Any:
        return self.timeline.put_ready(Call(self, 0.0, callback, args, context))

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Any:
        return self.timeline.put(Call(self, when, callback, args, context))

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Any:
        return self.call_at(self.timeline.now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        future = _Future(loop=self)
        future.number = next(self.numbers)  # type: ignore[attr-defined]
        return future

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: Any = None, context: Any = None, **_: Any
    ) -> asyncio.Task[Any]:
        return _Task(coro, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")


class SkewedClock:
    """A process's `Clock`: its wall clock is wrong by `skew` seconds, its monotonic one runs true
    from a beginning of its own."""

    def __init__(self, timeline: Timeline, skew: float, boot: float) -> None:
        self._timeline = timeline
        self._wall = EPOCH + skew
        self._boot = boot

    def now(self) -> float:
        return self._timeline.now + self._wall

    def monotonic(self) -> float:
        return self._timeline.now + self._boot

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True
