"""Every bound the HTTP server puts on what clients may send and how long they may take."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on clients. All must be greater than 0, else ValueError.

    Times are kept by one sweep a second, so a connection is ended up to one second before its
    limit, never after. The largest body is no limit of the server: each route's admission says it.
    """

    #: from the first byte of a request (or the connection's start) to the end of its headers
    head_seconds: float = 10.0
    #: from the end of the headers to the end of the body
    body_seconds: float = 30.0
    #: a body slower than this over `body_rate_seconds` is given up
    body_bytes_per_second: int = 1024
    body_rate_seconds: float = 10.0
    #: a connection without a request
    keep_alive_seconds: float = 75.0
    #: a client that takes nothing of a response waiting for it
    write_stall_seconds: float = 30.0
    #: how long and how much a refused client may go on sending, so that it gets to read why
    linger_seconds: float = 5.0
    linger_bytes: int = 16 * 1024 * 1024
    #: names and values of all headers together; more is 431
    header_bytes: int = 16 * 1024
    header_count: int = 100
    #: path and query; more is 414
    url_bytes: int = 8 * 1024
    #: more are answered 429 and closed
    connections: int = 1000
    connections_per_ip: int = 256
    #: requests read ahead of the one being answered; beyond, reading pauses
    pipelined_requests: int = 16

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} must be greater than 0")
