"""`/healthz` (the process answers), `/readyz` (every source runs) and `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import orjson

from eventmesh.api.replies import JSON, error_reply, refuse_strangers
from eventmesh.invocation.invoker import new_request_id
from eventmesh.messages import HttpRequest, HttpResponse, HttpRoute
from eventmesh.observers.metrics import CONTENT_TYPE

#: mapping name -> what is wrong, for the mappings that do not run; None while starting or stopping
Troubles = Callable[[], Mapping[str, str] | None]


class HealthApi:
    """Routes a supervisor or Prometheus asks. Metrics and names of mappings are for this machine
    only."""

    def __init__(self, troubles: Troubles, render_metrics: Callable[[], bytes]) -> None:
        self._troubles = troubles
        self._render_metrics = render_metrics

    def routes(self) -> Sequence[HttpRoute]:
        return (
            HttpRoute("GET", "/healthz", self.alive, lambda request: 0),
            HttpRoute("GET", "/readyz", self.ready, lambda request: 0),
            HttpRoute("GET", "/metrics", self.metrics, _admit_local),
        )

    async def alive(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, b'{"status":"ok"}', [JSON])

    async def ready(self, request: HttpRequest) -> HttpResponse:
        troubles = self._troubles()
        if troubles is None:
            return HttpResponse(503, b'{"status":"not ready"}', [JSON])
        if not troubles:
            return HttpResponse(200, b'{"status":"ready"}', [JSON])
        told = dict(troubles) if refuse_strangers(request) is None else len(troubles)
        body = orjson.dumps({"status": "not ready", "mappings": told})
        return HttpResponse(503, body, [JSON])

    async def metrics(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, self._render_metrics(), [("Content-Type", CONTENT_TYPE)])


def _admit_local(request: HttpRequest) -> int | HttpResponse:
    stranger = refuse_strangers(request)
    return 0 if stranger is None else error_reply(stranger, new_request_id())
