"""The http connector over real sockets: routes on the engine's server, posts to a small one."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from eventmesh.clock import SystemClock
from eventmesh.connectors import InvocationResult, SourceContext
from eventmesh.errors import DestinationError
from eventmesh.http import HttpServer, Router
from eventmesh_connectors.http import (
    HttpDestination,
    HttpDestinationOptions,
    HttpOptions,
    HttpSource,
)


class Echo:
    """A function that answers with the event it got."""

    async def invoke(self, event: bytes) -> InvocationResult:
        return InvocationResult("invocation", event)

    async def enqueue(
        self,
        events: Sequence[bytes],
        positions: Mapping[str, str | None] | None = None,
        *,
        synced: bool = False,
    ) -> Sequence[str]:
        return ["queued"]


class NoPositions:
    async def load(self) -> dict[str, str]:
        return {}


@asynccontextmanager
async def serving(*mappings: Any) -> AsyncIterator[int]:
    """The engine's server with one source for each of `mappings`; gives its port."""
    router, clock = Router(), SystemClock()
    server = HttpServer(router, clock)
    await server.start("127.0.0.1", 0)
    tasks = []
    for number, settings in enumerate(mappings):
        ready = asyncio.Event()

        def announce(detail: str, ready: asyncio.Event = ready) -> None:
            ready.set()

        context = SourceContext(
            f"m{number}", clock, logging.getLogger("test"), NoPositions(), router, announce
        )
        source = HttpSource(HttpOptions.model_validate(settings), context)
        tasks.append(asyncio.create_task(source.run(Echo())))
        await ready.wait()
    try:
        yield server.addresses[0][1]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop(1.0)


async def ask(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes and read one answer to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace(b"HOST", b"Host: localhost:%d\r\nConnection: close" % port))
    raw = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
    return int(first.split()[1]), headers, body


async def test_a_request_arrives_as_the_event_and_the_result_goes_back() -> None:
    async with serving("GET /thumbs/{name}") as port:
        line = b"GET /thumbs/a%20b?x=1&x=2 HTTP/1.1\r\nHOST\r\nX-Raw: \xe9\xff\r\n\r\n"
        status, headers, body = await ask(port, line)
    event = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert event["pathParameters"] == {"name": "a b"}
    assert event["queryStringParameters"] == {"x": "1,2"}
    assert event["headers"]["x-raw"] == "éÿ"
    assert event["headers"]["x-forwarded-port"] == str(port)
    assert "connection" not in event["headers"]
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert headers["apigw-requestid"] == event["requestContext"]["requestId"]


@pytest.mark.parametrize(
    ("path", "parameter"),
    [(b"/a/b/", "a/b/"), (b"/", ""), (b"/a//b%2Fc", "a//b/c"), (b"/%2e%2e/x", "../x")],
)
async def test_a_greedy_route_takes_the_rest(path: bytes, parameter: str) -> None:
    async with serving("ANY /{proxy+}") as port:
        _, _, body = await ask(port, b"PUT " + path + b" HTTP/1.1\r\nHOST\r\n\r\n")
    event = json.loads(body)
    assert event["pathParameters"] == {"proxy": parameter}
    assert event["requestContext"]["http"]["method"] == "PUT"


async def test_the_default_route_takes_everything() -> None:
    async with serving("$default", "GET /x") as port:
        _, _, body = await ask(port, b"GET /any/path HTTP/1.1\r\nHOST\r\n\r\n")
        assert json.loads(body)["routeKey"] == "$default"
        _, _, body = await ask(port, b"GET /x HTTP/1.1\r\nHOST\r\n\r\n")
        assert json.loads(body)["routeKey"] == "GET /x"


async def test_what_no_response_of_a_rest_api_can_be() -> None:
    async with serving({"path": "/x", "format": 1.0}) as port:
        status, headers, body = await ask(port, b"GET /x HTTP/1.1\r\nHOST\r\n\r\n")
    assert (status, body) == (502, b'{"message": "Internal server error"}')
    assert headers["x-amzn-errortype"] == "InternalServerErrorException"


@pytest.mark.parametrize("path", [b"/f", b"/f/", b"/f/x/y"])
async def test_a_function_url_serves_all_below_its_path(path: bytes) -> None:
    async with serving({"path": "/f", "format": "function_url"}) as port:
        status, headers, body = await ask(port, b"DELETE " + path + b" HTTP/1.1\r\nHOST\r\n\r\n")
    assert (status, headers["x-amzn-requestid"]) == (200, "invocation")
    assert json.loads(body)["rawPath"] == path.decode()


async def test_a_refused_client_is_not_asked_for_its_body() -> None:
    async with serving({"path": "/x", "api_keys": ["k"], "maximum_body": 10}) as port:
        head = b"POST /x HTTP/1.1\r\nHOST\r\nExpect: 100-continue\r\nContent-Length: %d\r\n%s\r\n"
        status, _, body = await ask(port, head % (5, b""))
        assert (status, body) == (403, b'{"message":"Forbidden"}')
        status, _, body = await ask(port, head % (11, b"x-api-key: k\r\n"))
        assert (status, body) == (413, b'{"message":"Request Entity Too Large"}')


