"""Runs one attempt: find the function, count it in, hand it to an environment, tell telemetry."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal

from eventmesh.connectors import InvocationResult
from eventmesh.environments.contract import EnvironmentPool, InvocationRequest
from eventmesh.errors import InitializationError, ServiceError, TooManyRequests
from eventmesh.functions.catalog import FunctionCatalog
from eventmesh.functions.function import Function
from eventmesh.invocation.concurrency import ConcurrencyLimits
from eventmesh.telemetry import InvocationEnded, InvocationThrottled, Telemetry

Mode = Literal["RequestResponse", "Event"]


def new_request_id() -> str:
    """A fresh request id: a version 4 UUID, of 118 random bits."""
    digits = os.urandom(15).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-{digits[18:]}"


@dataclass(slots=True)
class Call:
    """One invocation as asked for; never changed. `event` is JSON. `attempt` counts from 1."""

    function: str
    event: bytes
    qualifier: str = ""
    request_id: str = field(default_factory=new_request_id)
    mode: Mode = "RequestResponse"
    source: str = "api"
    attempt: int = 1
    client_context: str | None = None
    trace_id: str | None = None


class Invoker:
    """The one way to a handler, for pushes, polls and the API alike."""

    def __init__(
        self,
        catalog: FunctionCatalog,
        pool: EnvironmentPool,
        limits: ConcurrencyLimits,
        telemetry: Telemetry,
    ) -> None:
        self.catalog = catalog
        self.limits = limits
        self._pool = pool
        self._telemetry = telemetry
        self._closed = False

    def close(self) -> None:
        """Refuse invocations from now on; those running go on."""
        self._closed = True

    async def invoke(self, call: Call) -> InvocationResult:
        """Run `call` and return its result, also when the handler failed. Cancelling kills its
        environment.

        Raises ResourceNotFound, TooManyRequests, or ServiceError when stopping or no environment
        could be started.
        """
        if self._closed:
            raise ServiceError("eventmesh is stopping; try again")
        function = self.catalog.find(call.function, call.qualifier)
        self._enter(call)
        try:
            result = await self._pool.invoke(function, _request(function, call))
        except InitializationError as error:
            raise ServiceError(f"no execution environment for {function.name}: {error}") from error
        finally:
            self.limits.leave(call.function)
        self._telemetry.emit(
            InvocationEnded(call.function, call.mode, call.source, call.attempt, result)
        )
        return result

    def _enter(self, call: Call) -> None:
        try:
            self.limits.enter(call.function)
        except TooManyRequests as error:
            self._telemetry.emit(InvocationThrottled(call.function, call.mode, error.reason))
            raise


def _request(function: Function, call: Call) -> InvocationRequest:
    arn = f"{function.arn}:{call.qualifier}" if call.qualifier else function.arn
    return InvocationRequest(call.request_id, call.event, arn, call.client_context, call.trace_id)
