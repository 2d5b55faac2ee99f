"""What the invoker knows of execution environments: a pool that runs one request at a time in each.

The contract fits other executors (a remote pool, an inline one for tests): start, invoke, stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from eventmesh.connectors import InvocationResult
from eventmesh.functions.function import Function


@dataclass(slots=True)
class InvocationRequest:
    """One attempt as an environment gets it; never changed. `event` is JSON, passed on as these
    bytes."""

    request_id: str
    event: bytes
    invoked_function_arn: str
    #: JSON text (already base64-decoded), or None
    client_context: str | None = None
    trace_id: str | None = None


class EnvironmentPool(Protocol):
    """Execution environments by function version. Everything runs on one event loop."""

    async def invoke(self, function: Function, request: InvocationRequest) -> InvocationResult:
        """Run `request` in an idle environment of `function`, starting one when none is idle.

        Returns a result also when the handler failed, timed out or died. Cancelling kills the
        environment used.
        Raises InitializationError only when no process could be started at all (no memory, no
        interpreter).
        """
        ...

    async def provision(self, function: Function) -> None:
        """Keep `function.provisioned_concurrency` environments started and initialised; returns
        when they are."""
        ...

    async def retire(self, function: Function) -> None:
        """Stop the idle environments of this function version; busy ones stop after their
        invocation."""
        ...

    async def close(self) -> None:
        """Kill every environment and wait for the processes to be gone."""
        ...
