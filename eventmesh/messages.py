"""HTTP requests, responses and routes as values: what the server hands to a route and gets back.

The server in `eventmesh.http` parses and limits; whoever owns a route (the Lambda API, the http
source) sees only these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Headers = Sequence[tuple[str, str]]


@dataclass(slots=True)
class HttpRequest:
    """One parsed request. `raw_path` and `raw_query` are as sent (percent-encoded, no `?`).

    `headers` keep the client's order and case; `header()` looks one up by its lower-case name.
    """

    method: str
    raw_path: str
    raw_query: str
    headers: Headers
    client_ip: str
    client_port: int
    body: bytes = b""
    #: filled by the router from `{name}` and `{proxy+}` in the route's path; values as sent, not
    #: decoded
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    _folded: dict[str, str] | None = None

    def header(self, lower_name: str) -> str | None:
        """The value of the named header (several are joined by `,`), or None."""
        if self._folded is None:
            folded: dict[str, str] = {}
            self._folded = folded
            for name, value in self.headers:
                key = name.lower()
                folded[key] = f"{folded[key]},{value}" if key in folded else value
        return self._folded.get(lower_name)


@dataclass(slots=True)
class HttpResponse:
    """What a route answers. The server adds `Date`, `Content-Length` and `Connection`."""

    status: int
    body: bytes = b""
    headers: Headers = ()


#: answers one request; may wait; is cancelled when the server stops
HttpHandler = Callable[[HttpRequest], Awaitable[HttpResponse]]
#: looks at a request whose body was not read yet: returns the largest body in bytes it will take,
#: or the response that refuses the request. Must not wait.
Admission = Callable[[HttpRequest], int | HttpResponse]


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A method (`ANY` for all) and a path pattern: literal segments, `{name}` for one segment, a
    last `{name+}` for the rest."""

    method: str
    path: str
    handler: HttpHandler
    admission: Admission


class HttpRoutes(Protocol):
    """Where routes are registered while the server runs."""

    def add(self, route: HttpRoute) -> None:
        """Serve `route` from now on. Raises ValueError when the same method and path is served
        already, or is reserved."""
        ...

    def remove(self, route: HttpRoute) -> None:
        """Stop serving `route`; requests already inside it go on."""
        ...
