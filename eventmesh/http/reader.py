"""Bytes in, requests out: one connection's parser with everything it is strict about.

It knows no transport and no time. What it cannot accept it raises as `Refused`; after that it must
not be fed again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import httptools

from eventmesh.http.hosts import is_host
from eventmesh.http.limits import Limits
from eventmesh.http.responses import Refused, describe, refuse_body
from eventmesh.http.router import METHODS
from eventmesh.messages import HttpHandler, HttpRequest, HttpResponse

#: what becomes of a request and its `Host` when its headers are there: who answers it and how
#: much body it may have, or the response that refuses it
Gate = Callable[[HttpRequest, str | None], tuple[HttpHandler, int] | HttpResponse]

#: bytes fed to the parser at once; bounds what one read can turn into
SLICE_BYTES = 16 * 1024
#: chunk framing without a byte of body in it; more is an attack on the parser's time
_BARREN_BYTES = 2 * SLICE_BYTES
#: room for method, version and blanks of a request line when only the sum is known
_REQUEST_LINE_BYTES = 64
#: headers the server itself acts on
_NOTED = frozenset(("host", "content-length", "transfer-encoding", "expect", "upgrade"))
_NO_LENGTH = b"0"
_METHODS = {method.encode(): method for method in METHODS}
_ALLOW = ("Allow", ", ".join(METHODS))


@lru_cache(512)
def _read_name(name: bytes) -> tuple[str, str | None]:
    """A header's name as sent, and in lower case when the server acts on it."""
    text = name.decode("latin-1")
    return text, text.lower() if text.lower() in _NOTED else None


@dataclass(slots=True)
class Exchange:
    """One request and who answers it, or (without a request) the refusal that is its answer."""

    handler: HttpHandler | None
    request: HttpRequest | None
    refusal: HttpResponse | None
    keep_alive: bool
    http_1_0: bool = False
    without_body: bool = False


