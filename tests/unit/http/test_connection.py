from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh.http.limits import Limits
from eventmesh.http.responses import CONTINUE, NOT_FOUND
from eventmesh.messages import HttpRequest, HttpResponse
from tests.unit.http.wire import HOST, FakeTransport, Wire, status_of

GET = b"GET /a?b=c HTTP/1.1\r\n" + HOST + b"\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"POST /p HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s" % (HOST, lines, len(body), body)


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"POST /p HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + framed + b"0\r\n" + trailers + b"\r\n"


class Gated:
    """A handler that answers when told to."""

    def __init__(self) -> None:
        self.answered: list[str] = []
        self.gate = asyncio.Event()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        await self.gate.wait()
        self.answered.append(request.raw_path)
        return HttpResponse(200, request.raw_path.encode())


async def test_request_arrives_as_sent() -> None:
    wire = Wire()
    await wire.send(
        b"POST /a%2Fb/%C3%A9?x=%20&y HTTP/1.1\r\nHOST: localhost\r\nX-Two: 1\r\nx-two: 2\r\n"
        b"X-Latin: \xe9\r\nContent-Length: 3\r\n\r\nabc"
    )
    (request,) = wire.requests
    assert (request.method, request.raw_path, request.raw_query) == (
        "POST",
        "/a%2Fb/%C3%A9",
        "x=%20&y",
    )
    assert request.headers[:4] == [
        ("HOST", "localhost"),
        ("X-Two", "1"),
        ("x-two", "2"),
        ("X-Latin", "\xe9"),
    ]
    assert (request.client_ip, request.client_port, request.body) == ("127.0.0.1", 40000, b"abc")
    assert request.header("x-two") == "1,2"


async def test_response_is_one_write_with_date_and_length() -> None:
    assert await Wire().send(GET) == (
        b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 11\r\n\r\n"
        b"GET /a?b=c "
    )


@pytest.mark.parametrize(
    ("version", "connection", "kept", "said"),
    [
        (b"1.1", b"", True, b""),
        (b"1.1", b"Connection: close\r\n", False, b"Connection: close\r\n"),
        (b"1.0", b"", False, b"Connection: close\r\n"),
        (b"1.0", b"Connection: keep-alive\r\n", True, b"Connection: keep-alive\r\n"),
    ],
)
async def test_keep_alive_by_version(
    version: bytes, connection: bytes, kept: bool, said: bytes
) -> None:
    wire = Wire()
    response = await wire.send(b"GET / HTTP/%s\r\n%s%s\r\n" % (version, HOST, connection))
    assert status_of(response) == 200
    assert wire.transport.closed is not kept
    assert (b"Connection: " in response) == bool(said)
    assert said in response


