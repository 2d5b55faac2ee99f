"""One HTTP POST over the standard library, run in a thread: resolved once, never redirected,
bounded in time and in what is read."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from .addresses import choose_address

_MAXIMUM_READ = 64 * 1024


class PostFailed(Exception):
    """No answer came; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the first 64 KB of the body."""

    status: int
    body: bytes


class Post:
    """One request. `run` blocks and is called in a thread; `abort` may be called from another."""

    def __init__(
        self,
        url: str,
        headers: Sequence[tuple[str, bytes]],
        body: bytes,
        *,
        timeout_seconds: float,
        allow_private: bool,
    ) -> None:
        self._parts = urlsplit(url)
        self._headers = headers
        self._body = body
        self._timeout = timeout_seconds
        self._allow_private = allow_private
        self._socket: socket.socket | None = None
        self._aborted = False

    def run(self) -> Answer:
        """Send and read the answer. Raises PostFailed."""
        try:
            return self._run()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PostFailed(f"{type(error).__name__}: {error}") from error

    def abort(self) -> None:
        """Break the connection, so that `run` ends soon. Does nothing when it has ended."""
        self._aborted = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # not the TLS socket's own, which would pull its state from under the reader
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _run(self) -> Answer:
        host = self._parts.hostname or ""
        port = self._parts.port or (443 if self._parts.scheme == "https" else 80)
        with contextlib.closing(self._connect(host, port)) as raw:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
            connection.sock = raw
            self._write(connection, host)
            response = connection.getresponse()
            try:
                return Answer(response.status, response.read(_MAXIMUM_READ))
            finally:
                response.close()

    def _connect(self, host: str, port: int) -> socket.socket:
        """A connection to the very address that was checked, so that a second look-up of the name
        cannot lead elsewhere."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        address = choose_address(addresses, allow_private=self._allow_private)
        raw = socket.create_connection((address, port), timeout=self._timeout)
        if self._parts.scheme == "https":
            try:
                raw = _tls().wrap_socket(raw, server_hostname=host)
            except BaseException:
                raw.close()
                raise
        self._socket = raw
        if self._aborted:
            raw.close()
            raise OSError("given up")
        return raw

    def _write(self, connection: http.client.HTTPConnection, host: str) -> None:
        target = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        connection.putrequest("POST", target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", self._parts.netloc)
        for name, value in self._headers:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(self._body)))
        connection.putheader("Connection", "close")
        connection.endheaders(self._body)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
