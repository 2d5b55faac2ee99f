"""The HTTP server over real sockets: what today's servers let through, and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from eventmesh.http import HttpServer, Limits, Router
from eventmesh.messages import Admission, HttpHandler, HttpRequest, HttpResponse, HttpRoute
from eventmesh.testing import FakeClock

HOST = b"Host: 127.0.0.1\r\n"
PING = b"GET /ping HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + HOST
SYNC_LIMIT = 6 * 1024 * 1024


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def response(self) -> tuple[int, bytes, bytes]:
        """Status, head and body of the next response."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        return int(head.split(b" ", 2)[1]), head, await self.reader.readexactly(length)

    async def ask(self, data: bytes) -> tuple[int, bytes, bytes]:
        await self.send(data)
        return await self.response()

    async def is_closed(self) -> bool:
        """Waits for the server to close; anything it still sends is a failure."""
        return await self.reader.read() == b""


class Running:
    """A server on 127.0.0.1 whose time is the test's."""

    def __init__(self, clock: FakeClock, server: HttpServer) -> None:
        self.clock, self.server = clock, server
        self.clients: list[Client] = []
        self.started, self.release = asyncio.Event(), asyncio.Event()
        self.finished: list[bytes] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection(*self.server.addresses[0]))
        self.clients.append(client)
        return client

    async def ask(self, data: bytes) -> tuple[int, bytes, bytes]:
        return await (await self.connect()).ask(data)

    async def pass_seconds(self, seconds: float) -> None:
        """Let the server read what was sent before (a request that came later is answered), then
        move time."""
        assert (await self.ask(PING))[0] == 200
        await self.clock.advance(seconds)

    async def echo(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, request.body)

    async def ping(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, b"pong")

    async def wait(self, request: HttpRequest) -> HttpResponse:
        self.started.set()
        await self.release.wait()
        self.finished.append(request.body)
        return HttpResponse(200, b"done")


def admit_up_to(largest: int) -> Admission:
    return lambda request: largest


def demand_key(request: HttpRequest) -> int | HttpResponse:
    if request.header("authorization") == "key":
        return SYNC_LIMIT
    return HttpResponse(401, b'{"message":"Unauthorized"}')


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(clock: FakeClock) -> AsyncIterator[Start]:
    runs: list[Running] = []

    async def run(allowed_hosts: tuple[str, ...] = (), **limits: float) -> Running:
        router = Router()
        server = HttpServer(router, clock, limits=Limits(**limits), allowed_hosts=allowed_hosts)
        running = Running(clock, server)
        routes: list[tuple[str, str, HttpHandler, Admission]] = [
            ("ANY", "/echo", running.echo, admit_up_to(SYNC_LIMIT)),
            ("GET", "/ping", running.ping, admit_up_to(0)),
            ("POST", "/wait", running.wait, admit_up_to(100)),
            ("POST", "/async", running.echo, admit_up_to(1024 * 1024)),
            ("POST", "/guarded", running.echo, demand_key),
        ]
        for route in routes:
            router.add(HttpRoute(*route))
        await server.start("127.0.0.1", 0)
        runs.append(running)
        return running

    yield run
    for running in runs:
        stopping = asyncio.ensure_future(running.server.stop(0))
        await clock.advance(5)
        await stopping
        for client in running.clients:
            client.writer.close()


@pytest.mark.parametrize("half", [b"GET /ec", b"GET /echo HTTP/1.1\r\n" + HOST + b"A: b"])
async def test_slow_head_is_ended_within_10_seconds(start: Start, half: bytes) -> None:
    running = await start()
    client = await running.connect()
    await client.send(half)
    await running.pass_seconds(10)
    assert (await client.response())[0] == 408
    assert await client.is_closed()


async def test_connection_without_a_byte_is_closed_within_10_seconds(start: Start) -> None:
    running = await start()
    client = await running.connect()
    await running.pass_seconds(10)
    assert await client.is_closed()


async def test_slow_head_cannot_be_prolonged_byte_by_byte(start: Start) -> None:
    running = await start()
    client = await running.connect()
    await client.send(b"GET /echo HTTP/1.1\r\n")
    for _ in range(10):
        await client.send(b"A")
        await running.pass_seconds(1)
    assert (await client.response())[0] == 408


async def test_silent_body_is_ended_within_10_seconds(start: Start) -> None:
    running = await start()
    client = await running.connect()
    await client.send(POST + b"Content-Length: 10\r\n\r\n12345")
    await running.pass_seconds(10)
    assert (await client.response())[0] == 408
    assert await client.is_closed()


async def test_steady_body_is_ended_within_30_seconds(start: Start) -> None:
    running = await start()
    client = await running.connect()
    await client.send(POST + b"Content-Length: 1000000\r\n\r\n")
    for second in range(30):
        assert (second, client.reader._buffer) == (second, b"")  # type: ignore[attr-defined]
        await client.send(b"x" * 2048)
        await running.pass_seconds(1)
    assert (await client.response())[0] == 408


