from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.http.responses import date_line, describe, encode_response, refuse_body
from eventmesh.messages import HttpResponse


def test_head_and_body_are_one() -> None:
    response = HttpResponse(200, b'{"a":1}', [("Content-Type", "application/json"), ("X-A", "b")])
    assert encode_response(response, date=date_line(0.0)) == (
        b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"Content-Type: application/json\r\nX-A: b\r\nContent-Length: 7\r\n\r\n"
        b'{"a":1}'
    )


def test_repeated_headers_stay_apart() -> None:
    response = HttpResponse(200, headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    assert b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" in encode_response(response)


def test_unassigned_status_has_a_phrase() -> None:
    assert encode_response(HttpResponse(599)).startswith(b"HTTP/1.1 599 Unknown\r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_body_has_none(status: int) -> None:
    data = encode_response(HttpResponse(status, b"ignored"))
    assert data.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in data


def test_head_tells_the_length_only() -> None:
    data = encode_response(HttpResponse(200, b"12345"), without_body=True)
    assert data.endswith(b"Content-Length: 5\r\n\r\n")


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "CONNECTION", "Date", "Upgrade", "Keep-Alive"]
)
def test_framing_is_the_servers(name: str) -> None:
    data = encode_response(HttpResponse(200, b"x", [(name, "999")]))
    assert data == b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "b\r\nSet-Cookie: evil=1"),
        ("X-A", "b\nc"),
        ("X-A", "b\rc"),
        ("X-A", "b\0"),
        ("X-A", "\u2014"),
        ("X-A\r\nY", "b"),
        ("X A", "b"),
        ("X:A", "b"),
        ("", "b"),
        ("\u00e9", "b"),
    ],
)
def test_header_injection_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"header|latin-1"):
        encode_response(HttpResponse(200, b"", [("X-Good", "1"), (name, value)]))


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, -1])
def test_only_final_statuses(status: int) -> None:
    with pytest.raises(ValueError, match="not a final HTTP status"):
        encode_response(HttpResponse(status))


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=8)), max_size=3))
def test_headers_are_refused_or_stay_one_line_each(headers: list[tuple[str, str]]) -> None:
    try:
        data = encode_response(HttpResponse(200, b"", headers))
    except ValueError:
        return
    lines = data.split(b"\r\n")
    assert len(lines) <= len(headers) + 4
    assert b"\0" not in data
    assert not any(b"\n" in line or b"\r" in line for line in lines)


def test_described_text_is_json() -> None:
    assert describe(403, 'a "b"\n').body == b'{"message": "a \\"b\\"\\n"}'


def test_refused_body_carries_the_aws_name() -> None:
    response = refuse_body(6291456)
    assert response.status == 413
    assert dict(response.headers)["x-amzn-ErrorType"] == "RequestTooLargeException"
    assert response.body == b'{"message": "Request must be smaller than 6291457 bytes"}'