async def test_mappings_side_by_side() -> None:
    async with serving(
        {"route": "GET /x", "cors": True},
        {"route": "POST /x", "cors": True, "invocation": "event"},
    ) as port:
        assert (await ask(port, b"GET /x HTTP/1.1\r\nHOST\r\n\r\n"))[0] == 200
        status, headers, body = await ask(
            port, b"POST /x HTTP/1.1\r\nHOST\r\nContent-Length: 2\r\n\r\nhi"
        )
        assert (status, headers["x-amzn-requestid"], body) == (202, "queued", b"{}")
        preflight = b"Origin: https://a\r\nAccess-Control-Request-Method: POST\r\n"
        status, headers, _ = await ask(
            port, b"OPTIONS /x HTTP/1.1\r\nHOST\r\n" + preflight + b"\r\n"
        )
        assert (status, headers["access-control-allow-origin"]) == (204, "*")


class Receiver:
    """A server that keeps what it is sent and answers with `answer`."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        self.requests: list[bytes] = []
        self.arrived = asyncio.Event()
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.requests.append(head + await reader.readexactly(length))
        self.arrived.set()
        writer.write(self.answer)
        if not self.answer:
            await reader.read()
            self.closed.set()
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, int]]:
    receiving = Receiver()
    server = await asyncio.start_server(receiving.serve, "127.0.0.1", 0)
    async with server:
        yield receiving, server.sockets[0].getsockname()[1]


@asynccontextmanager
async def destination(port: int, **settings: Any) -> AsyncIterator[HttpDestination]:
    given = {"url": f"http://127.0.0.1:{port}/hook?a=1", **settings}
    opened = HttpDestination(HttpDestinationOptions.model_validate(given))
    try:
        yield opened
    finally:
        await opened.close()


async def test_a_payload_is_posted(receiver: tuple[Receiver, int]) -> None:
    receiving, port = receiver
    async with destination(port, headers={"X-Mine": "é"}) as opened:
        await opened.send(b'{"a":1}', {"DeliveryId": "d-1"})
    (request,) = receiving.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert body == b'{"a":1}'
    assert head.split(b"\r\n") == [
        b"POST /hook?a=1 HTTP/1.1",
        b"Host: 127.0.0.1:%d" % port,
        b"Content-Type: application/json",
        b"User-Agent: eventmesh",
        b"X-Eventmesh-DeliveryId: d-1",
        "X-Mine: é".encode(),
        b"Content-Length: 7",
        b"Connection: close",
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad", "answered 500: bad"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "answered 302 (redirects are not followed)",
        ),
        (b"nonsense\r\n\r\n", ": BadStatusLine: nonsense"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "LineTooLong"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "HTTPException"),
    ],
)
async def test_anything_but_2xx_is_an_error(
    receiver: tuple[Receiver, int], answer: bytes, message: str
) -> None:
    receiving, port = receiver
    receiving.answer = answer
    async with destination(port) as opened:
        with pytest.raises(DestinationError) as caught:
            await opened.send(b"{}", {})
    assert str(caught.value).startswith(f"http://127.0.0.1:{port}/hook")
    assert message in str(caught.value)
    assert len(receiving.requests) == 1


async def test_an_endless_body_is_not_read_to_its_end(receiver: tuple[Receiver, int]) -> None:
    receiving, port = receiver
    receiving.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 100_000
    async with destination(port) as opened:
        await opened.send(b"{}", {})
    assert len(receiving.requests) == 1


async def test_a_silent_receiver_is_given_up(receiver: tuple[Receiver, int]) -> None:
    receiving, port = receiver
    receiving.answer = b""
    async with destination(port, timeout="200ms") as opened:
        with pytest.raises(DestinationError, match=r"did not answer within 0\.2 s"):
            await opened.send(b"{}", {})
        await receiving.closed.wait()


async def test_a_cancelled_send_breaks_the_connection(receiver: tuple[Receiver, int]) -> None:
    receiving, port = receiver
    receiving.answer = b""
    async with destination(port) as opened:
        sending = asyncio.create_task(opened.send(b"{}", {}))
        await receiving.arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await receiving.closed.wait()


async def test_nobody_listening_and_private_addresses_refused() -> None:
    server = await asyncio.start_server(Receiver().serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with destination(port) as opened:
        with pytest.raises(DestinationError, match="ConnectionRefusedError"):
            await opened.send(b"{}", {})
    async with destination(port, allow_private=False) as opened:
        with pytest.raises(DestinationError, match=r"127\.0\.0\.1 is not a public address"):
            await opened.send(b"{}", {})


async def test_a_receiver_that_speaks_no_tls() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(1000)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with destination(port, url=f"https://127.0.0.1:{port}/") as opened:
            with pytest.raises(DestinationError, match="SSL"):
                await opened.send(b"{}", {})
