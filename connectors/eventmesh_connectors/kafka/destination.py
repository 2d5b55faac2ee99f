"""The destination: one record a payload, acknowledged by all replicas or sent again later."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

from pydantic import Field, field_validator

from eventmesh.errors import DestinationError

from .client import KafkaConnectionError, KafkaError, Producer
from .options import check_topic
from .problems import explain, explain_unreachable
from .quiet import quieten
from .security import BrokerOptions, build_client_settings

#: brokers refuse what is too large for them (message.max.bytes); this only bounds memory
_MAXIMUM_BYTES = 64 * 1024**2
_SEND_SECONDS = 45.0
_STOP_SECONDS = 5.0
#: raised about one record; the producer works on
_ABOUT_THE_RECORD = ("MessageSizeTooLargeError", "InvalidTopicError", "RecordListTooLargeError")


class KafkaDestinationOptions(BrokerOptions):
    """A topic that payloads are written to."""

    topic: str = Field(description="the topic")

    @field_validator("topic")
    @classmethod
    def _check_topic(cls, value: str) -> str:
        check_topic(value)
        return value

    @property
    def resource(self) -> str:
        """The topic."""
        return self.topic


class KafkaDestination:
    """Writes payloads with one producer, which connects when the first one comes."""

    def __init__(self, options: KafkaDestinationOptions) -> None:
        self._options = options
        self._producer: Producer | None = None
        self._connecting = asyncio.Lock()

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        """Write `payload` as a record's value and `attributes` as its headers.

        Raises DestinationError when the brokers did not take it; it may be there all the same.
        """
        headers = [(name, text.encode()) for name, text in attributes.items()]
        producer = None
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                producer = await self._connected()
                await producer.send(self._options.topic, payload, headers)
        except TimeoutError:
            await self._retire(producer)
            raise DestinationError(f"{self._where} took nothing for {_SEND_SECONDS:g} s") from None
        except KafkaError as error:
            if type(error).__name__ not in _ABOUT_THE_RECORD:
                await self._retire(producer)
            raise DestinationError(f"{self._where}: {explain(error)}") from error

    async def close(self) -> None:
        """Close connections."""
        await self._retire(self._producer)

    @property
    def _where(self) -> str:
        return f"topic {self._options.topic} at {', '.join(self._options.brokers)}"

    async def _connected(self) -> Producer:
        async with self._connecting:
            if self._producer is None:
                self._producer = await self._connect()
            return self._producer

    async def _connect(self) -> Producer:
        """A producer that keeps repeats of its own out, where brokers can do that."""
        quieten()
        try:
            settings = await asyncio.to_thread(build_client_settings, self._options)
        except (OSError, ssl.SSLError) as error:
            raise DestinationError(f"tls: a certificate cannot be read: {error}") from error
        try:
            return await _start(Producer(settings, maximum_bytes=_MAXIMUM_BYTES))
        except KafkaConnectionError as error:
            raise DestinationError(explain_unreachable(self._options.brokers, error)) from error
        except KafkaError:
            plain = Producer(settings, maximum_bytes=_MAXIMUM_BYTES, idempotent=False)
            return await _start(plain)

    async def _retire(self, producer: Producer | None) -> None:
        """A producer that failed is not used again."""
        if producer is None:
            return
        if self._producer is producer:
            self._producer = None
        await _stop(producer)


async def _start(producer: Producer) -> Producer:
    try:
        await producer.start()
    except BaseException:
        await _stop(producer)
        raise
    return producer


async def _stop(producer: Producer) -> None:
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await producer.stop()
    except (KafkaError, TimeoutError):
        return
