"""The HTTP server: one strict HTTP/1.1 listener for routes, the Lambda API, health and metrics."""

from eventmesh.http.limits import Limits
from eventmesh.http.responses import encode_response
from eventmesh.http.router import Router
from eventmesh.http.server import HttpServer

__all__ = ["HttpServer", "Limits", "Router", "encode_response"]
