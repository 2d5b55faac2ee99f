"""The composition root: a configuration in, a running mesh out. Builds every part, starts and
stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eventmesh import tasks
from eventmesh.api.health import HealthApi
from eventmesh.api.invocations import InvocationsApi
from eventmesh.clock import Clock, SystemClock
from eventmesh.config.loader import LoadedConfig, MappingConfig
from eventmesh.config.model import ServerSettings
from eventmesh.connectors import Connector, Destination, SourceContext
from eventmesh.environments.inline import InlinePool
from eventmesh.environments.pool import ProcessPool
from eventmesh.environments.router import RoutingPool
from eventmesh.errors import ConnectorError, DestinationError, EventMeshError, InitializationError
from eventmesh.functions.catalog import FunctionCatalog
from eventmesh.functions.function import DestinationReference, Function
from eventmesh.functions.inherited import inherited_variables
from eventmesh.functions.preparation import prepare_functions
from eventmesh.http.limits import Limits
from eventmesh.http.router import Router
from eventmesh.http.server import HttpServer
from eventmesh.invocation.asynchronous import AsyncQueue
from eventmesh.invocation.concurrency import ConcurrencyLimits
from eventmesh.invocation.destinations import Destinations
from eventmesh.invocation.invoker import Invoker
from eventmesh.invocation.relay import Relay
from eventmesh.invocation.retry import RetryDelays
from eventmesh.invocation.target import FunctionTarget
from eventmesh.mappings.failure_records import destination_mapping
from eventmesh.mappings.host import PollerHost
from eventmesh.mappings.invoking import FunctionBatchTarget
from eventmesh.mappings.mapping import EventSourceMapping, MappingState, PushWork
from eventmesh.mappings.pollers import build_poller
from eventmesh.mappings.queue_poller import QueuePoller
from eventmesh.mappings.stream_poller import StreamPoller
from eventmesh.observers.metrics import Metrics
from eventmesh.pulling import PullOptions, QueueSource, StreamSource
from eventmesh.state.sqlite import SqliteStore, open_sqlite
from eventmesh.telemetry import Telemetry

logger = logging.getLogger("eventmesh.app")

#: how often the store is asked whether another process (`eventmesh dlq redrive`) wrote to it
LOOK_OUTSIDE_SECONDS = 1.0
#: dead letters are kept as long as SQS keeps messages at most
KEEP_DEAD_LETTERS_SECONDS = 14 * 86400.0

LoadConnector = Callable[[str, Path], Connector]


class Mesh:
    """One configuration, running. `start` it, wait, `stop` it; it is not started twice."""

    def __init__(
        self,
        config: LoadedConfig,
        load_connector: LoadConnector,
        *,
        clock: Clock | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.telemetry = telemetry or Telemetry()
        self.metrics = Metrics()
        self.mappings: list[EventSourceMapping] = []
        self._load_connector = load_connector
        self._targets: list[FunctionTarget] = []
        self._pulled: dict[EventSourceMapping, QueueSource | StreamSource] = {}
        self._background: list[asyncio.Task[None]] = []
        self._closing = contextlib.AsyncExitStack()
        self._started = False
        #: how handlers get their /tmp, for people
        self.temporary_storage = ""
        self.telemetry.subscribe(self.metrics)

    async def start(self) -> None:
        """Open the state, start functions, the HTTP server and every source.

        Raises StateError, ConfigError, OSError (port in use) and PackageError; then nothing is
        left running.
        """
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self._closing.aclose)
            await self._build()
            undo.pop_all()
        self._started = True

    @property
    def address(self) -> str | None:
        """`host:port` the server listens on, an IPv6 host in brackets; None without one."""
        if not self.server.addresses:
            return None
        host, port = self.server.addresses[0][:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"

    def troubles(self) -> Mapping[str, str] | None:
        """Mappings that do not run and why; None while starting or stopping."""
        if not self._started:
            return None
        running = (MappingState.ENABLED, MappingState.DISABLED)
        return {m.name: m.detail for m in self.mappings if m.state not in running}

    async def sources_settled(self, seconds: float) -> None:
        """Wait until every source runs or failed once, for up to `seconds`."""
        waiting = [asyncio.ensure_future(m.settled.wait()) for m in self.mappings]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=seconds)
            await tasks.cancel(late)

    async def stop(self, drain_seconds: float) -> bool:
        """Take in nothing more, let running work end for up to `drain_seconds`, then end the rest
        and close.

        Returns whether all running work ended in time. What did not is attempted again after the
        next start.
        """
        self._started = False
        deadline = self.clock.monotonic() + drain_seconds
        serving = asyncio.create_task(self.server.stop(drain_seconds))
        pushed = [mapping for mapping in self.mappings if mapping not in self._pulled]
        # pollers take in nothing more and checkpoint what is in flight, while the queue drains
        polled = [asyncio.create_task(mapping.stop(drain_seconds)) for mapping in self._pulled]
        await asyncio.gather(*(mapping.stop(0) for mapping in pushed))
        for target in self._targets:
            target.close()
        in_time = all(await asyncio.gather(self.queue.drain(drain_seconds), *polled))
        await serving
        self.invoker.close()
        in_time = in_time and self.limits.idle
        left = max(0.5, deadline - self.clock.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(left, 5.0)):
                await self.relay.deliver_due()
        await self._closing.aclose()
        return in_time

    async def _build(self) -> None:
        config = self.config.model
        store = await self._open_store()
        unpacked = self.config.state_directory / "packages"
        functions = await asyncio.to_thread(prepare_functions, self.config.functions, unpacked)
        self.catalog = FunctionCatalog(
            functions, region=config.region, account_id=config.account_id
        )
        self.limits = ConcurrencyLimits(config.concurrency, functions)
        self.pool = self._open_pool()
        self.invoker = Invoker(self.catalog, self.pool, self.limits, self.telemetry)
        self.queue = AsyncQueue(
            store.events,
            self.invoker,
            self.clock,
            self.telemetry,
            concurrency=config.asynchronous.concurrency,
            delays=RetryDelays(config.asynchronous.retry_delay, config.asynchronous.throttle_delay),
        )
        self.destinations = Destinations(
            self.catalog, self.queue, self.clock, self._build_destination
        )
        self._closing.push_async_callback(self.destinations.close)
        self.relay = Relay(
            store.deliveries,
            self._find_destination,
            self.clock,
            self.telemetry,
            self.queue.deliveries_written,
        )
        await self._start_server(store)
        await self._warm(functions)
        self.queue.start()
        self._run(self.relay.run(), "relay")
        self._run(self._look_outside(store), "look outside")
        self._run(self._purge(store), "purge dead letters")
        self._start_mappings(store)

    async def _open_store(self) -> SqliteStore:
        owner = {"command": " ".join(sys.argv[:4]), "config": str(self.config.path)}
        store = await open_sqlite(self.config.state_directory, self.clock, owner=owner)
        self._closing.push_async_callback(store.close)
        return store

    def _open_pool(self) -> RoutingPool:
        shared = inherited_variables(os.environ)
        self.processes = ProcessPool(
            self.clock,
            self.telemetry,
            work_directory=self.config.state_directory / "environments",
            idle_timeout_seconds=self.config.model.idle_timeout,
            extra_environment=shared,
            host_paths=self.config.host_paths,
        )
        inline = InlinePool(self.clock, self.telemetry, extra_environment=shared)
        pool = RoutingPool(self.processes, inline)
        self._closing.push_async_callback(pool.close)
        return pool

    async def _warm(self, functions: Sequence[Function]) -> None:
        """Start each interpreter once, and the environments asked for in advance. What does not
        start is reported and costs nobody else anything."""
        interpreters = {f.python: f for f in functions if f.isolation == "process"}
        kinds = await asyncio.gather(
            *(self.processes.temporary_storage(function) for function in interpreters.values()),
            return_exceptions=True,
        )
        self.temporary_storage = ", ".join(sorted({k for k in kinds if isinstance(k, str)}))
        provisioned = await asyncio.gather(
            *(self.pool.provision(f) for f in functions if f.provisioned_concurrency),
            return_exceptions=True,
        )
        for failure in (*kinds, *provisioned):
            if isinstance(failure, InitializationError):
                logger.warning("%s", failure)
            elif isinstance(failure, BaseException):
                raise failure

    async def _start_server(self, store: SqliteStore) -> None:
        settings = self.config.model.server
        self.router = Router()
        api = InvocationsApi(self.catalog, self.invoker, self.queue, self.clock)
        health = HealthApi(self.troubles, self.metrics.render)
        for route in (*api.routes(), *health.routes()):
            self.router.reserve(route)
        self.server = HttpServer(
            self.router, self.clock, limits=_limits(settings), allowed_hosts=settings.allowed_hosts
        )
        if settings.address is None:
            return
        await self.server.start(*settings.address)
        await store.describe(http=self.address or "")

    def _start_mappings(self, store: SqliteStore) -> None:
        self._closing.push_async_callback(self._stop_tasks)
        for config in self.config.mappings:
            mapping = EventSourceMapping(
                config.name, config.connector, config.options.resource, self.clock, self.telemetry
            )
            self.mappings.append(mapping)
            if config.enabled:
                self._start_mapping(config, mapping, store)
            else:
                mapping.disable()

    def _start_mapping(
        self, config: MappingConfig, mapping: EventSourceMapping, store: SqliteStore
    ) -> None:
        connector = self._load_connector(config.connector, self.config.base_directory)
        if connector.source is None:
            raise ConnectorError(f"connector '{config.connector}' is not a source")
        context = SourceContext(
            mapping=config.name,
            clock=self.clock,
            log=logging.getLogger(f"eventmesh.source.{config.connector}"),
            positions=_MappingPositions(store, config.name),
            routes=self.router,
            announce=mapping.announce,
            region=self.catalog.region,
            account_id=self.catalog.account_id,
            function_name=config.function,
        )
        source = connector.source(config.options, context)
        if isinstance(source, (QueueSource, StreamSource)):
            self._pulled[mapping] = source
            mapping.start(self._poller(config, mapping, source, store))
            return
        target = FunctionTarget(config.function, config.name, self.invoker, self.queue, self.clock)
        self._targets.append(target)
        mapping.start(PushWork(source, target))

    def _poller(
        self,
        config: MappingConfig,
        mapping: EventSourceMapping,
        source: QueueSource | StreamSource,
        store: SqliteStore,
    ) -> QueuePoller | StreamPoller:
        assert isinstance(config.options, PullOptions), f"{config.connector}: no PullOptions"
        failures = config.on_failure
        host = PollerHost(
            mapping=config.name,
            function=config.function,
            clock=self.clock,
            telemetry=self.telemetry,
            reporter=mapping,
            target=FunctionBatchTarget(config.function, config.name, self.invoker, self.clock),
            checkpoints=store.checkpoints,
            deliveries=store.deliveries,
            sent_to="" if failures is None else f"{failures.connector} {failures.resource}",
            wake_relay=self.queue.deliveries_written.set,
        )
        payload = failures is not None and getattr(failures.options, "wants_payload", False)
        return build_poller(source, config.options, host, payload_in_failure_records=payload)

    async def _find_destination(self, function: str, setting: str) -> Destination:
        """A function's destination, or that of an event source mapping."""
        name = destination_mapping(setting)
        if name is None:
            return await self.destinations.find(function, setting)
        found = next((m.on_failure for m in self.config.mappings if m.name == name), None)
        if found is None:
            raise DestinationError(f"mapping {name} has no on_failure any more; add it again")
        return self.destinations.of_mapping(name, found)

    def _build_destination(self, reference: DestinationReference) -> Destination:
        connector = self._load_connector(reference.connector, self.config.base_directory)
        if connector.destination is None:
            raise ConnectorError(f"connector '{reference.connector}' is not a destination")
        return connector.destination(reference.options)

    def _run(self, work: Coroutine[None, None, None], name: str) -> None:
        self._background.append(asyncio.create_task(work, name=name))

    async def _stop_tasks(self) -> None:
        running = [mapping.task for mapping in self.mappings if mapping.task is not None]
        await tasks.cancel([*running, *self._background])
        for source in self._pulled.values():
            try:
                await source.close()
            except Exception:
                logger.exception("a source could not be closed")

    async def _look_outside(self, store: SqliteStore) -> None:
        while True:
            await self.clock.sleep(LOOK_OUTSIDE_SECONDS)
            with contextlib.suppress(EventMeshError):
                if await store.changed_outside():
                    self.queue.wake_all()
                    self.queue.deliveries_written.set()

    async def _purge(self, store: SqliteStore) -> None:
        while True:
            with contextlib.suppress(EventMeshError):
                await store.dead_letters.purge(self.clock.now() - KEEP_DEAD_LETTERS_SECONDS)
            await self.clock.sleep(3600)


@dataclass(frozen=True, slots=True)
class _MappingPositions:
    store: SqliteStore
    mapping: str

    async def load(self) -> dict[str, str]:
        return await self.store.positions.load(self.mapping)


def _limits(settings: ServerSettings) -> Limits:
    return Limits(
        connections=settings.max_connections, connections_per_ip=settings.max_connections_per_ip
    )
