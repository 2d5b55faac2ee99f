"""Where records of asynchronous invocations go: built once per function and setting, another
function among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from eventmesh.clock import Clock
from eventmesh.connectors import Destination
from eventmesh.errors import DestinationError, EventMeshError, ResourceNotFound
from eventmesh.functions.catalog import FunctionCatalog
from eventmesh.functions.function import DestinationReference
from eventmesh.invocation.asynchronous import AsyncQueue
from eventmesh.invocation.invoker import new_request_id
from eventmesh.state.contract import QueuedEvent

#: the connector name of the built-in destination: asynchronous invocation of another function
FUNCTION = "function"


class FunctionDestination:
    """Invokes another function asynchronously with the payload as its event (semantics 2.3)."""

    def __init__(self, function: str, queue: AsyncQueue, clock: Clock) -> None:
        self._function = function
        self._queue = queue
        self._clock = clock

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        now = self._clock.now()
        event = QueuedEvent(
            new_request_id(), self._function, payload, now, now, source=f"{FUNCTION} destination"
        )
        await self._queue.accept([event])

    async def close(self) -> None:
        return None


class Destinations:
    """Finds the destination behind a function's setting, as configured now."""

    def __init__(
        self,
        catalog: FunctionCatalog,
        queue: AsyncQueue,
        clock: Clock,
        build: Callable[[DestinationReference], Destination],
    ) -> None:
        self._catalog = catalog
        self._queue = queue
        self._clock = clock
        self._build = build
        self._built: dict[tuple[str, str], tuple[DestinationReference, Destination]] = {}

    async def find(self, function: str, setting: str) -> Destination:
        """The destination of `on_success`, `on_failure` or `dead_letter_queue`.

        Raises DestinationError when the function or its setting is gone from the configuration.
        """
        try:
            config = self._catalog.find(function).asynchronous
        except ResourceNotFound as error:
            raise DestinationError(f"{function} is not configured any more") from error
        reference: DestinationReference | None = getattr(config, setting)
        if reference is None:
            raise DestinationError(f"{function} has no {setting} any more; add it again")
        return self._open((function, setting), reference)

    def of_mapping(self, mapping: str, reference: DestinationReference) -> Destination:
        """The on-failure destination of an event source mapping. Raises DestinationError."""
        return self._open((mapping, "mapping"), reference)

    async def close(self) -> None:
        opened = [destination for _, destination in self._built.values()]
        await asyncio.gather(*(d.close() for d in opened), return_exceptions=True)

    def _open(self, key: tuple[str, str], reference: DestinationReference) -> Destination:
        built = self._built.get(key)
        if built is None or built[0] != reference:
            built = self._built[key] = (reference, self._make(reference))
        return built[1]

    def _make(self, reference: DestinationReference) -> Destination:
        if reference.connector == FUNCTION:
            return FunctionDestination(str(reference.options), self._queue, self._clock)
        try:
            return self._build(reference)
        except EventMeshError as error:
            raise DestinationError(f"{reference.connector}: {error}") from error
