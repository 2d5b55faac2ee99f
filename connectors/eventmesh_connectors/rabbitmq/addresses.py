"""Where a broker is: AMQP addresses, taken apart and put together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from yarl import URL

_PORTS = {"amqp": 5672, "amqps": 5671}
#: seconds; a broker that falls silent is given up after three of them
_HEARTBEAT_SECONDS = 8


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker and a virtual host of it. Only `url` holds the password; it is never shown."""

    url: str = field(repr=False)
    host: str
    port: int
    virtual_host: str

    @property
    def shown(self) -> str:
        """`host:port`, and the virtual host where it is not `/`."""
        rest = "" if self.virtual_host == "/" else f"/{self.virtual_host}"
        return f"{self.host}:{self.port}{rest}"


def parse_address(url: str, virtual_host: str | None = None) -> BrokerAddress:
    """`amqp(s)://user:password@host:port/virtual-host`, completed; `virtual_host` wins over the
    path. Raises ValueError with a text fit for users, without the password."""
    try:
        parts = URL(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise ValueError("not an address; write amqp://user:password@host:5672/") from None
    if parts.scheme not in _PORTS or not parts.host:
        raise ValueError("write an address such as amqp://user:password@host:5672/ (or amqps://)")
    if virtual_host is None:
        virtual_host = parts.path[1:].replace("%2F", "/") or "/"
    whole = parts.with_port(port).with_path("/" + _quote(virtual_host), encoded=True)
    query = {"heartbeat": str(_HEARTBEAT_SECONDS), **parts.query}
    return BrokerAddress(str(whole.with_query(query)), parts.host, port, virtual_host)


def _quote(virtual_host: str) -> str:
    return "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}"
        for byte in virtual_host.encode()
    )