async def test_http_1_0_needs_no_host_and_keeps_its_body_limit() -> None:
    wire = Wire(largest=2)
    refused = await wire.send(b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n")
    assert status_of(refused) == 413
    assert status_of(await Wire().send(b"GET / HTTP/1.0\r\n\r\n")) == 200


async def test_head_is_answered_without_body() -> None:
    response = await Wire().send(b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert response.endswith(b"Content-Length: 8\r\n\r\n")


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [
        (
            "CL and TE",
            b"POST / HTTP/1.1\r\n%sContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "TE and CL",
            b"POST / HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            400,
        ),
        ("two CL", b"POST / HTTP/1.1\r\n%sContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
        ("CL list", b"POST / HTTP/1.1\r\n%sContent-Length: 1, 1\r\n\r\na", 400),
        ("CL -1", b"POST / HTTP/1.1\r\n%sContent-Length: -1\r\n\r\n", 400),
        ("CL +1", b"POST / HTTP/1.1\r\n%sContent-Length: +1\r\n\r\n", 400),
        ("CL 10 GB", b"POST / HTTP/1.1\r\n%sContent-Length: 10737418240\r\n\r\nabc", 413),
        ("CL overflow", b"POST / HTTP/1.1\r\n%sContent-Length: 99999999999999999999\r\n\r\n", 400),
        ("bad chunk", b"POST / HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("bare LF chunk", b"POST / HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n1\na\n", 400),
        ("gzip, chunked", b"POST / HTTP/1.1\r\n%sTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
        ("gzip coding", b"POST / HTTP/1.1\r\n%sTransfer-Encoding: gzip\r\n\r\n", 400),
        ("two TE", b"POST / HTTP/1.1\r\n%s" + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n", 400),
        ("TE in 1.0", b"POST / HTTP/1.0\r\n%sTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("bare LF", b"GET / HTTP/1.1\n%s\n", 400),
        ("bare LF in header", b"GET / HTTP/1.1\r\n%sA: b\nC: d\r\n\r\n", 400),
        ("bare CR in header", b"GET / HTTP/1.1\r\n%sA: b\rC: d\r\n\r\n", 400),
        ("obs-fold", b"GET / HTTP/1.1\r\n%sA: b\r\n c\r\n\r\n", 400),
        ("blank before colon", b"GET / HTTP/1.1\r\n%sA : b\r\n\r\n", 400),
        ("two Host", b"GET / HTTP/1.1\r\n%sHost: other\r\n\r\n", 400),
        ("NUL", b"GET / HTTP/1.1\r\n%sA: b\0c\r\n\r\n", 400),
        ("HTTP/0.9", b"GET / HTTP/0.9\r\n%s\r\n", 400),
        ("HTTP/2.0", b"GET / HTTP/2.0\r\n%s\r\n", 400),
        ("TRACE", b"TRACE / HTTP/1.1\r\n%s\r\n", 405),
        ("CONNECT", b"CONNECT a:80 HTTP/1.1\r\n%s\r\nrest", 405),
        ("unknown method", b"BREW / HTTP/1.1\r\n%s\r\n", 400),
        ("absolute target", b"GET http://localhost/ HTTP/1.1\r\n%s\r\n", 400),
        ("asterisk", b"OPTIONS * HTTP/1.1\r\n%s\r\n", 400),
        ("fragment", b"GET /a#b HTTP/1.1\r\n%s\r\n", 400),
        ("raw NUL in path", b"GET /a\0b HTTP/1.1\r\n%s\r\n", 400),
        ("control in path", b"GET /a\x01b HTTP/1.1\r\n%s\r\n", 400),
        ("raw UTF-8 in path", b"GET /\xc0\xaf HTTP/1.1\r\n%s\r\n", 400),
        ("encoded NUL in path", b"GET /a%%00b HTTP/1.1\r\n%s\r\n", 400),
        (
            "WebSocket",
            b"GET / HTTP/1.1\r\n%sUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            400,
        ),
        ("expectation", b"POST / HTTP/1.1\r\n%sExpect: wonders\r\nContent-Length: 1\r\n\r\n", 417),
    ],
)
async def test_strictness(name: str, data: bytes, status: int) -> None:
    wire = Wire()
    response = await wire.send(data % HOST)
    assert (name, status_of(response)) == (name, status)
    assert b"Connection: close\r\n" in response
    assert response.split(b"\r\n\r\n", 1)[1].startswith(b'{"message": "')
    assert wire.transport.eof_written
    assert wire.requests == []
    assert await wire.send(GET) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_request_is_refused(data: bytes) -> None:
    assert status_of(await Wire().send(data)) == 400


async def test_head_limits() -> None:
    limits = Limits(header_bytes=500, header_count=5, url_bytes=100)
    host = b"GET / HTTP/1.1\r\n" + HOST
    for data, status in [
        (host + b"A: " + b"x" * 450 + b"\r\n\r\n", 200),
        (host + b"A: " + b"x" * 500 + b"\r\n\r\n", 431),
        (host + b"A: " + b"x" * 600, 431),
        (host + b"A: 1\r\n" * 4 + b"\r\n", 200),
        (host + b"A: 1\r\n" * 5 + b"\r\n", 431),
        (b"GET /" + b"x" * 99 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 200),
        (b"GET /" + b"x" * 100 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET /" + b"x" * 100, 414),
    ]:
        assert status_of(await Wire(limits=limits).send(data)) == status


async def test_endless_header_in_small_pieces_is_refused_at_the_limit() -> None:
    wire = Wire()
    await wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"A: ")
    sent = 0
    while not (response := await wire.send(b"x" * 1000)):
        sent += 1000
    assert (status_of(response), sent) == (431, 16_000)


async def test_trailers_are_dropped_and_bounded() -> None:
    wire = Wire()
    await wire.send(chunked(b"abc", trailers=b"Host: evil\r\nX-A: 1\r\n"))
    assert wire.requests[0].header("host") == "localhost"
    assert wire.requests[0].header("x-a") is None
    many = chunked(b"abc", trailers=b"A: " + b"x" * 20_000 + b"\r\n")
    assert status_of(await wire.send(many)) == 431


async def test_body_limit_declared_and_chunked() -> None:
    assert status_of(await Wire(largest=5).send(post(b"12345"))) == 200
    declared = await Wire(largest=5).send(post(b"123456"))
    assert status_of(declared) == 413
    assert b"x-amzn-ErrorType: RequestTooLargeException\r\n" in declared
    assert status_of(await Wire(largest=5).send(chunked(b"123", b"45"))) == 200
    assert status_of(await Wire(largest=5).send(chunked(b"123", b"456"))) == 413


async def test_chunk_framing_without_content_is_refused() -> None:
    wire = Wire()
    head = chunked().removesuffix(b"0\r\n\r\n")
    await wire.send(head + b"1;")
    sent = 0
    while not (response := await wire.send(b"x" * 1000)):
        sent += 1000
    assert (status_of(response), sent) == (400, 32_000)


async def test_compressed_body_is_passed_on_as_it_is() -> None:
    wire = Wire()
    await wire.send(post(b"\x1f\x8b\x08bomb", b"Content-Encoding: gzip"))
    assert wire.requests[0].body == b"\x1f\x8b\x08bomb"


async def test_expectation_is_met_after_the_admission() -> None:
    wire = Wire()
    head, body = post(b"abc", b"Expect: 100-continue")[:-3], b"abc"
    assert await wire.send(head) == CONTINUE
    assert status_of(await wire.send(body)) == 200


async def test_refused_expectation_never_asks_for_the_body() -> None:
    wire = Wire()
    wire.refusal = HttpResponse(401, b"{}")
    response = await wire.send(post(b"abc", b"Expect: 100-continue")[:-3])
    assert status_of(response) == 401
    assert b"Connection: close" in response
    assert await wire.send(b"abc") == b""


async def test_body_sent_without_waiting_needs_no_continue() -> None:
    wire = Wire()
    assert (await wire.send(post(b"abc", b"Expect: 100-continue")[:-1])) == b""
    assert status_of(await wire.send(b"c")) == 200


async def test_continue_waits_for_its_turn() -> None:
    gated = Gated()
    wire = Wire(gated)
    head = post(b"abc", b"Expect: 100-continue")[:-3]
    assert await wire.send(GET + head) == b""
    gated.gate.set()
    await wire.settle()
    written = wire.transport.take()
    assert status_of(written) == 200
    assert written.endswith(CONTINUE)


async def test_refusal_without_body_keeps_the_connection() -> None:
    wire = Wire()
    wire.refusal = NOT_FOUND
    assert status_of(await wire.send(GET)) == 404
    assert not wire.transport.closed
    wire.refusal = None
    assert status_of(await wire.send(GET)) == 200
    assert wire.connections.refused == {404: 1}


async def test_refusal_with_body_closes_without_reading_it() -> None:
    wire = Wire()
    wire.refusal = NOT_FOUND
    assert b"Connection: close" in await wire.send(post(b"abc"))
    assert wire.transport.eof_written
    assert await wire.send(GET) == b""


async def test_refused_client_may_send_a_bounded_rest() -> None:
    wire = Wire(limits=Limits(linger_bytes=1000))
    await wire.send(b"nonsense\r\n\r\n")
    await wire.send(b"x" * 1000)
    assert not wire.transport.closed
    await wire.send(b"x")
    assert wire.transport.aborted


@pytest.mark.parametrize("framing", [post(b"abc"), chunked(b"a", b"bc"), post(b"")])
async def test_upgrade_is_ignored(framing: bytes) -> None:
    """Java's HttpClient asks every plain server to upgrade to h2c, bodies included."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    data = framing.replace(HOST, HOST + upgrade)
    plain, asking = Wire(), Wire()
    expected = await plain.send(framing + GET)
    assert await asking.send(data + GET) == expected
    assert [r.body for r in asking.requests] == [r.body for r in plain.requests]
    assert len(asking.requests) == 2


async def test_many_upgrades_in_one_read() -> None:
    wire = Wire()
    request = b"GET / HTTP/1.1\r\nHost:a\r\nUpgrade:x\r\nConnection:upgrade\r\n\r\n"
    wire.connection.data_received(request * 280)
    while len(wire.requests) < 280:
        await wire.settle()
    assert not wire.transport.closed


async def test_upgraded_body_keeps_its_limit() -> None:
    data = chunked(b"abc", b"def").replace(HOST, HOST + b"Connection: upgrade\r\nUpgrade: x\r\n")
    assert status_of(await Wire(largest=5).send(data)) == 413


async def test_failing_handler_is_500_without_detail(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("secret")

    wire = Wire(fail)
    response = await wire.send(GET)
    assert status_of(response) == 500
    assert response.endswith(b'\r\n\r\n{"Message":"Internal server error"}')
    assert not wire.transport.closed
    assert "GET /a: the handler failed" in caplog.text


async def test_unsendable_response_is_500(caplog: pytest.LogCaptureFixture) -> None:
    async def inject(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, b"", [("X-A", "b\r\nSet-Cookie: c")])

    response = await Wire(inject).send(GET)
    assert status_of(response) == 500
    assert b"Set-Cookie" not in response
    assert "cannot be sent" in caplog.text


async def test_cancelled_handler_ends_the_connection() -> None:
    async def give_up(request: HttpRequest) -> HttpResponse:
        raise asyncio.CancelledError

    wire = Wire(give_up)
    assert await wire.send(GET) == b""
    assert wire.transport.closed
    assert wire.connections.busy == set()


async def test_pipelined_requests_are_answered_in_order() -> None:
    wire = Wire()
    data = b"".join(b"GET /%d HTTP/1.1\r\n%s\r\n" % (n, HOST) for n in range(1000))
    wire.connection.data_received(data)
    while len(wire.requests) < 1000:
        await wire.settle()
    await wire.settle()
    paths = [part.split(b"?")[0] for part in bytes(wire.transport.written).split(b"GET ")[1:]]
    assert paths == [b"/%d" % n for n in range(1000)]
    assert wire.transport.reading


async def test_reading_pauses_while_requests_wait() -> None:
    gated = Gated()
    wire = Wire(gated, limits=Limits(pipelined_requests=3))
    await wire.send(GET * 3)
    assert wire.transport.reading
    await wire.send(GET)
    assert not wire.transport.reading
    gated.gate.set()
    await wire.settle()
    await wire.settle()
    assert wire.transport.reading
    assert len(wire.requests) == 4


async def test_large_body_read_ahead_pauses_reading() -> None:
    gated = Gated()
    wire = Wire(gated, largest=100_000)
    await wire.send(GET)
    await wire.send(post(b"x" * 70_000))
    assert not wire.transport.reading
    gated.gate.set()
    await wire.settle()
    assert wire.transport.reading
    assert len(wire.requests) == 2


async def test_slow_client_gets_no_next_request_started() -> None:
    wire = Wire()
    wire.connection.pause_writing()
    await wire.send(GET)
    assert wire.requests == []
    wire.connection.resume_writing()
    await wire.settle()
    assert len(wire.requests) == 1


async def test_bad_bytes_after_good_requests_are_answered_last() -> None:
    gated = Gated()
    wire = Wire(gated)
    assert await wire.send(GET + b"nonsense\r\n\r\n") == b""
    gated.gate.set()
    await wire.settle()
    assert [part[:3] for part in wire.transport.take().split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]


async def test_bytes_after_connection_close_are_ignored() -> None:
    wire = Wire()
    closing = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    response = await wire.send(closing + GET)
    assert response.count(b"HTTP/1.1 200") == 1
    assert wire.transport.closed
    assert len(wire.requests) == 1


async def test_client_that_left_does_not_cancel_its_handler() -> None:
    gated = Gated()
    wire = Wire(gated)
    await wire.send(GET)
    wire.connection.connection_lost(ConnectionResetError())
    assert wire.connections.open == set()
    assert wire.connections.busy == {wire.connection}
    gated.gate.set()
    await wire.settle()
    assert gated.answered == ["/a"]
    assert wire.transport.take() == b""
    assert wire.connections.busy == set()


async def test_half_closed_client_is_answered_then_closed() -> None:
    gated = Gated()
    wire = Wire(gated)
    await wire.send(GET + GET)
    assert wire.connection.eof_received() is True
    gated.gate.set()
    await wire.settle()
    assert wire.transport.take().count(b"HTTP/1.1 200") == 2
    assert wire.transport.closed


async def test_end_of_input_closes_what_waits_for_nothing() -> None:
    wire = Wire()
    await wire.send(GET[:10])
    assert wire.connection.eof_received() is False


async def test_connections_are_counted_by_address() -> None:
    wire = Wire(limits=Limits(connections=3, connections_per_ip=2))
    second, third, other, last = (FakeTransport(ip) for ip in ("127.0.0.1",) * 2 + ("::1",) * 2)
    wire.connect(second)
    refused = wire.connect(third)
    assert status_of(third.take()) == 429
    assert third.closed
    refused.connection_lost(None)
    wire.connect(other)
    wire.connect(last)
    assert status_of(last.take()) == 429
    wire.connection.connection_lost(None)
    wire.connect(FakeTransport())
    assert len(wire.connections.open) == 3
    assert wire.connections.refused == {429: 2}


async def test_stalled_response_is_given_up() -> None:
    wire = Wire()
    await wire.send(GET)
    wire.transport.unsent = 100_000
    wire.connection.pause_writing()
    for now in range(20):
        wire.connection.sweep(float(now))
    wire.transport.unsent = 90_000
    for now in range(20, 49):
        wire.connection.sweep(float(now))
    assert not wire.transport.aborted
    wire.connection.sweep(49.0)
    assert wire.transport.aborted


async def test_timeout_of_the_next_request_waits_for_the_one_at_work() -> None:
    gated = Gated()
    wire = Wire(gated)
    await wire.send(GET + GET[:10])
    for now in range(15):
        wire.connection.sweep(float(now))
    assert wire.transport.take() == b""
    gated.gate.set()
    await wire.settle()
    assert [part[:3] for part in wire.transport.take().split(b"HTTP/1.1 ")[1:]] == [b"200", b"408"]


_STREAM = (
    GET
    + post(b"hello")
    + chunked(b"a", b"bc" * 20, trailers=b"X-T: 1\r\n")
    + b"\r\n"
    + post(b"up", b"Connection: upgrade", b"Upgrade: h2c")
    + b"HEAD /h HTTP/1.1\r\nHost: a:1\r\nExpect: 100-continue\r\n\r\n"
    + b"POST /e HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nxy"
    + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    + b"ignored"
)


async def _exchange(cuts: list[int]) -> tuple[list[HttpRequest], bytes]:
    wire = Wire()
    for start, end in pairwise([0, *sorted(cuts), len(_STREAM)]):
        wire.connection.data_received(_STREAM[start:end])
    for _ in range(8):
        await wire.settle()
    assert wire.transport.closed
    return wire.requests, bytes(wire.transport.written)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(_STREAM)), max_size=40))
def test_splitting_the_stream_changes_nothing(cuts: list[int]) -> None:
    whole_requests, whole_written = asyncio.run(_exchange([]))
    requests, written = asyncio.run(_exchange(cuts))
    assert len(whole_requests) == 7
    assert requests == whole_requests
    assert written == whole_written


def test_byte_by_byte_is_the_same() -> None:
    assert asyncio.run(_exchange(list(range(len(_STREAM))))) == asyncio.run(_exchange([]))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([GET[:18], HOST, b"\r\n", b"0\r\n\r\n"])))
def test_no_bytes_break_the_connection(pieces: list[bytes]) -> None:
    async def feed() -> None:
        wire = Wire()
        for piece in pieces:
            await wire.send(piece)

    asyncio.run(feed())
