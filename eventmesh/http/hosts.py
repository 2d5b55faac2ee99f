"""Which `Host` headers are answered: the guard against DNS rebinding.

A web page can point a name of its own at 127.0.0.1 and then talk to a server there as if it were
its own. The browser still sends the page's name, so a server bound to loopback only answers to
loopback's names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

LOOPBACK_NAMES = ("localhost", "*.localhost", "127.0.0.1", "[::1]")
#: accepted values remembered so that the common ones cost one lookup
_REMEMBERED = 64
_match_host = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~\-]+)(?::[0-9]{1,5})?").fullmatch


class HostGuard:
    """Decides by `Host` header. `allowed` are names, `*.name` for subdomains, or `*` for all."""

    def __init__(self, allowed: Sequence[str]) -> None:
        names = [name.lower().rstrip(".") for name in allowed]
        self._everything = not names or "*" in names
        self._names = frozenset(name for name in names if not name.startswith("*"))
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        self._accepted: set[str] = set()

    def allows(self, host: str | None) -> bool:
        """Whether a request with this `Host` (None: it has none) may be answered."""
        if self._everything or host in self._accepted:
            return True
        if host is None or not self._matches(host):
            return False
        if len(self._accepted) < _REMEMBERED:
            self._accepted.add(host)
        return True

    def _matches(self, host: str) -> bool:
        match = _match_host(host)
        if match is None:
            return False
        name = match[1].lower().rstrip(".")
        return name in self._names or (bool(self._suffixes) and name.endswith(self._suffixes))


def guard_for(bound: Iterable[str], allowed_hosts: Sequence[str]) -> HostGuard:
    """The guard of a server bound to these IP addresses: on loopback its names and
    `allowed_hosts`, elsewhere `allowed_hosts` only, and everything when there are none."""
    addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in bound]
    if addresses and all(address.is_loopback for address in addresses):
        own = [f"[{a}]" if a.version == 6 else str(a) for a in addresses]
        return HostGuard((*LOOPBACK_NAMES, *own, *allowed_hosts))
    return HostGuard(allowed_hosts)


@lru_cache(256)
def is_host(value: str) -> bool:
    """Whether `value` is a well-formed `Host` header: a name or address, perhaps a port."""
    return _match_host(value) is not None
