"""Which network addresses a destination may be sent to: the guard against requests forged through
us (SSRF). Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: clouds hand out a machine's credentials here; no destination ever means to be there
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def choose_address(found: Sequence[str], *, allow_private: bool) -> str:
    """The first address that may be used. Raises ValueError, naming the reason, when none may."""
    reason = "the name has no address"
    for text in found:
        fault = find_fault(text, allow_private=allow_private)
        if fault is None:
            return text
        reason = f"{text} is {fault}"
    raise ValueError(reason)


def find_fault(text: str, *, allow_private: bool) -> str | None:
    """What is wrong with sending to this address, None when nothing is."""
    address = unwrap(ipaddress.ip_address(text.partition("%")[0]))
    if address in _METADATA or address.is_link_local:
        return "a link-local or cloud metadata address, which is never sent to"
    if address.is_multicast or address.is_unspecified:
        return "no address of a single machine"
    if not allow_private and not address.is_global:
        return "not a public address; allow_private: true permits it"
    return None


def unwrap(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that stands for it (mapped, 6to4, NAT64, compatible)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    low = int(address) & 0xFFFFFFFF
    compatible = int(address) >> 32 == 0 and low > 1
    if inner is None and (address in _NAT64 or compatible):
        inner = ipaddress.IPv4Address(low)
    return inner or address
