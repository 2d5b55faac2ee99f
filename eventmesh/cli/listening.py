"""Why the HTTP server could not listen, in words."""

from __future__ import annotations

import errno
import socket

_REASONS = {
    errno.EADDRINUSE: "another program listens there; stop it, or set `server: {http: HOST:PORT}` "
    "to a free port",
    errno.EACCES: "this user may not; ports below 1024 need privileges, so set "
    "`server: {http: HOST:PORT}` to a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address; set `server: {http: HOST:PORT}` to "
    "one of its own, such as 127.0.0.1:8080",
}


def explain_refusal(error: OSError, address: str | bool) -> str | None:
    """One line for an error of listening on `address`; None for any other error."""
    if isinstance(error, socket.gaierror):
        return f"cannot listen on {address}: {error.strerror}"
    if "attempting to bind" not in str(error.strerror):
        return None
    return f"cannot listen on {address}: {_REASONS.get(error.errno or 0, error.strerror)}"
