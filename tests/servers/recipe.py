"""What the harness knows of one server: how to install it, start it, and tell that it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK = "127.0.0.1"


class Unavailable(Exception):
    """This server cannot be had on this machine; the text says why and what would help."""


class MissingTool(Unavailable):
    """A program the server needs (java, npm) is not installed."""


class StartFailed(Exception):
    """The server is installed and did not come up; the text ends with its log."""


@dataclass(frozen=True)
class Place:
    """Where one instance lives: its own directory, its ports, and the port clients are told of.

    `home` is the installation (shared, read only); `advertised` differs from `ports[0]` only
    behind a proxy.
    """

    home: Path
    directory: Path
    ports: tuple[int, ...]
    advertised: int

    @property
    def port(self) -> int:
        return self.ports[0]


@dataclass(frozen=True)
class Launch:
    """A command line and the variables it needs beyond the harness's own few."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """One server.

    `install` may take minutes, returns the installation and raises Unavailable; `launch` writes
    the instance's configuration into its directory; `ready` asks the server something only a
    working one answers (False, OSError or ValueError: not yet). Both block.
    """

    name: str
    version: str
    purpose: str
    variable: str
    address: str
    install: Callable[[], Path]
    installed: Callable[[], bool]
    launch: Callable[[Place], Launch]
    ready: Callable[[Place], bool]
    ports: int = 1
    start_seconds: float = 60.0
    fallback: str | None = None

    def address_at(self, port: int) -> str:
        return self.address.format(port=port)