class RequestReader:
    """Parses one connection's bytes and appends every complete request to `completed`."""

    def __init__(
        self, client: tuple[str, int], limits: Limits, gate: Gate, completed: deque[Exchange]
    ) -> None:
        self._client = client
        self._limits = limits
        self._gate = gate
        self._completed = completed
        self._parser = httptools.HttpRequestParser(self)
        self._refusal: HttpResponse | None = None
        #: changes when a request's headers or the request itself are complete
        self.serial = 0
        #: the last request asked for the connection's end; whatever follows it is ignored
        self.ended = False
        #: bytes fed since the last request ended, so far without the end of its headers
        self.head_bytes = 0
        self.in_body = False
        #: body bytes so far
        self.received = 0
        #: the client waits for `100 Continue` before it sends the body
        self.expects_continue = False
        self._begin()

    @property
    def idle(self) -> bool:
        """Whether nothing of a next request has come."""
        return not self.in_body and not self.head_bytes

    def feed(self, data: bytes | memoryview) -> None:
        """Parse at most `SLICE_BYTES` of input. Raises Refused."""
        if self.ended:
            return
        if self.in_body:
            self._barren += len(data)
        else:
            self.head_bytes += len(data)
        rest = self._parse(data)
        while rest:
            rest = self._parse(rest)
        if self.in_body or self.head_bytes:
            self._check_sizes()

    def _parse(self, data: bytes | memoryview) -> bytes | memoryview:
        """Parse `data` up to the end of a request that asked to upgrade; returns the rest."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade()
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            if not self.ended:  # whatever follows a `Connection: close` is nobody's request
                raise Refused(self._refusal or describe(400, f"Bad request: {error}")) from None
        return b""

    def _check_sizes(self) -> None:
        if self.in_body:
            if self._chunked and self._barren > _BARREN_BYTES:
                raise Refused(describe(400, "Bad request: chunks without content"))
        elif self.head_bytes - len(self._url) - _REQUEST_LINE_BYTES > self._limits.header_bytes:
            raise Refused(self._too_large_head())

    def _ignore_upgrade(self) -> None:
        """Go on as if the client had not asked to upgrade, which HTTP allows (RFC 9110 7.8).

        The parser takes the body of such a request for the other protocol, so a new one that has
        seen the same framing reads it.
        """
        if self.in_body:
            framing = b"Transfer-Encoding: chunked" if self._chunked else self._length_line()
            ending = b"" if self._keep_alive else b"\r\nConnection: close"
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + ending + b"\r\n\r\n")

    def _length_line(self) -> bytes:
        return b"Content-Length: " + self._noted["content-length"]

    def _begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._header_bytes = 0
        self._noted: dict[str, bytes] = {}
        self._body: bytes | bytearray = b""
        self._chunked = False
        self._exchange: Exchange | None = None
        self._body_limit = 0

    # What the parser calls. A parser that takes over after an ignored upgrade repeats the head;
    # then `in_body` is set already.

    def on_url(self, fragment: bytes) -> None:
        if not self.in_body:
            self.head_bytes = self.head_bytes or 1
            self._url += fragment
            if len(self._url) > self._limits.url_bytes:
                self._refuse(describe(414, "URI Too Long"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self._limits.header_bytes:
            self._refuse(self._too_large_head())
        if self.in_body:  # a trailer: counted, then dropped, lest it pass for a header
            return
        if len(self._headers) >= self._limits.header_count:
            self._refuse(self._too_large_head())
        text, noted = _read_name(name)
        self._headers.append((text, value.decode("latin-1")))
        if noted is not None:
            if noted in self._noted:
                self._refuse(describe(400, f"Bad request: two {text} headers"))
            self._noted[noted] = value

    def on_headers_complete(self) -> None:
        if self.in_body:
            return
        self.serial += 1
        parser = self._parser
        version = parser.get_http_version()
        self._keep_alive = parser.should_keep_alive()
        method, host = self._check_head(parser.get_method(), version)
        path, _, query = self._split_target()
        request = HttpRequest(method, path, query, self._headers, *self._client)
        decision = self._gate(request, host)
        if isinstance(decision, HttpResponse):
            self._exchange = Exchange(None, None, decision, self._keep_alive)
            if self._announces_body():
                self._refuse(decision)
        else:
            handler, self._body_limit = decision
            self._exchange = Exchange(handler, request, None, self._keep_alive)
            self._expect_body(version)
        self._exchange.http_1_0 = version == "1.0"
        self._exchange.without_body = method == "HEAD"
        self.in_body = True
        self._barren = 0

    def on_body(self, data: bytes) -> None:
        self.received += len(data)
        self._barren = 0
        if self.received > self._body_limit:
            self._refuse(refuse_body(self._body_limit))
        if not self._body:
            self._body = data
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if exchange is None or (self._parser.should_upgrade() and self._announces_body()):
            return
        if exchange.request is not None:
            body = self._body
            exchange.request.body = body if isinstance(body, bytes) else bytes(body)
        self._completed.append(exchange)
        self.serial += 1
        self.ended = not exchange.keep_alive
        self.in_body = self.expects_continue = False
        self.head_bytes = self.received = 0
        self._begin()

    # What a head must be.

    def _check_head(self, method: bytes, version: str) -> tuple[str, str | None]:
        """Method and `Host`, when the head is one to be served."""
        if version not in ("1.1", "1.0"):
            self._refuse(describe(400, f"Bad request: HTTP/{version} is not spoken here"))
        if method not in _METHODS:
            self._refuse(describe(405, "Method Not Allowed", _ALLOW))
        noted = self._noted
        host = noted["host"].decode("latin-1") if "host" in noted else None
        if host is None and version == "1.1":
            self._refuse(describe(400, "Bad request: no Host header"))
        if host is not None and not is_host(host):
            self._refuse(describe(400, "Bad request: malformed Host header"))
        if (coding := noted.get("transfer-encoding")) is not None:
            if coding.lower() != b"chunked" or version == "1.0":
                self._refuse(describe(400, "Bad request: the only Transfer-Encoding is chunked"))
            self._chunked = True
        if b"websocket" in noted.get("upgrade", b"").lower():
            self._refuse(describe(400, "WebSocket is not supported; send a plain HTTP request"))
        return _METHODS[method], host

    def _split_target(self) -> tuple[str, str, str]:
        url = self._url.decode("latin-1")
        parts = url.partition("?")
        if not url.startswith("/") or "#" in url or "%00" in parts[0]:
            self._refuse(describe(400, "Bad request: the target must be a path such as /a/b?c=d"))
        return parts

    def _announces_body(self) -> bool:
        return self._chunked or self._noted.get("content-length", _NO_LENGTH).strip(b"0") != b""

    def _expect_body(self, version: str) -> None:
        if int(self._noted.get("content-length", _NO_LENGTH)) > self._body_limit:
            self._refuse(refuse_body(self._body_limit))
        expectation = self._noted.get("expect")
        if expectation is None or version == "1.0":
            return
        if expectation.lower() != b"100-continue":
            self._refuse(describe(417, "The only expectation met here is 100-continue"))
        self.expects_continue = self._announces_body()

    def _too_large_head(self) -> HttpResponse:
        limits = self._limits
        return describe(
            431,
            f"More than {limits.header_bytes} bytes or {limits.header_count} headers",
        )

    def _refuse(self, response: HttpResponse) -> None:
        """Leave the parser's callback; `feed` raises `Refused` with `response`."""
        self._refusal = response
        raise Refused(response)
