"""Connections to a broker: opened without aio-pika's own reconnecting (the engine opens again), and
what goes wrong on them told as people say it."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import aio_pika
from aiormq.abc import AbstractChannel
from aiormq.exceptions import (
    AMQPError,
    ChannelAccessRefused,
    ChannelInvalidStateError,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ConnectionNotAllowed,
    InvalidFrameError,
    ProbableAuthenticationError,
)

from eventmesh.errors import EventMeshError, SourceUnavailable
from eventmesh_connectors.rabbitmq.addresses import BrokerAddress

T = TypeVar("T")

#: for connecting, and for any answer of the broker
ANSWER_SECONDS = 20.0
_CLOSE_SECONDS = 5.0
#: what aio-pika raises when the broker refuses, or the connection is gone; a broken frame is a
#: ValueError of its parser
FAULTS = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError, ValueError)


class LinkLost(Exception):
    """The connection, channel or consumer went away; the message says why where it is known."""


@dataclass(frozen=True, slots=True)
class Link:
    """One connection and one channel on it: aio-pika's, and the plain one below it, which costs a
    third per message."""

    connection: aio_pika.abc.AbstractConnection
    owner: aio_pika.abc.AbstractChannel
    channel: AbstractChannel

    async def close(self) -> None:
        """Close in order, which gives unacknowledged messages back; waits 5 s at most."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await completed(self.connection.close())
        except (*FAULTS, LinkLost):
            pass


async def open_link(address: BrokerAddress, name: str, *, confirms: bool) -> Link:
    """Connect as `name` (shown in the broker's management) and open a channel; `confirms` asks
    for publisher confirms. Raises one of `FAULTS`, LinkLost."""
    _quieten_client()
    async with asyncio.timeout(ANSWER_SECONDS):
        connection = await aio_pika.connect(
            address.url, client_properties={"connection_name": name}
        )
        try:
            channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
            await channel.initialize()
            return Link(connection, channel, await channel.get_underlay_channel())
        except BaseException:
            await completed(connection.close())
            raise


async def completed(work: Coroutine[Any, Any, T] | asyncio.Task[T]) -> T:
    """The result of a call of the client, which goes on when we are cancelled: it closes a channel
    on which a call was cut off.

    Raises LinkLost where the client cancelled its own call because the channel went away.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_retrieve)
    await asyncio.wait({task})
    if task.cancelled():
        raise LinkLost
    return task.result()


def unavailable(
    doing: str,
    address: BrokerAddress,
    error: BaseException | None,
    raised: type[EventMeshError] = SourceUnavailable,
) -> EventMeshError:
    """`raised`, which says what could not be done where and why."""
    return raised(f"{doing} at {address.shown}: {explain(address, error)}")


def explain(address: BrokerAddress, error: BaseException | None) -> str:
    """What an exception of aio-pika means, and what to do."""
    said = str(error) if error is not None else ""
    match error:
        case ProbableAuthenticationError():
            return f"the broker refuses user and password of the url ({said})"
        case ConnectionNotAllowed():
            return f"virtual host {address.virtual_host!r} cannot be used ({said})"
        case InvalidFrameError() if "Connection.OpenOk" in said:  # the client hides the reason
            return (
                f"virtual host {address.virtual_host!r} does not exist, or the user may not use it"
            )
        case ChannelNotFoundEntity():
            return "it does not exist; create it, or set declare: true"
        case ChannelAccessRefused():
            return f"the user may not ({said})"
        case ChannelLockedResource():
            return f"another connection has it for itself ({said})"
        case ChannelPreconditionFailed():
            return said or "the broker found a precondition not met"
        case TimeoutError():
            return f"no answer within {ANSWER_SECONDS:g} s"
        case ConnectionError() if error.args[:1] == (errno.ECONNREFUSED,):
            return "connection refused; is RabbitMQ running there?"
        case LinkLost() | None:
            return said or "the connection was lost"
    return said or type(error).__name__


def _retrieve(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _quieten_client() -> None:
    """Its log repeats, with tracebacks, what we report; a level set by somebody stays."""
    for name in ("aiormq", "aio_pika"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)
