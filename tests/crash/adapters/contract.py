"""What the harness asks of a source's adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.crash.ledger import Answer
from tests.crash.oracle import Rules
from tests.servers import FaultProxy, PrivateServer


@dataclass(frozen=True)
class Site:
    """Where a run takes place."""

    directory: Path
    #: the engine's HTTP server
    port: int
    random: Random
    server: PrivateServer | None = None
    #: between the engine and the server
    proxy: FaultProxy | None = None

    @property
    def proxy_port(self) -> int:
        assert self.proxy is not None
        return self.proxy.port

    @property
    def server_port(self) -> int:
        assert self.server is not None
        return self.server.port


class Adapter(Protocol):
    """One source. All methods run in the harness's event loop."""

    rules: Rules
    #: which test server it needs
    server: str | None
    #: whether that keeps its data when it is killed
    durable: bool
    #: order units, and the most records not yet delivered before producers wait
    units: int
    backlog: int

    def __init__(self, site: Site) -> None: ...

    async def reset(self) -> Mapping[str, Any]:
        """Make an empty source; returns the mapping, as under `events`."""
        ...

    async def produce(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        """Write ids, in order within each unit, and say what became of each."""
        ...

    def failed(self, record: Mapping[str, Any]) -> Sequence[str]:
        """What a failure record calls the records it is about."""
        ...

    async def close(self) -> None: ...
