"""One function, once, without an engine: for `eventmesh invoke` and the handler check of
`validate`."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from eventmesh.api.client import Answer
from eventmesh.clock import SystemClock
from eventmesh.config.loader import LoadedConfig
from eventmesh.environments.pool import ProcessPool
from eventmesh.errors import EventMeshError, Problem
from eventmesh.functions.catalog import FunctionCatalog
from eventmesh.functions.function import Function
from eventmesh.functions.names import parse_reference
from eventmesh.functions.preparation import prepare_function, prepare_functions
from eventmesh.invocation.concurrency import ConcurrencyLimits
from eventmesh.invocation.events import check_event
from eventmesh.invocation.invoker import Call, Invoker, new_request_id
from eventmesh.state.contract import Durability, QueuedEvent
from eventmesh.state.lock import describe_holder
from eventmesh.state.sqlite import open_sqlite
from eventmesh.telemetry import Telemetry

#: handlers imported at once by `validate`
CHECKED_AT_ONCE = 4


async def invoke_here(config: LoadedConfig, name: str, event: bytes, kind: str) -> Answer:
    """Invoke a function in this process (`RequestResponse`), store its event (`Event`) or look it
    up (`DryRun`).

    Raises InvocationError for an unknown function or an event that is not JSON, and what the state
    or the package raises.
    """
    functions = await asyncio.to_thread(prepare_functions, config.functions, _unpacked(config))
    catalog = FunctionCatalog(
        functions, region=config.model.region, account_id=config.model.account_id
    )
    reference = parse_reference(name)
    function = catalog.resolve(reference)
    event = await check_event(event)
    if kind == "DryRun":
        return Answer(204, b"", new_request_id())
    if kind == "Event":
        return await _store(config, function.name, reference.qualifier, event)
    async with _pool(config) as pool:
        invoker = Invoker(catalog, pool, ConcurrencyLimits(1), Telemetry())
        result = await invoker.invoke(Call(function.name, event, reference.qualifier))
    tail = result.log_tail.decode(errors="replace")
    return Answer(
        200,
        result.payload,
        result.request_id,
        result.executed_version,
        result.function_error,
        tail,
    )


async def handler_problems(config: LoadedConfig) -> list[Problem]:
    """Import every function's handler in an environment of its own; what fails, as problems."""
    turns = asyncio.Semaphore(CHECKED_AT_ONCE)
    async with _pool(config) as pool:

        async def check(function: Function) -> Problem | None:
            async with turns:
                return await _problem(config, pool, function)

        found = await asyncio.gather(*(check(function) for function in config.functions))
    return [problem for problem in found if problem is not None]


async def _problem(config: LoadedConfig, pool: ProcessPool, function: Function) -> Problem | None:
    try:
        ready = await asyncio.to_thread(prepare_function, function, _unpacked(config))
        await pool.provision(replace(ready, provisioned_concurrency=1))
    except EventMeshError as error:
        line, column = config.handler_places[function.name]
        return Problem(str(config.path), line, column, f"function '{function.name}': {error}")
    await pool.retire(replace(ready, provisioned_concurrency=1))
    return None


def _unpacked(config: LoadedConfig) -> Path:
    return config.state_directory / "packages"


async def _store(config: LoadedConfig, name: str, qualifier: str, event: bytes) -> Answer:
    clock = SystemClock()
    now, request_id = clock.now(), new_request_id()
    running = await asyncio.to_thread(describe_holder, config.state_directory)
    store = await open_sqlite(config.state_directory, clock, exclusive=running is None)
    try:
        row = QueuedEvent(request_id, name, event, now, now, qualifier=qualifier, source="cli")
        await store.events.accept([row], None, Durability.SYNCED)
    finally:
        await store.close()
    return Answer(202, b"", request_id)


@contextlib.asynccontextmanager
async def _pool(config: LoadedConfig) -> AsyncIterator[ProcessPool]:
    with tempfile.TemporaryDirectory(prefix="eventmesh-") as directory:
        pool = ProcessPool(
            SystemClock(),
            Telemetry(),
            work_directory=Path(directory),
            base_directory=config.base_directory,
        )
        try:
            yield pool
        finally:
            await pool.close()
