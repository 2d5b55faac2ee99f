"""Sample events of HTTP: API Gateway payloads 1.0 and 2.0, Function URLs, load balancers (semantics
8.4 to 8.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from eventmesh.cli.samples_scene import Event, Sample, Scene, encode_text, parse_object

_CLIENT = "203.0.113.7"
_USER_AGENT = "curl/8.5.0"


@dataclass(frozen=True, slots=True)
class _Request:
    """A request as a client sends it; `headers` are lists of values by name."""

    method: str
    path: str
    query: str
    headers: dict[str, list[str]]
    body: str
    binary: bool

    @property
    def shown_body(self) -> str:
        return encode_text(self.body) if self.binary else self.body

    @property
    def parameters(self) -> dict[str, list[str]]:
        """The decoded values of the query by name."""
        return _grouped(parse_qsl(self.query, keep_blank_values=True))


def _request(
    scene: Scene, host: str, method: str, path: str, query: str, headers: str, body: str, binary: bool
) -> _Request:
    if not path.startswith("/"):
        raise ValueError(f"path: {path!r} does not start with /")
    values = {
        "Accept": ["*/*"],
        "Host": [host],
        "User-Agent": [_USER_AGENT],
        "X-Amzn-Trace-Id": [f"Root=1-{int(scene.now):08x}-{scene.hexadecimal(24)}"],
        "X-Forwarded-For": [_CLIENT],
        "X-Forwarded-Port": ["443"],
        "X-Forwarded-Proto": ["https"],
    }
    if body:
        values["Content-Length"] = [str(len(body.encode()))]
        values["Content-Type"] = ["application/json"]
    for name, value in parse_object("headers", headers).items():
        values = {known: v for known, v in values.items() if known.lower() != name.lower()}
        values[name] = [str(v) for v in value] if isinstance(value, list) else [str(value)]
    return _Request(method.upper(), path, query, values, body, binary)
