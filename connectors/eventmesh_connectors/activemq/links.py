"""A STOMP connection. stomp.py works with threads: it reads in one of its own, and what writes is
run in another here; everything else happens on the event loop."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import stomp

from eventmesh_connectors.activemq.options import BrokerAddress, BrokerOptions

ANSWER_SECONDS = 20.0
_CLOSE_SECONDS = 5.0
#: without the wait for stomp.py's thread that the connection's own has, which knows no limit
_DISCONNECT = stomp.protocol.Protocol12.disconnect
#: a broker that is silent for 1.5 of them is given up
_HEARTBEAT_MILLISECONDS = 10_000


class LinkLost(Exception):
    """The broker cannot be reached, refused something or went away; the message says which."""


#: what is called for each message: headers and body
MessageTaker = Callable[[Mapping[str, str], bytes], None]


class _Listener:
    """stomp.py's callbacks, on its threads; hands everything over to the event loop."""

    def __init__(self, link: StompLink, loop: asyncio.AbstractEventLoop) -> None:
        self._link = link
        self._loop = loop

    def on_connected(self, frame: Any) -> None:
        self._tell(self._link.note_receipt, "CONNECTED")

    def on_receipt(self, frame: Any) -> None:
        self._tell(self._link.note_receipt, frame.headers.get("receipt-id", ""))

    def on_message(self, frame: Any) -> None:
        self._tell(self._link.take_in, frame.headers, frame.body)

    def on_error(self, frame: Any) -> None:
        said = frame.headers.get("message") or bytes(frame.body or b"").decode(errors="replace")
        self._tell(self._link.lose, f"the broker said: {said.strip()[:300]}")

    def on_disconnected(self) -> None:
        self._tell(self._link.lose, "the connection was lost")

    def on_heartbeat_timeout(self) -> None:
        self._tell(self._link.lose, "the broker fell silent")

    def _tell(self, method: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(method, *arguments)
        except RuntimeError:  # the loop is closed already
            pass


class StompLink:
    """One connection. Made by `open_link`; `take_message` is called on the event loop."""

    def __init__(
        self, address: BrokerAddress, take_message: MessageTaker, on_lost: Callable[[], None]
    ) -> None:
        self._take_message = take_message
        self._on_lost = on_lost
        self.lost: str | None = None
        self._receipts: dict[str, asyncio.Future[None]] = {}
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="activemq")
        hosts = [(address.host, address.port)]
        self._connection: Any = stomp.StompConnection12(
            hosts,
            prefer_localhost=False,
            try_loopback_connect=False,
            reconnect_attempts_max=1,
            reconnect_sleep_initial=0,
            timeout=ANSWER_SECONDS,
            heartbeats=(_HEARTBEAT_MILLISECONDS, _HEARTBEAT_MILLISECONDS),
            auto_decode=False,
        )
        if address.tls:
            self._connection.set_ssl(hosts, verify=True)

    async def connect(self, options: BrokerOptions) -> None:
        """Connect and log in. Raises LinkLost."""
        listener = _Listener(self, asyncio.get_running_loop())
        self._connection.set_listener("eventmesh", listener)
        password = options.password.get_secret_value() if options.password is not None else None
        await self._confirmed(
            "CONNECTED", lambda: self._connection.connect(options.username, password)
        )

    async def write(self, *writes: Callable[..., None]) -> None:
        """Do some writing, `writes` of the connection's methods; returns once the broker has
        answered the last, to which a `receipt` is given. Raises LinkLost."""
        receipt = uuid.uuid4().hex

        def run() -> None:
            for write in writes[:-1]:
                write()
            writes[-1](receipt=receipt)

        await self._confirmed(receipt, run)

    @property
    def frames(self) -> Any:
        """stomp.py's connection, whose methods write frames; to be called in `write` only."""
        return self._connection

    async def close(self) -> None:
        """Disconnect in order, which gives back what is not acknowledged; waits 5 s at most."""
        if self.lost is None:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self.write(partial(_DISCONNECT, self._connection))
            except (LinkLost, TimeoutError):
                pass
        self.lose("the connection was closed")
        # in a thread of its own: a write that hangs ends with its socket
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._connection.transport.disconnect_socket)
        self._threads.shutdown(wait=False)

    def note_receipt(self, receipt: str) -> None:
        """The broker has done what `receipt` was asked for."""
        answer = self._receipts.pop(receipt, None)
        if answer is not None and not answer.done():
            answer.set_result(None)

    def take_in(self, headers: Mapping[str, str], body: bytes) -> None:
        """A message came."""
        if self.lost is None:
            self._take_message(headers, body)

    def lose(self, why: str) -> None:
        """The connection is over."""
        if self.lost is not None:
            return
        self.lost = why
        for answer in self._receipts.values():
            if not answer.done():
                answer.set_exception(LinkLost(why))
        self._on_lost()

    async def _confirmed(self, receipt: str, run: Callable[[], None]) -> None:
        if self.lost is not None:
            raise LinkLost(self.lost)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        self._receipts[receipt] = answer
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await loop.run_in_executor(self._threads, run)
                await answer
        except TimeoutError:
            self.lose(f"no answer within {ANSWER_SECONDS:g} s")
            raise LinkLost(self.lost) from None
        except (stomp.exception.StompException, OSError) as error:
            self.lose(str(error) or "no connection; is ActiveMQ's STOMP listener there?")
            raise LinkLost(self.lost) from error
        finally:
            self._receipts.pop(receipt, None)
            if answer.done() and not answer.cancelled():
                answer.exception()


async def open_link(
    options: BrokerOptions,
    take_message: MessageTaker = lambda headers, body: None,
    on_lost: Callable[[], None] = lambda: None,
) -> StompLink:
    """Connect and log in. Raises LinkLost."""
    logger = logging.getLogger("stomp.py")  # it repeats, with tracebacks, what we report
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    link = StompLink(options.address, take_message, on_lost)
    try:
        await link.connect(options)
    except BaseException:
        await link.close()
        raise
    return link


def queue_path(queue: str) -> str:
    """A queue's STOMP destination."""
    return f"/queue/{queue}"
