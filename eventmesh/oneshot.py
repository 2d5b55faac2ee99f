"""One function, once, without an engine: for `eventmesh invoke` and the handler check of
`validate`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from eventmesh.api.client import Answer
from eventmesh.clock import SystemClock
from eventmesh.config.handler_complaints import Complaint, explain_failure, explain_value
from eventmesh.config.loader import LoadedConfig
from eventmesh.environments.inline import InlinePool
from eventmesh.environments.pool import INIT_LIMIT_SECONDS, ProcessPool
from eventmesh.environments.router import RoutingPool
from eventmesh.errors import EventMeshError, InitializationError, Problem
from eventmesh.functions.catalog import FunctionCatalog
from eventmesh.functions.function import Function
from eventmesh.functions.handler_source import read_module, split_handler
from eventmesh.functions.inherited import inherited_variables
from eventmesh.functions.names import parse_reference
from eventmesh.functions.preparation import prepare_function
from eventmesh.invocation.concurrency import ConcurrencyLimits
from eventmesh.invocation.events import check_event
from eventmesh.invocation.invoker import Call, Invoker, new_request_id
from eventmesh.state.contract import Durability, QueuedEvent
from eventmesh.state.lock import describe_holder
from eventmesh.state.sqlite import open_sqlite
from eventmesh.telemetry import LogText, Subscriber, Telemetry, TelemetryEvent

#: handlers imported at once by `validate`
CHECKED_AT_ONCE = 4
#: of what a function writes while it is imported, for finding out why it failed
KEPT_LOG_CHARACTERS = 64 * 1024


async def invoke_here(config: LoadedConfig, name: str, event: bytes, kind: str) -> Answer:
    """Invoke a function in this process (`RequestResponse`), store its event (`Event`) or look it
    up (`DryRun`).

    Raises InvocationError for an unknown function or an event that is not JSON, and what the state
    or the package raises.
    """
    catalog = FunctionCatalog(
        config.functions, region=config.model.region, account_id=config.model.account_id
    )
    reference = parse_reference(name)
    function = catalog.resolve(reference)
    event = await check_event(event)
    if kind == "DryRun":
        return Answer(204, b"", new_request_id())
    if kind == "Event":
        return await _store(config, function.name, reference.qualifier, event)
    catalog.put(await asyncio.to_thread(prepare_function, function, _unpacked(config)))
    async with _pool(config) as processes:
        inline = InlinePool(
            SystemClock(), Telemetry(), extra_environment=inherited_variables(os.environ)
        )
        pool = RoutingPool(processes, inline)
        invoker = Invoker(catalog, pool, ConcurrencyLimits(1), Telemetry())
        try:
            result = await invoker.invoke(Call(function.name, event, reference.qualifier))
        finally:
            await inline.close()
    tail = result.log_tail.decode(errors="replace")
    return Answer(
        200,
        result.payload,
        result.request_id,
        result.executed_version,
        result.function_error,
        tail,
    )


async def handler_problems(
    config: LoadedConfig, limit_seconds: float = INIT_LIMIT_SECONDS
) -> list[Problem]:
    """Import every function's handler in an environment of its own, each for up to
    `limit_seconds`; what fails, as problems at the handler's place, without its source line."""
    turns = asyncio.Semaphore(CHECKED_AT_ONCE)
    said = _Said()
    async with _pool(config, said, limit_seconds) as pool:

        async def check(function: Function) -> Problem | None:
            async with turns:
                complaint = await _complaint(config, pool, function, said)
            return None if complaint is None else _problem(config, function, complaint)

        found = await asyncio.gather(*(check(function) for function in config.functions))
    return [problem for problem in found if problem is not None]


class _Said(dict[str, str]):
    """A telemetry subscriber: the end of what each function's environments wrote."""

    def __call__(self, event: TelemetryEvent) -> None:
        if isinstance(event, LogText):
            text = self.get(event.function, "") + event.text.decode(errors="replace")
            self[event.function] = text[-KEPT_LOG_CHARACTERS:]


async def _complaint(
    config: LoadedConfig, pool: ProcessPool, function: Function, said: _Said
) -> Complaint | None:
    """Message and hint when the function's handler does not load."""
    try:
        ready = await asyncio.to_thread(prepare_function, function, _unpacked(config))
    except EventMeshError as error:
        return str(error), ""
    provisioned = replace(ready, provisioned_concurrency=1)
    module, _ = split_handler(ready.handler)
    source = await asyncio.to_thread(read_module, (ready.code_directory, *ready.layers), module)
    try:
        await pool.provision(provisioned)
    except InitializationError as error:
        return explain_failure(ready, str(error), said.get(ready.name, ""), source)
    await pool.retire(provisioned)
    return explain_value(ready, source)


def _problem(config: LoadedConfig, function: Function, complaint: Complaint) -> Problem:
    line, column = config.handler_places[function.name]
    message, hint = complaint
    return Problem(str(config.path), line, column, f"function '{function.name}': {message}", hint)


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
async def _pool(
    config: LoadedConfig,
    subscriber: Subscriber | None = None,
    limit_seconds: float = INIT_LIMIT_SECONDS,
) -> AsyncIterator[ProcessPool]:
    telemetry = Telemetry()
    if subscriber is not None:
        telemetry.subscribe(subscriber)
    with tempfile.TemporaryDirectory(prefix="eventmesh-") as directory:
        pool = ProcessPool(
            SystemClock(),
            telemetry,
            work_directory=Path(directory),
            host_paths=config.host_paths,
            extra_environment=inherited_variables(os.environ),
            init_limit_seconds=limit_seconds,
        )
        try:
            yield pool
        finally:
            await pool.close()
