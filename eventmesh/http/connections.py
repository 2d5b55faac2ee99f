"""What all connections of one server share: who is connected, who is busy, the second's date."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol

from eventmesh.http.limits import Limits
from eventmesh.http.reader import Gate
from eventmesh.http.responses import date_line


class Peer(Protocol):
    """A connection, as its server sees it."""

    def sweep(self, now: float) -> None:
        """End it when its time (monotonic seconds) is over. Called once a second."""
        ...

    def drain(self) -> None:
        """Close as soon as nothing is in progress."""
        ...

    def abort(self) -> None:
        """Close at once and cancel the handler at work."""
        ...


class Connections:
    """The open connections of one server and the handlers at work."""

    def __init__(self, limits: Limits, gate: Gate, now: float) -> None:
        self.limits = limits
        self.gate = gate
        self.date = date_line(now)
        self.draining = False
        #: refusals by status since the start, for metrics
        self.refused: Counter[int] = Counter()
        #: peers whose handler is at work, also after their client went away
        self.busy: set[Peer] = set()
        self.open: set[Peer] = set()
        self._by_ip: Counter[str] = Counter()
        self._quiet = asyncio.Event()

    def admit(self, peer: Peer, ip: str) -> bool:
        """Count `peer` in, or not when there are too many or the server stops; then it must
        close."""
        limits = self.limits
        if (
            self.draining
            or len(self.open) >= limits.connections
            or self._by_ip[ip] >= limits.connections_per_ip
        ):
            return False
        self._by_ip[ip] += 1
        self.open.add(peer)
        return True

    def leave(self, peer: Peer, ip: str) -> None:
        """`peer` was admitted and is closed."""
        self.open.discard(peer)
        self._by_ip[ip] -= 1
        if not self._by_ip[ip]:
            del self._by_ip[ip]
        self.notice_quiet()

    def notice_quiet(self) -> None:
        if self.draining and not self.open and not self.busy:
            self._quiet.set()

    def sweep(self, monotonic: float, now: float) -> None:
        self.date = date_line(now)
        for peer in list(self.open):
            peer.sweep(monotonic)

    def drain(self) -> asyncio.Event:
        """Close what is idle and the rest as it finishes; the event is set when all are gone."""
        self.draining = True
        for peer in list(self.open):
            peer.drain()
        self.notice_quiet()
        return self._quiet

    def abort(self) -> None:
        for peer in list(self.open | self.busy):
            peer.abort()
