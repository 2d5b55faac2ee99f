"""The destination: each payload is a persistent message that the broker has confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiormq.exceptions import ChannelNotFoundEntity, DeliveryError, PublishError
from pamqp.commands import Basic

from eventmesh.errors import DestinationError
from eventmesh_connectors.rabbitmq.links import (
    ANSWER_SECONDS,
    FAULTS,
    Link,
    LinkLost,
    completed,
    open_link,
    unavailable,
)
from eventmesh_connectors.rabbitmq.options import RabbitMqDestinationOptions

_PERSISTENT = 2


class RabbitMqDestination:
    """Publishes to a queue, or to an exchange with a routing key, with publisher confirms."""

    def __init__(self, options: RabbitMqDestinationOptions) -> None:
        self._options = options
        self._address = options.address
        self._opening = asyncio.Lock()
        self._link: Link | None = None

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        """Publish `payload`; returns once the broker has taken responsibility for it. Waits 20 s
        at most. See `Destination`.

        `attributes` become headers, `DeliveryId` the messageId too. Raises DestinationError, also
        when the message reaches no queue.
        """
        properties = Basic.Properties(
            content_type="application/json",
            delivery_mode=_PERSISTENT,
            headers=dict(attributes),
            message_id=attributes.get("DeliveryId"),
            app_id="eventmesh",
        )
        try:
            link = await self._open()
            await completed(self._publish(link, payload, properties))
        except ChannelNotFoundEntity as error:
            what = f"exchange {self._options.exchange!r} does not exist"
            raise DestinationError(f"{self._options.resource}: {what}") from error
        except PublishError as error:
            raise DestinationError(f"{self._options.resource}: {self._unroutable()}") from error
        except DeliveryError as error:
            text = f"{self._options.resource}: the broker refused the message"
            raise DestinationError(text) from error
        except (*FAULTS, LinkLost) as error:
            doing = f"cannot publish to {self._options.resource}"
            raise unavailable(doing, self._address, error, DestinationError) from error

    async def close(self) -> None:
        """Disconnect."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _publish(self, link: Link, payload: bytes, properties: Basic.Properties) -> None:
        options = self._options
        await link.channel.basic_publish(
            payload,
            exchange=options.exchange or "",
            routing_key=options.queue or options.routing_key,
            properties=properties,
            mandatory=True,
            timeout=ANSWER_SECONDS,
        )

    async def _open(self) -> Link:
        async with self._opening:
            link = self._link
            if link is not None and link.channel.is_closed:
                self._link = None
                await link.close()
            if self._link is None:
                self._link = await open_link(self._address, "eventmesh destination", confirms=True)
            return self._link

    def _unroutable(self) -> str:
        options = self._options
        if options.queue:
            return f"queue {options.queue!r} does not exist; create it"
        return f"exchange {options.exchange!r} routes {options.routing_key!r} to no queue"
