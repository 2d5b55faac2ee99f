"""The listening HTTP server: sockets, the gate for requests, the sweep, the graceful stop."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from eventmesh.clock import Clock
from eventmesh.http.connection import Connection
from eventmesh.http.connections import Connections
from eventmesh.http.deadlines import SWEEP_SECONDS
from eventmesh.http.hosts import HostGuard, guard_for
from eventmesh.http.limits import Limits
from eventmesh.http.responses import INTERNAL_ERROR, describe
from eventmesh.http.router import Router
from eventmesh.messages import HttpHandler, HttpRequest, HttpResponse

logger = logging.getLogger("eventmesh.http")

_BACKLOG = 512
#: how long cancelled handlers may take to end at stop
_CANCEL_SECONDS = 1.0


class HttpServer:
    """Serves a router's routes over HTTP/1.1.

    Bound to loopback it answers only requests whose `Host` is loopback's or in `allowed_hosts`
    (names, `*.name`, `*` for all); bound elsewhere it looks at `Host` only when there are
    `allowed_hosts`. Started and stopped once.
    """

    def __init__(
        self,
        router: Router,
        clock: Clock,
        *,
        limits: Limits | None = None,
        allowed_hosts: Sequence[str] = (),
    ) -> None:
        self._router = router
        self._clock = clock
        self._allowed_hosts = tuple(allowed_hosts)
        self._guard = HostGuard(self._allowed_hosts)
        self._connections = Connections(limits or Limits(), self._admit, clock.now())
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._addresses: tuple[tuple[str, int], ...] = ()

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Address and port of every listening socket; empty before `start`."""
        return self._addresses

    @property
    def refused(self) -> Counter[int]:
        """What was refused before a handler saw it since the server's start, by status."""
        return self._connections.refused

    async def start(self, host: str, port: int) -> None:
        """Listen on `host` (a name may be several addresses) and `port`; 0 takes a free one.

        Raises OSError when the address is taken or is not this machine's. Cancelled, it listens
        to nothing.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._connections, loop),
            host,
            port,
            backlog=_BACKLOG,
            start_serving=False,
        )
        bound = [listener.getsockname() for listener in self._server.sockets]
        self._addresses = tuple((address[0], address[1]) for address in bound)
        self._guard = guard_for((address for address, _ in self._addresses), self._allowed_hosts)
        self._sweeper = loop.create_task(self._sweep_for_ever())
        await self._server.start_serving()

    async def stop(self, drain_seconds: float) -> bool:
        """Accept nothing more, close what is idle, let requests in progress finish for
        `drain_seconds`, then cancel and close them. Returns whether all finished by themselves."""
        if self._server is not None:
            self._server.close()
        quiet = self._connections.drain()
        finished = await self._clock.wait(quiet, drain_seconds)
        if not finished:
            self._connections.abort()
            await self._clock.wait(quiet, _CANCEL_SECONDS)
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
        return finished

    def _admit(
        self, request: HttpRequest, host: str | None
    ) -> tuple[HttpHandler, int] | HttpResponse:
        """The gate: may this client ask here, who answers, how large may the body be."""
        try:
            return self._decide(request, host)
        except Exception:
            logger.exception("%s %s: the admission failed", request.method, request.raw_path)
            return INTERNAL_ERROR

    def _decide(
        self, request: HttpRequest, host: str | None
    ) -> tuple[HttpHandler, int] | HttpResponse:
        if not self._guard.allows(host):
            return describe(
                403,
                f"Host {(host or '')[:100]!r} is not served here; allow it in server.allowed_hosts",
            )
        found = self._router.find(request.method, request.raw_path)
        if isinstance(found, HttpResponse):
            return found
        route, request.path_parameters = found
        admitted = route.admission(request)
        return admitted if isinstance(admitted, HttpResponse) else (route.handler, admitted)

    async def _sweep_for_ever(self) -> None:
        while True:
            await self._clock.sleep(SWEEP_SECONDS)
            try:
                self._connections.sweep(self._clock.monotonic(), self._clock.now())
            except Exception:
                logger.exception("sweeping the connections failed")
