"""The durable asynchronous queue: accept, attempt, retry, end (semantics 2.1).

Events live in the store; each function has a lane that claims a few at a time and attempts them.
All lanes share
the asynchronous slots one by one, in turn, so that one function's backlog does not starve its
neighbours.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from eventmesh import failpoints, tasks
from eventmesh.clock import Clock
from eventmesh.connectors import InvocationResult
from eventmesh.errors import InvocationError, ResourceNotFound, StateError
from eventmesh.functions.function import Function
from eventmesh.invocation import outcomes, retry
from eventmesh.invocation.invoker import Call, Invoker
from eventmesh.state.contract import (
    AsyncEventStore,
    Durability,
    Finished,
    PositionChanges,
    Postponed,
    QueuedEvent,
)
from eventmesh.telemetry import EventFailed, EventRetried, EventsAccepted, Telemetry

logger = logging.getLogger("eventmesh.asynchronous")

#: events a lane claims ahead of the slots it gets; a kill costs them nothing, they were not started
CLAIM_AHEAD = 64
#: how long a lane waits before it asks a store that failed again
STORE_RETRY_SECONDS = 1.0


@dataclass(eq=False)
class _Lane:
    function: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    claimed: deque[QueuedEvent] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class AsyncQueue:
    """Everything that happens to asynchronous events between `accept` and their end."""

    def __init__(
        self,
        store: AsyncEventStore,
        invoker: Invoker,
        clock: Clock,
        telemetry: Telemetry,
        *,
        concurrency: int = 16,
        delays: retry.RetryDelays | None = None,
    ) -> None:
        self._store = store
        self._invoker = invoker
        self._clock = clock
        self._telemetry = telemetry
        self._slots = asyncio.Semaphore(concurrency)
        self._delays = delays or retry.RetryDelays()
        self._lanes: dict[str, _Lane] = {}
        self._attempts: set[asyncio.Task[None]] = set()
        self._stopping = False
        #: set whenever deliveries were written, for the relay
        self.deliveries_written = asyncio.Event()

    async def accept(
        self,
        events: Sequence[QueuedEvent],
        changes: PositionChanges | None = None,
        durability: Durability = Durability.SYNCED,
    ) -> None:
        """Store events and position changes in one transaction; once this returns they are never
        lost.

        All events are of one function and one source. Raises StateFull; then nothing was stored.
        """
        await self._store.accept(events, changes, durability)
        if events:
            first = events[0]
            self._telemetry.emit(EventsAccepted(first.function, first.source, len(events)))
            self._wake(first.function)

    def start(self) -> None:
        """Begin attempting stored events of every function in the catalog."""
        for function in self._invoker.catalog:
            self._lane(function.name)

    def wake_all(self) -> None:
        """Look at the store again: another process wrote to it."""
        for lane in self._lanes.values():
            lane.wake.set()

    @property
    def in_flight(self) -> int:
        """Attempts running now."""
        return len(self._attempts)

    async def drain(self, seconds: float) -> bool:
        """Stop claiming, wait up to `seconds` for running attempts, release what was only claimed.

        Returns whether everything ended in time; what did not is cancelled and runs again after a
        restart.
        """
        self._stopping = True
        await tasks.cancel(lane.task for lane in self._lanes.values() if lane.task)
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=seconds)
        in_time = not self._attempts
        await tasks.cancel(self._attempts)
        waiting = [Postponed(e) for lane in self._lanes.values() for e in lane.claimed]
        if waiting:
            await self._store.settle(waiting, Durability.NORMAL)
        return in_time

    def _wake(self, function: str) -> None:
        self._lane(function).wake.set()

    def _lane(self, function: str) -> _Lane:
        lane = self._lanes.get(function)
        if lane is None:
            lane = self._lanes[function] = _Lane(function)
            if not self._stopping:
                lane.task = asyncio.create_task(self._run(lane), name=f"async lane {function}")
        return lane

    async def _run(self, lane: _Lane) -> None:
        while True:
            try:
                await self._advance(lane)
            except StateError as error:
                logger.error("%s: asynchronous events wait for the state: %s", lane.function, error)
                await self._clock.sleep(STORE_RETRY_SECONDS)

    async def _advance(self, lane: _Lane) -> None:
        """Start one claimed event when it may run, or claim more, or wait until some are due."""
        if not lane.claimed:
            lane.wake.clear()
            now = self._clock.now()
            lane.claimed.extend(await self._store.claim(lane.function, CLAIM_AHEAD, now))
        if lane.claimed:
            await self._start_one(lane)
            return
        due = await self._store.next_due(lane.function)
        await self._clock.wait(lane.wake, None if due is None else due - self._clock.now())

    async def _start_one(self, lane: _Lane) -> None:
        if not self._never_runs(lane.function):
            await self._invoker.limits.wait_for_room(lane.function)
        await self._slots.acquire()
        task = asyncio.create_task(self._attempt(lane.claimed.popleft(), lane))
        self._attempts.add(task)
        task.add_done_callback(self._attempt_ended)

    def _attempt_ended(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        self._slots.release()
        if not task.cancelled() and task.exception() is not None:
            logger.error("an asynchronous attempt broke", exc_info=task.exception())

    def _never_runs(self, name: str) -> bool:
        try:
            return self._invoker.catalog.find(name).reserved_concurrency == 0
        except ResourceNotFound:
            return True

    async def _attempt(self, event: QueuedEvent, lane: _Lane) -> None:
        settlement = await self._outcome(event)
        while True:
            try:
                failpoints.reach("before_settle")
                await self._store.settle([settlement], Durability.NORMAL)
                failpoints.reach("after_settle")
                break
            except StateError as error:
                logger.error("%s: an outcome waits for the state: %s", lane.function, error)
                await self._clock.sleep(STORE_RETRY_SECONDS)
        if isinstance(settlement, Postponed):
            lane.wake.set()
        elif settlement.deliveries:
            self.deliveries_written.set()

    async def _outcome(self, event: QueuedEvent) -> Finished | Postponed:
        """Attempt the event and decide; pure decisions are in `retry`, records in `outcomes`."""
        try:
            function = self._invoker.catalog.find(event.function, event.qualifier)
        except ResourceNotFound:
            return self._put_back(event, retry.Again(replace(event, due_at=self._clock.now() + 60)))
        now = self._clock.now()
        if function.reserved_concurrency == 0:
            gone = retry.GiveUp(event, retry.ZERO_RESERVED_CONCURRENCY)
            return self._give_up(function, gone, None)
        if retry.too_old(event, function.asynchronous, now):
            return self._give_up(function, retry.GiveUp(event, retry.EVENT_AGE_EXCEEDED), None)
        try:
            failpoints.reach("before_invoke")
            result = await self._invoker.invoke(_call(event))
            failpoints.reach("after_invoke")
        except Exception as error:
            if not isinstance(error, InvocationError):
                logger.exception("%s: eventmesh itself failed; the event waits", event.function)
            return self._decided(
                function,
                retry.after_throttle(event, function.asynchronous, self._delays, self._clock.now()),
                None,
            )
        if result.function_error is None:
            return outcomes.succeeded(function, event, result, self._clock.now())
        return self._decided(
            function,
            retry.after_error(event, function.asynchronous, self._delays, self._clock.now()),
            result,
        )

    def _decided(
        self,
        function: Function,
        decision: retry.Again | retry.GiveUp,
        result: InvocationResult | None,
    ) -> Finished | Postponed:
        if isinstance(decision, retry.GiveUp):
            return self._give_up(function, decision, result)
        return self._put_back(decision.event, decision, result)

    def _put_back(
        self, event: QueuedEvent, decision: retry.Again, result: InvocationResult | None = None
    ) -> Postponed:
        if result is not None:
            delay = decision.event.due_at - self._clock.now()
            error, message = result.error_type or "", result.error_message or ""
            self._telemetry.emit(
                EventRetried(
                    event.function, event.request_id, event.attempts, delay, error, message
                )
            )
        return Postponed(decision.event)

    def _give_up(
        self, function: Function, decision: retry.GiveUp, result: InvocationResult | None
    ) -> Finished:
        event = decision.event
        self._telemetry.emit(
            EventFailed(
                event.function,
                event.request_id,
                decision.condition,
                event.attempts,
                (result.error_type if result else None) or decision.condition,
                (result.error_message if result else None) or "",
                outcomes.sent_to(function),
            )
        )
        return outcomes.failed(function, event, decision.condition, result, self._clock.now())


def _call(event: QueuedEvent) -> Call:
    return Call(
        function=event.function,
        event=event.payload,
        qualifier=event.qualifier,
        request_id=event.request_id,
        mode="Event",
        source=event.source,
        attempt=event.attempts + 1,
        client_context=event.client_context,
        trace_id=event.trace_id,
    )
