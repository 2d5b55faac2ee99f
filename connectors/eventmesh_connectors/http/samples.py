"""A small event of each format, for `eventmesh generate-event`: made by the very code that makes
the real ones."""

from __future__ import annotations

from typing import Any

import orjson

from eventmesh.messages import HttpRequest

from .exchange import Arrival, RouteFacts
from .formats import FORMATS

_ARRIVAL = Arrival(1_584_039_838.39, "0d8f5c1e-9a3b-4a52-8f6e-2b1f6f1c7a11")
_ROUTE = RouteFacts(
    "GET", "/thumbs/{name}", ("name",), function_name="thumbnail", api_id="a1b2c3d4e5"
)


def build_samples() -> dict[str, Any]:
    """Kind to event."""
    kinds = {"http-v2": "2.0", "http-v1": "1.0", "function-url": "function_url", "alb": "alb"}
    return {kind: _build(FORMATS[name].build_event) for kind, name in kinds.items()}


def _build(build_event: Any) -> Any:
    request = HttpRequest(
        method="GET",
        raw_path="/thumbs/cat.jpg",
        raw_query="size=64&size=128",
        headers=[("Host", "localhost:8080"), ("User-Agent", "curl/8.5.0"), ("Accept", "*/*")],
        client_ip="127.0.0.1",
        client_port=52114,
        path_parameters={"name": "cat.jpg"},
    )
    return orjson.loads(build_event(request, _ROUTE, _ARRIVAL))
