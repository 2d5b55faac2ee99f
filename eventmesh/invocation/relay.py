"""The outbox relay: takes deliveries from the store to their destinations until they arrive.

A destination that fails is tried again with growing delays, for ever; the others go on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from eventmesh import failpoints
from eventmesh.clock import Clock
from eventmesh.connectors import Destination
from eventmesh.errors import StateError
from eventmesh.state.contract import Delivery, DeliveryStore
from eventmesh.telemetry import DeliveryFailed, DeliverySent, Telemetry

logger = logging.getLogger("eventmesh.relay")

BATCH = 100
AT_ONCE = 8
_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 300.0

#: (function, setting) -> destination; raises DestinationError when there is none any more
FindDestination = Callable[[str, str], Awaitable[Destination]]


def retry_delay(attempts: int) -> float:
    """Seconds before the next try after `attempts` failures: 1, 2, 4 ... 300."""
    return min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(attempts - 1, 16))


class Relay:
    """Empties the outbox. One task; deliveries go out several at once."""

    def __init__(
        self,
        store: DeliveryStore,
        find: FindDestination,
        clock: Clock,
        telemetry: Telemetry,
        written: asyncio.Event,
    ) -> None:
        self._store = store
        self._find = find
        self._clock = clock
        self._telemetry = telemetry
        self._written = written

    async def run(self) -> None:
        """Deliver until cancelled. Cancelled amid a send, the delivery is sent again after a
        restart."""
        while True:
            self._written.clear()
            try:
                wait = await self.deliver_due()
            except StateError as error:
                logger.error("deliveries wait for the state: %s", error)
                wait = _FIRST_RETRY_SECONDS
            if wait != 0:
                await self._clock.wait(self._written, wait)

    async def deliver_due(self) -> float | None:
        """Send what is due. Returns the seconds until more is due; None when nothing is left."""
        now = self._clock.now()
        pending = await self._store.pending(BATCH)
        due = [d for d in pending if d.due_at <= now]
        for start in range(0, len(due), AT_ONCE):
            await asyncio.gather(*(self._deliver(d) for d in due[start : start + AT_ONCE]))
        if due:
            return 0
        return pending[0].due_at - now if pending else None

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            destination = await self._find(delivery.function, delivery.destination)
            failpoints.reach("before_delivery")
            await destination.send(delivery.payload, delivery.attributes)
            failpoints.reach("after_delivery")
        except Exception as error:
            await self._postpone(delivery, error)
            return
        await self._store.complete(delivery)
        self._telemetry.emit(DeliverySent(delivery.function, delivery.destination))

    async def _postpone(self, delivery: Delivery, error: Exception) -> None:
        attempts = delivery.attempts + 1
        delay = retry_delay(attempts)
        again = replace(delivery, attempts=attempts, due_at=self._clock.now() + delay)
        await self._store.postpone(again)
        text = str(error) or type(error).__name__
        self._telemetry.emit(DeliveryFailed(delivery.function, delivery.destination, text, delay))
