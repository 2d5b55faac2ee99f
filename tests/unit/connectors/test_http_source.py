"""The source against a registry of routes and a function that answers as told."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from eventmesh.connectors import InvocationResult, SourceContext
from eventmesh.errors import (
    ConnectorError,
    EventMeshError,
    RequestTooLarge,
    ResourceNotFound,
    ServiceError,
    StateFull,
    TooManyRequests,
)
from eventmesh.messages import HttpRequest, HttpResponse, HttpRoute
from eventmesh.testing import FakeClock
from eventmesh.testing.clock import settle
from eventmesh_connectors.http import HttpOptions, HttpSource


class Registry:
    """Routes by method and path, as the server keeps them."""

    def __init__(self) -> None:
        self.served: dict[tuple[str, str], HttpRoute] = {}

    def add(self, route: HttpRoute) -> None:
        key = (route.method, route.path)
        if key in self.served:
            raise ValueError(f"{route.method} {route.path} is served already")
        self.served[key] = route

    def remove(self, route: HttpRoute) -> None:
        del self.served[route.method, route.path]


class NoPositions:
    async def load(self) -> dict[str, str]:
        return {}


class Function:
    """What the source invokes: says `payload`, or raises `error`, once `gate` is open."""

    def __init__(self, payload: Any = None) -> None:
        self.payload = json.dumps(payload).encode()
        self.function_error: str | None = None
        self.error: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.events: list[dict[str, Any]] = []
        self.synced: list[bool] = []
        self.cancelled = 0

    async def invoke(self, event: bytes) -> InvocationResult:
        self.events.append(json.loads(event))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return InvocationResult("invocation-1", self.payload, function_error=self.function_error)

    async def enqueue(
        self,
        events: Sequence[bytes],
        positions: Mapping[str, str | None] | None = None,
        *,
        synced: bool = False,
    ) -> Sequence[str]:
        if self.error is not None:
            raise self.error
        self.events += map(json.loads, events)
        self.synced.append(synced)
        return ["queued-1"]


class House:
    """A running source and what surrounds it."""

    def __init__(self, clock: FakeClock, options: Any, function: Function, routes: Registry):
        self.function = function
        self.routes = routes
        self.announced: list[str] = []
        context = SourceContext(
            mapping="web/http/x",
            clock=clock,
            log=logging.getLogger("test.http"),
            positions=NoPositions(),
            routes=routes,
            announce=self.announced.append,
            function_name="web",
        )
        self.source = HttpSource(HttpOptions.model_validate(options), context)
        self.task = asyncio.create_task(self.source.run(function))

    async def ask(
        self,
        method: str = "GET",
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        route: tuple[str, str] | None = None,
    ) -> HttpResponse:
        """As the server does: admission first, then the handler."""
        served = self.routes.served[route] if route else next(iter(self.routes.served.values()))
        lines = [("Host", "localhost"), *(headers or {}).items()]
        if body:
            lines.append(("Content-Length", str(len(body))))
        request = HttpRequest(method, "/x", "", lines, "1.2.3.4", 5, b"", {})
        admitted = served.admission(request)
        if isinstance(admitted, HttpResponse):
            return admitted
        assert len(body) <= admitted
        request.body = body
        return await served.handler(request)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


Start = Callable[..., Any]


@pytest.fixture
async def start(clock: FakeClock) -> AsyncIterator[Start]:
    houses: list[House] = []

    async def begin(
        options: Any, function: Function | None = None, routes: Registry | None = None
    ) -> House:
        house = House(clock, options, function or Function({"ok": True}), routes or Registry())
        houses.append(house)
        await settle()
        return house

    yield begin
    for house in houses:
        await house.stop()


def header(response: HttpResponse, name: str) -> str | None:
    found = [value for key, value in response.headers if key.lower() == name]
    return ",".join(found) if found else None


@asynccontextmanager
async def asking(coroutine: Any) -> AsyncIterator[asyncio.Task[HttpResponse]]:
    task = asyncio.create_task(coroutine)
    await settle()
    yield task


async def test_a_request_runs_the_function(start: Start) -> None:
    house = await start("GET /x")
    assert list(house.routes.served) == [("GET", "/x")]
    assert house.announced == ["listening, payload 2.0"]
    response = await house.ask()
    assert (response.status, response.body) == (200, b'{"ok":true}')
    (event,) = house.function.events
    assert event["requestContext"]["timeEpoch"] == 1_700_000_000_000
    assert header(response, "apigw-requestid") == event["requestContext"]["requestId"]
    await house.stop()
    assert house.routes.served == {}


async def test_two_mappings_cannot_serve_one_path(start: Start) -> None:
    first = await start({"path": "/f", "format": "function_url"})
    routes = Registry()
    routes.served = {("ANY", "/f/{proxy+}"): first.routes.served["ANY", "/f/{proxy+}"]}
    second = await start({"path": "/f", "format": "function_url"}, routes=routes)
    with pytest.raises(ConnectorError) as caught:
        await second.task
    assert str(caught.value) == (
        "mapping web/http/x cannot serve ANY /f: ANY /f/{proxy+} is served already. "
        "Give one of them another path or method in mappings.yaml"
    )
    assert list(routes.served) == [("ANY", "/f/{proxy+}")]
    assert second.announced == []


async def test_a_failed_handler_and_a_malformed_result(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    function = Function({"statusCode": 200, "headers": {"a": "b\r\nc"}})
    house = await start({"path": "/x", "format": "function_url"}, function)
    response = await house.ask()
    assert (response.status, response.body) == (502, b"Internal Server Error")
    assert header(response, "x-amzn-requestid") == "invocation-1"
    assert "invocation-1: the handler's result is no response" in caplog.text
    assert "header 'a' has a line break" in caplog.text
    function.function_error = "Unhandled"
    assert (await house.ask()).status == 502


@pytest.mark.parametrize(
    ("error", "statuses"),
    [
        (
            TooManyRequests("ReservedFunctionConcurrentInvocationLimitExceeded"),
            [500, 500, 429, 502],
        ),
        (RequestTooLarge(), [413, 413, 413, 413]),
        (ServiceError(), [500, 500, 502, 502]),
        (ResourceNotFound(), [500, 500, 502, 502]),
        (StateFull(), [500, 500, 502, 502]),
    ],
)
async def test_refused_invocations(
    start: Start, error: EventMeshError, statuses: list[int]
) -> None:
    function = Function()
    function.error = error
    got = []
    for format_ in (2.0, 1.0, "function_url", "alb"):
        house = await start({"path": "/x", "format": format_}, function)
        got.append((await house.ask()).status)
    assert got == statuses


@pytest.mark.parametrize(("format_", "seconds", "status"), [("2.0", 30.0, 503), ("1.0", 29.0, 504)])
async def test_a_slow_handler_runs_on_when_its_caller_was_answered(
    start: Start, clock: FakeClock, format_: str, seconds: float, status: int
) -> None:
    house = await start({"path": "/x", "format": format_})
    house.function.gate.clear()
    async with asking(house.ask()) as waiting:
        await clock.advance(seconds - 0.1)
        assert not waiting.done()
        await clock.advance(0.1)
        await settle()
        assert waiting.result().status == status
    house.function.gate.set()
    await settle()
    assert house.function.cancelled == 0


async def test_a_function_url_waits_as_long_as_the_function(start: Start, clock: FakeClock) -> None:
    house = await start({"path": "/x", "format": "function_url"})
    house.function.gate.clear()
    async with asking(house.ask()) as waiting:
        await clock.advance(900)
        assert not waiting.done()
        house.function.gate.set()
        assert (await waiting).status == 200


async def test_a_timeout_of_ones_own(start: Start, clock: FakeClock) -> None:
    house = await start({"path": "/x", "format": "alb", "timeout": "2s"})
    house.function.gate.clear()
    async with asking(house.ask()) as waiting:
        await clock.advance(2)
        await settle()
        assert waiting.result().status == 504


async def test_a_cancelled_request_cancels_its_invocation(start: Start) -> None:
    house = await start("GET /x")
    house.function.gate.clear()
    async with asking(house.ask()) as waiting:
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert house.function.cancelled == 1


async def test_a_late_failure_is_logged(
    start: Start, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    house = await start("GET /x")
    house.function.gate.clear()
    house.function.error = ServiceError()
    async with asking(house.ask()) as waiting:
        await clock.advance(30)
        await settle()
        assert waiting.result().status == 503
    house.function.gate.set()
    await settle()
    assert "a late invocation" in caplog.text


async def test_an_event_is_accepted_once_stored(start: Start) -> None:
    house = await start({"route": "POST /x", "invocation": "event"})
    response = await house.ask("POST", body=b"hi")
    assert (response.status, response.body) == (202, b"{}")
    assert header(response, "x-amzn-requestid") == "queued-1"
    assert house.function.synced == [True]
    house.function.error = StateFull()
    assert (await house.ask("POST")).status == 503


async def test_an_event_has_at_most_one_megabyte(start: Start) -> None:
    house = await start({"route": "POST /x", "invocation": "event"})
    assert (await house.ask("POST", body=b"\xff" * 1024**2)).status == 413
    assert (await house.ask("POST", body=b"\xff" * (1024**2 + 1))).status == 413
    assert house.function.events == []


@pytest.mark.parametrize("length", ["11", "1" * 30, "-1", "abc", "\u0661"])
async def test_a_body_too_large_is_refused_by_its_declared_length(
    start: Start, length: str
) -> None:
    house = await start({"path": "/x", "maximum_body": 10})
    response = await house.ask("POST", headers={"Content-Length": length})
    assert (response.status, response.body) == (413, b'{"message":"Request Entity Too Large"}')
    assert (await house.ask("POST", body=b"0123456789")).status == 200


async def test_api_keys_are_checked_before_the_body(start: Start) -> None:
    house = await start({"path": "/x", "api_keys": ["k1", "k2"]})
    route = next(iter(house.routes.served.values()))
    for headers in ([], [("x-api-key", "k3")], [("x-api-key", "k1"), ("X-Api-Key", "k1")]):
        refusal = route.admission(HttpRequest("GET", "/x", "x-api-key=k1", headers, "", 0))
        assert isinstance(refusal, HttpResponse)
        assert (refusal.status, refusal.body) == (403, b'{"message":"Forbidden"}')
    assert (await house.ask(headers={"X-Api-Key": "k2"})).status == 200


async def test_websocket_upgrades_are_refused(start: Start) -> None:
    house = await start("GET /x")
    assert (await house.ask(headers={"Upgrade": "WebSocket"})).status == 400


CORS = {
    "allow_origins": ["https://good.example"],
    "allow_methods": ["GET"],
    "allow_headers": ["x-a", "authorization"],
    "expose_headers": ["x-b"],
    "max_age": "1h",
    "allow_credentials": True,
}
PREFLIGHT = {"Origin": "https://good.example", "Access-Control-Request-Method": "GET"}


async def test_preflights_do_not_reach_the_handler(start: Start) -> None:
    house = await start({"route": "GET /x", "cors": CORS, "api_keys": ["k"]})
    response = await house.ask("OPTIONS", headers=PREFLIGHT, route=("OPTIONS", "/x"))
    assert response.status == 204
    assert dict(response.headers) == {
        "access-control-allow-origin": "https://good.example",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET",
        "access-control-allow-headers": "x-a,authorization",
        "access-control-max-age": "3600",
        "vary": "Origin",
    }
    other = PREFLIGHT | {"Origin": "https://evil.example"}
    response = await house.ask("OPTIONS", headers=other, route=("OPTIONS", "/x"))
    assert (response.status, response.headers) == (204, [("vary", "Origin")])
    assert house.function.events == []
    await house.stop()
    assert house.routes.served == {}


async def test_cors_for_everybody(start: Start) -> None:
    house = await start({"path": "/x", "cors": True})
    asked = PREFLIGHT | {"Access-Control-Request-Headers": "authorization,x-a"}
    assert dict((await house.ask("OPTIONS", headers=asked)).headers) == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "*",
        "access-control-allow-headers": "authorization,x-a",
    }
    assert (await house.ask("OPTIONS")).status == 200
    assert len(house.function.events) == 1


async def test_with_credentials_a_star_is_spelled_out(start: Start) -> None:
    everything = {"allow_origins": "https://good.example", "allow_credentials": True}
    house = await start({"path": "/x", "cors": everything})
    response = await house.ask("OPTIONS", headers=PREFLIGHT)
    assert header(response, "access-control-allow-methods") == "GET"
    assert header(response, "access-control-allow-origin") == "https://good.example"


@pytest.mark.parametrize("format_", ["2.0", "1.0", "function_url", "alb"])
async def test_cors_settings_win_over_the_handler(start: Start, format_: str) -> None:
    said = {"Access-Control-Allow-Origin": "https://handler", "access-control-max-age": "1"}
    house = await start(
        {"path": "/x", "format": format_, "cors": CORS},
        Function({"statusCode": 200, "headers": said}),
    )
    response = await house.ask(headers={"Origin": "https://good.example"})
    assert header(response, "access-control-allow-origin") == "https://good.example"
    assert header(response, "access-control-expose-headers") == "x-b"
    assert header(response, "access-control-max-age") is None
    response = await house.ask()
    assert header(response, "access-control-allow-origin") is None
    assert header(response, "vary") == "Origin"


async def test_refusals_carry_cors_headers_so_that_scripts_can_read_them(start: Start) -> None:
    house = await start({"path": "/x", "cors": True, "api_keys": ["k"]})
    response = await house.ask(headers={"Origin": "https://a"})
    assert response.status == 403
    assert header(response, "access-control-allow-origin") == "*"


async def test_mappings_with_one_path_share_its_preflights(start: Start) -> None:
    routes = Registry()
    await start({"route": "GET /x", "cors": True}, routes=routes)
    second = await start({"route": "POST /x", "cors": True}, routes=routes)
    assert sorted(routes.served) == [("GET", "/x"), ("OPTIONS", "/x"), ("POST", "/x")]
    await second.stop()
    assert sorted(routes.served) == [("GET", "/x"), ("OPTIONS", "/x")]


def github(delivery: str, body: bytes = b"{}", secret: bytes = b"s") -> dict[str, str]:
    digest = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Delivery": delivery}


HOOK = {"route": "POST /x", "webhook": {"preset": "github", "secret": "s"}}


async def test_a_webhook_is_delivered_once(start: Start, clock: FakeClock) -> None:
    house = await start(HOOK)
    assert (await house.ask("POST", headers=github("1"), body=b"{}")).status == 200
    again = await house.ask("POST", headers=github("1"), body=b"{}")
    assert (again.status, again.body) == (200, b"{}")
    assert len(house.function.events) == 1
    assert (await house.ask("POST", headers=github("2"), body=b"{}")).status == 200
    await clock.advance(24 * 3600)
    assert (await house.ask("POST", headers=github("1"), body=b"{}")).status == 200
    assert len(house.function.events) == 3


async def test_an_unsigned_webhook_is_refused(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    house = await start(HOOK)
    for headers in ({}, github("1", secret=b"wrong"), github("1", body=b"[]")):
        response = await house.ask("POST", headers=headers, body=b"{}")
        assert (response.status, response.body) == (401, b'{"message":"Unauthorized"}')
    assert house.function.events == []
    assert "refused a webhook: wrong signature" in caplog.text
    assert (await house.ask("POST", headers=github("1"), body=b"{}")).status == 200


async def test_a_webhook_that_failed_may_be_sent_again(start: Start) -> None:
    house = await start(HOOK)
    house.function.function_error = "Unhandled"
    assert (await house.ask("POST", headers=github("1"), body=b"{}")).status == 500
    house.function.function_error = None
    house.function.error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await house.ask("POST", headers=github("1"), body=b"{}")
    house.function.error = None
    assert (await house.ask("POST", headers=github("1"), body=b"{}")).status == 200
    assert len(house.function.events) == 3


async def test_a_webhook_as_an_event_is_remembered_once_stored(start: Start) -> None:
    house = await start({**HOOK, "invocation": "event"})
    house.function.error = StateFull()
    assert (await house.ask("POST", headers=github("1"), body=b"{}")).status == 503
    house.function.error = None
    assert (await house.ask("POST", headers=github("1"), body=b"{}")).status == 202
    assert (await house.ask("POST", headers=github("1"), body=b"{}")).status == 200
    assert len(house.function.events) == 1


async def test_slack_challenge_is_answered_only_when_signed(start: Start, clock: FakeClock) -> None:
    house = await start({"path": "/x", "webhook": {"preset": "slack", "secret": "s"}})
    body = b'{"type":"url_verification","challenge":"abc"}'
    stamp = str(int(clock.now()))
    digest = hmac.new(b"s", f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    signed = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}
    response = await house.ask("POST", headers=signed, body=body)
    assert (response.status, response.body) == (200, b"abc")
    assert (await house.ask("POST", body=body)).status == 401
    assert house.function.events == []
