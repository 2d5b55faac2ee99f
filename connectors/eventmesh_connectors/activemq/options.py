"""The settings of an ActiveMQ queue as a source and as a destination."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field, SecretStr

from eventmesh.connectors import Options
from eventmesh.pulling import QueueOptions
from eventmesh.units import Duration

_ADDRESS = re.compile(
    r"(?P<scheme>stomp|stomp\+ssl)://(?P<host>\[[0-9a-fA-F:]+\]|[^\s:/@\[\]]+)(?::(?P<port>\d{1,5}))?/?"
)
_PORTS = {"stomp": 61613, "stomp+ssl": 61614}
_DEFAULT_URL = "stomp://localhost:61613"
_MOST_PREFETCHED = 32_766


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker listens for STOMP."""

    host: str
    port: int
    tls: bool

    @property
    def shown(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"


def parse_address(url: str) -> BrokerAddress:
    """`stomp://host:port` or `stomp+ssl://host:port`, taken apart. Raises ValueError with a text
    fit for users."""
    match = _ADDRESS.fullmatch(url)
    if match is None:
        raise ValueError(
            "write stomp://host:61613 (or stomp+ssl://host:61614); user and password are settings"
            " of their own"
        )
    port = int(match["port"] or _PORTS[match["scheme"]])
    if not 0 < port < 65_536:
        raise ValueError(f"{port} is not a port")
    return BrokerAddress(match["host"].strip("[]"), port, match["scheme"] == "stomp+ssl")


def _check_url(url: str) -> str:
    parse_address(url)
    return url


class BrokerOptions(Options):
    """A queue at a broker."""

    model_config = ConfigDict(hide_input_in_errors=True)
    short_form: ClassVar[str | None] = "queue"

    queue: str = Field(
        min_length=1, max_length=255, pattern=r"^[^\s:,*>?/][^\s,*>?]*$", description="its name"
    )
    url: Annotated[str, AfterValidator(_check_url)] = Field(
        default=_DEFAULT_URL, description="stomp://host:61613, or stomp+ssl://host:61614"
    )
    username: str | None = Field(default=None, description="the broker's user")
    password: SecretStr | None = Field(default=None, description="its password; never shown")

    @property
    def address(self) -> BrokerAddress:
        """The broker, parsed."""
        return parse_address(self.url)

    @property
    def resource(self) -> str:
        """The queue, and its broker where it is not the usual one."""
        return self.queue if self.url == _DEFAULT_URL else f"{self.queue}@{self.address.shown}"


class ActiveMqOptions(BrokerOptions, QueueOptions):
    """A queue whose messages invoke the function."""

    maximum_batching_window: Annotated[Duration, Field(ge=0, le=300)] = Field(
        default=0.5,
        validation_alias=AliasChoices("maximum_batching_window", "batch_window"),
        description="How long to gather records for a batch, 0 to 300s.",
    )
    prefetch: int | None = Field(
        default=None,
        ge=1,
        le=_MOST_PREFETCHED,
        description="most messages the broker hands out before they are acknowledged; otherwise"
        " enough for one batch more than run at a time (twice the batch size at least)",
    )
    maximum_redeliveries: int = Field(
        default=5,
        ge=-1,
        description="how often a failed message is tried again before it goes to the broker's"
        " dead-letter queue; -1 is for ever",
    )
    redelivery_delay: Annotated[Duration, Field(ge=0, le=300)] = Field(
        default=1.0, description="how long a failed message waits before it is tried again"
    )

    @property
    def prefetch_count(self) -> int:
        """How many messages may be with us unacknowledged."""
        if self.prefetch is not None:
            return self.prefetch
        return min(self.batch_size * (1 + (self.maximum_concurrency or 1)), _MOST_PREFETCHED)


class ActiveMqDestinationOptions(BrokerOptions):
    """A queue that payloads are sent to."""
