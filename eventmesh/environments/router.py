"""Sends each function to the pool its isolation asks for."""

from __future__ import annotations

from eventmesh.connectors import InvocationResult
from eventmesh.environments.contract import EnvironmentPool, InvocationRequest
from eventmesh.functions.function import Function


class RoutingPool:
    """An `EnvironmentPool` made of one for `process` and one for `inline` functions."""

    def __init__(self, process: EnvironmentPool, inline: EnvironmentPool) -> None:
        self._pools: dict[str, EnvironmentPool] = {"process": process, "inline": inline}

    async def invoke(self, function: Function, request: InvocationRequest) -> InvocationResult:
        """See `EnvironmentPool.invoke`."""
        return await self._pools[function.isolation].invoke(function, request)

    async def provision(self, function: Function) -> None:
        """See `EnvironmentPool.provision`."""
        await self._pools[function.isolation].provision(function)

    async def retire(self, function: Function) -> None:
        """See `EnvironmentPool.retire`."""
        await self._pools[function.isolation].retire(function)

    async def close(self) -> None:
        """See `EnvironmentPool.close`."""
        for pool in self._pools.values():
            await pool.close()