async def test_keep_alive_ends_after_75_seconds(start: Start) -> None:
    running = await start()
    client = await running.connect()
    assert (await client.ask(PING))[2] == b"pong"
    await running.pass_seconds(70)
    assert (await client.ask(PING))[2] == b"pong"
    await running.pass_seconds(75)
    assert await client.is_closed()


async def test_a_handler_may_take_its_time(start: Start) -> None:
    running = await start()
    client = await running.connect()
    await client.send(b"POST /wait HTTP/1.1\r\n" + HOST + b"\r\n")
    await running.started.wait()
    await running.clock.advance(900)
    running.release.set()
    assert (await client.response())[2] == b"done"


@pytest.mark.parametrize(
    ("probe", "data", "status"),
    [
        ("one 100 KB header", b"GET /echo HTTP/1.1\r\n%sA: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        ("2,000 headers", b"GET /echo HTTP/1.1\r\n%s" + b"A: b\r\n" * 2000 + b"\r\n", 431),
        ("1 MB URL", b"GET /" + b"x" * 1_048_576 + b" HTTP/1.1\r\n%s\r\n", 414),
        (
            "Content-Length and Transfer-Encoding",
            b"POST /echo HTTP/1.1\r\n%sContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            b"\r\n",
            400,
        ),
        ("bare LF", b"GET /echo HTTP/1.1\n%s\n", 400),
        ("obs-fold", b"GET /echo HTTP/1.1\r\n%sA: b\r\n c\r\n\r\n", 400),
        ("no Host", b"GET /echo HTTP/1.1\r\nA: %.0s\r\n\r\n", 400),
        ("two Host", b"GET /echo HTTP/1.1\r\n%sHost: localhost\r\n\r\n", 400),
        (
            "bad chunk size",
            b"POST /echo HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
            400,
        ),
        ("10 GB", b"POST /echo HTTP/1.1\r\n%sContent-Length: 10737418240\r\n\r\nabc", 413),
        (
            "two Content-Length",
            b"POST /echo HTTP/1.1\r\n%sContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            400,
        ),
        ("Content-Length -1", b"POST /echo HTTP/1.1\r\n%sContent-Length: -1\r\n\r\n", 400),
        ("NUL in header", b"GET /echo HTTP/1.1\r\n%sA: b\0c\r\n\r\n", 400),
        ("TLS on plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03%.0s", 400),
        ("TRACE", b"TRACE /echo HTTP/1.1\r\n%s\r\n", 405),
        ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\n%s\r\n", 405),
        ("PRI", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n%.0s", 400),
        ("HTTP/0.9", b"GET /echo\r\n\r\n%.0s", 400),
        (
            "WebSocket",
            b"GET /echo HTTP/1.1\r\n%sConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            400,
        ),
    ],
)
async def test_probe(start: Start, probe: str, data: bytes, status: int) -> None:
    running = await start()
    client = await running.connect()
    answer = await client.ask(data % HOST)
    assert (probe, answer[0]) == (probe, status)
    assert b"Connection: close\r\n" in answer[1]
    assert await client.is_closed()
    assert (await running.ask(PING))[2] == b"pong"
    assert running.server.refused == {status: 1}


async def test_idle_connections_are_bounded_by_address(start: Start) -> None:
    running = await start(connections_per_ip=20)
    held = [await running.connect() for _ in range(20)]
    surplus = [await running.connect() for _ in range(20)]
    for client in surplus:
        assert (await client.response())[0] == 429
        assert await client.is_closed()
    assert (await held[0].ask(PING))[2] == b"pong"
    held[1].writer.close()
    await held[1].writer.wait_closed()
    assert (await held[0].ask(PING))[2] == b"pong"
    assert (await running.ask(PING))[2] == b"pong"


@pytest.mark.parametrize(("path", "limit"), [(b"/echo", SYNC_LIMIT), (b"/async", 1024 * 1024)])
async def test_body_at_its_limit_and_one_byte_over(start: Start, path: bytes, limit: int) -> None:
    running = await start()
    head = b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n"
    taken = await running.ask(head % (path, HOST, limit) + b"x" * limit)
    assert (taken[0], len(taken[2])) == (200, limit)
    status, refusal, body = await running.ask(head % (path, HOST, limit + 1) + b"x" * (limit + 1))
    assert status == 413
    assert b"x-amzn-ErrorType: RequestTooLargeException\r\n" in refusal
    assert body == b'{"message": "Request must be smaller than %d bytes"}' % (limit + 1)


async def test_endless_chunked_body_is_refused_at_the_limit(start: Start) -> None:
    running = await start()
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    data = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * (7 * 16)
    assert (await running.ask(data))[0] == 413


async def test_compressed_body_is_not_inflated(start: Start) -> None:
    running = await start()
    data = POST + b"Content-Encoding: gzip\r\nContent-Length: 6\r\n\r\n\x1f\x8b\x08\x00\x00\x00"
    assert (await running.ask(data))[2] == b"\x1f\x8b\x08\x00\x00\x00"


async def test_expectation_is_refused_without_the_body(start: Start) -> None:
    running = await start()
    head = b"POST /guarded HTTP/1.1\r\n%sExpect: 100-continue\r\nContent-Length: 5\r\n%s\r\n"
    client = await running.connect()
    assert (await client.ask(head % (HOST, b"")))[0] == 401
    assert await client.is_closed()
    client = await running.connect()
    assert (await client.ask(head % (HOST, b"Authorization: key\r\n")))[0] == 100
    assert (await client.ask(b"hello"))[2] == b"hello"


async def test_client_that_leaves_does_not_stop_the_invocation(start: Start) -> None:
    running = await start()
    client = await running.connect()
    await client.send(b"POST /wait HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nwork")
    await running.started.wait()
    client.writer.transport.abort()
    assert (await running.ask(PING))[2] == b"pong"
    running.release.set()
    assert (await running.ask(PING))[2] == b"pong"
    assert running.finished == [b"work"]


async def test_thousand_pipelined_requests_are_answered_in_order(start: Start) -> None:
    running = await start()
    client = await running.connect()
    sending = asyncio.ensure_future(
        client.send(b"".join(POST + b"Content-Length: 4\r\n\r\n%04d" % n for n in range(1000)))
    )
    bodies = [(await client.response())[2] for _ in range(1000)]
    await sending
    assert bodies == [b"%04d" % n for n in range(1000)]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"127.0.0.1:1", 200),
        (b"localhost", 200),
        (b"app.localhost", 200),
        (b"dev.test", 200),
        (b"evil.example", 403),
    ],
)
async def test_loopback_refuses_foreign_hosts(start: Start, host: bytes, status: int) -> None:
    running = await start(allowed_hosts=("dev.test",))
    answer = await running.ask(b"GET /ping HTTP/1.1\r\nHost: %s\r\n\r\n" % host)
    assert answer[0] == status
    assert (b"server.allowed_hosts" in answer[2]) is (status == 403)


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        (b"GET /nothing", 404, b'{"message":"Not Found"}'),
        (b"GET /ping/", 404, b'{"message":"Not Found"}'),
        (b"GET /x/../ping", 404, b'{"message":"Not Found"}'),
        (b"GET /x/%2e%2e/ping", 404, b'{"message":"Not Found"}'),
        (b"GET //ping", 404, b'{"message":"Not Found"}'),
        (b"GET /2015-03-31/functions/f", 404, b'{"message":"Not Found"}'),
        (b"DELETE /ping", 405, b'{"message": "Method Not Allowed"}'),
    ],
)
async def test_unknown_paths_keep_the_connection(
    start: Start, line: bytes, status: int, said: bytes
) -> None:
    client = await (await start()).connect()
    answer = await client.ask(line + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (answer[0], answer[2]) == (status, said)
    assert (await client.ask(PING))[2] == b"pong"


async def test_stop_finishes_what_is_in_progress(start: Start) -> None:
    running = await start()
    idle, busy = await running.connect(), await running.connect()
    assert (await idle.ask(PING))[2] == b"pong"
    await busy.send(b"POST /wait HTTP/1.1\r\n" + HOST + b"\r\n")
    await running.started.wait()
    stopping = asyncio.ensure_future(running.server.stop(30))
    assert await idle.is_closed()
    with pytest.raises(OSError, match="Connect call failed"):
        await running.connect()
    running.release.set()
    _, head, body = await busy.response()
    assert body == b"done"
    assert b"Connection: close\r\n" in head
    assert await busy.is_closed()
    assert await stopping is True


async def test_stop_cancels_what_exceeds_the_limit(start: Start) -> None:
    running = await start()
    busy, uploading = await running.connect(), await running.connect()
    await busy.send(b"POST /wait HTTP/1.1\r\n" + HOST + b"\r\n")
    await uploading.send(POST + b"Content-Length: 10\r\n\r\n12345")
    await running.started.wait()
    assert (await running.ask(PING))[2] == b"pong"
    stopping = asyncio.ensure_future(running.server.stop(5))
    await running.clock.advance(5)
    assert await stopping is False
    assert running.finished == []
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await busy.response()


async def test_stop_of_a_server_never_started(clock: FakeClock) -> None:
    server = HttpServer(Router(), clock)
    assert server.addresses == ()
    assert await server.stop(0) is True


async def test_taken_address_says_so(start: Start, clock: FakeClock) -> None:
    running = await start()
    second = HttpServer(Router(), clock)
    with pytest.raises(OSError, match="address already in use"):
        await second.start(*running.server.addresses[0])


async def test_date_follows_the_clock(start: Start) -> None:
    running = await start()
    assert b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n" in (await running.ask(PING))[1]
    await running.clock.advance(2)
    assert b"Date: Tue, 14 Nov 2023 22:13:22 GMT\r\n" in (await running.ask(PING))[1]
