"""The destination: each payload is a persistent message that the broker has confirmed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import partial

from eventmesh.errors import DestinationError
from eventmesh_connectors.activemq.links import LinkLost, StompLink, open_link, queue_path
from eventmesh_connectors.activemq.options import ActiveMqDestinationOptions

#: attributes that would change the frame itself
_RESERVED = re.compile(r"(?i)destination|content-.*|receipt|transaction|persistent|expires|amq.*")


class ActiveMqDestination:
    """Sends payloads to a queue, which the broker makes where it does not exist."""

    def __init__(self, options: ActiveMqDestinationOptions) -> None:
        self._options = options
        self._opening = asyncio.Lock()
        self._link: StompLink | None = None

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        """Send `payload` as a persistent message; returns once the broker has it. Waits 20 s at
        most. `attributes` become properties. Raises DestinationError. See `Destination`."""
        given = {name: text for name, text in attributes.items() if not _RESERVED.fullmatch(name)}
        headers = {**given, "persistent": "true"}
        try:
            link = await self._open()
            path = queue_path(self._options.queue)
            send = partial(link.frames.send, path, payload, "application/json", headers)
            await link.write(send)
        except LinkLost as error:
            where = self._options.address.shown
            text = f"cannot send to queue {self._options.queue} at {where}: {error}"
            raise DestinationError(text) from error

    async def close(self) -> None:
        """Disconnect."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _open(self) -> StompLink:
        async with self._opening:
            if self._link is not None and self._link.lost is not None:
                lost, self._link = self._link, None
                await lost.close()
            if self._link is None:
                self._link = await open_link(self._options)
            return self._link
