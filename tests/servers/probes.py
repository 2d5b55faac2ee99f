"""The one question asked of a starting server: bytes out, an answer that only a ready one gives."""

from __future__ import annotations

import http.client
import socket
import struct

from tests.servers.recipe import LOOPBACK

PROBE_SECONDS = 2.0
AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
STOMP_CONNECT = b"CONNECT\naccept-version:1.2\nhost:localhost\n\n\x00"
METADATA_V4 = (3, 4)


def metadata_request() -> bytes:
    """A Kafka Metadata request, version 4, for all topics, creating none."""
    key, version = METADATA_V4
    body = struct.pack(">hhih", key, version, 7, -1) + struct.pack(">i?", -1, False)
    return struct.pack(">i", len(body)) + body


def brokers_in(reply: bytes) -> int:
    """How many brokers a Metadata v4 reply (without its length) lists."""
    correlation, _throttled, brokers = struct.unpack_from(">iii", reply)
    if correlation != 7:
        raise ValueError(f"a reply to request {correlation}, not to ours")
    return int(brokers)


def kafka_answers(port: int) -> bool:
    with _connected(port) as link:
        link.sendall(metadata_request())
        (length,) = struct.unpack(">i", _exactly(link, 4))
        return brokers_in(_exactly(link, min(length, 12))) > 0


def amqp_answers(port: int) -> bool:
    """A broker that is up answers the header with the method frame Connection.Start (10, 10)."""
    with _connected(port) as link:
        link.sendall(AMQP_HEADER)
        frame = _exactly(link, 11)
        return frame[:3] == b"\x01\x00\x00" and struct.unpack(">hh", frame[7:]) == (10, 10)


def stomp_answers(port: int) -> bool:
    with _connected(port) as link:
        link.sendall(STOMP_CONNECT)
        return _exactly(link, 9) == b"CONNECTED"


def http_answers(port: int, path: str, statuses: range = range(200, 300)) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status in statuses
    except http.client.HTTPException:
        return False
    finally:
        connection.close()


def _connected(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=PROBE_SECONDS)


def _exactly(link: socket.socket, length: int) -> bytes:
    got = b""
    while len(got) < length:
        more = link.recv(length - len(got))
        if not more:
            raise ConnectionError("the server closed the connection")
        got += more
    return got
