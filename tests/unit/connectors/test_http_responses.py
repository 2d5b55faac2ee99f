"""What a caller gets for a handler's result, format by format (semantics 8.4-8.6, P20, P21)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh.connectors import InvocationResult
from eventmesh.messages import HttpRequest, HttpResponse
from eventmesh_connectors.http.exchange import Arrival, RouteFacts
from eventmesh_connectors.http.formats import FORMATS
from eventmesh_connectors.http.responses import MalformedResponse, compact

ARRIVAL = Arrival(1.0, "id")
JSON = ("content-type", "application/json")
PLAIN = ("content-type", "text/plain; charset=utf-8")
BYTES = ("content-type", "application/octet-stream")
Lines = list[tuple[str, str]]


def answer(
    name: str, payload: bytes, route: RouteFacts | None = None, accept: str | None = None
) -> HttpResponse:
    headers = [] if accept is None else [("Accept", accept)]
    asked = HttpRequest("GET", "/", "", headers, "1.2.3.4", 5)
    result = InvocationResult("invocation", payload)
    return FORMATS[name].map_response(result, asked, route or RouteFacts("GET", "/"), ARRIVAL)


def send(name: str, value: Any, **more: Any) -> tuple[int, bytes, Lines]:
    response = answer(name, json.dumps(value).encode(), **more)
    return response.status, response.body, list(response.headers)


def refuses(name: str, value: Any) -> bool:
    with pytest.raises(MalformedResponse):
        send(name, value)
    return True


@pytest.mark.parametrize("name", ["2.0", "function_url"])
@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (b'{"hello": "world"}', b'{"hello":"world"}'),
        (b'["hello", 3, true]', b'["hello",3,true]'),
        (b'"hello"', b"hello"),
        (b'"a \\"b\\" \\u00e9"', 'a "b" é'.encode()),
        (b"3", b"3"),
        (b"3.1", b"3.1"),
        (b"true", b"true"),
        (b"null", b"null"),
        (b"{}", b"{}"),
        (b'{"n": 123456789012345678901234567890, "f": 1.10}',
         b'{"n":123456789012345678901234567890,"f":1.10}'),
        (b'{"s": "a, b: \\"c\\" \\\\", "t" : [ ]}', b'{"s":"a, b: \\"c\\" \\\\","t":[]}'),
        (b'{"body": "x", "headers": {"a": "b"}}', b'{"body":"x","headers":{"a":"b"}}'),
        (b'{"lone": "\\ud800"}', b'{"lone":"\\ud800"}'),
        (b"[NaN, 1]", b"[NaN,1]"),
        (b'"\\ud800"', b"?"),
    ],
)  # fmt: skip
def test_a_result_without_status_is_the_body(name: str, payload: bytes, body: bytes) -> None:
    response = answer(name, payload)
    assert (response.status, response.body, response.headers) == (200, body, [JSON])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"statusCode": 201}, (201, b"", [JSON])),
        ({"statusCode": 200, "body": "text"}, (200, b"text", [JSON])),
        ({"statusCode": 200, "body": '{"a": 1}'}, (200, b'{"a": 1}', [JSON])),
        ({"statusCode": 200, "body": None, "headers": None, "cookies": None}, (200, b"", [JSON])),
        (
            {"statusCode": 404, "headers": {"Content-Type": "text/html"}, "body": "é"},
            (404, "é".encode(), [("Content-Type", "text/html")]),
        ),
        (
            {"statusCode": 200, "cookies": ["a=1; Path=/", "b=2"]},
            (200, b"", [JSON, ("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2")]),
        ),
        (
            {"statusCode": 200, "body": "AP8=", "isBase64Encoded": True},
            (200, b"\x00\xff", [JSON]),
        ),
        (
            {"statusCode": 200, "headers": {"n": 1, "f": 1.5, "t": True}},
            (200, b"", [JSON, ("n", "1"), ("f", "1.5"), ("t", "true")]),
        ),
        ({"statusCode": 200, "unknown": 1}, (200, b"", [JSON])),
        ({"statusCode": 204, "body": "x"}, (204, b"", [])),
        ({"statusCode": 304, "headers": {"etag": "1"}}, (304, b"", [("etag", "1")])),
        (
            {"statusCode": 200, "headers": {"Content-Length": "5", "Connection": "x", "Date": "y",
                                            "Transfer-Encoding": "chunked", "a": " b "}},
            (200, b"", [JSON, ("a", "b")]),
        ),
        (
            {"statusCode": 200, "headers": {"a": "é€"}},
            (200, b"", [JSON, ("a", "é€".encode().decode("latin-1"))]),
        ),
    ],
)  # fmt: skip
def test_structured_result_of_payload_2(value: Any, expected: tuple[int, bytes, Lines]) -> None:
    assert send("function_url", value) == expected
    status, body, lines = expected
    assert send("2.0", value) == (status, body, [PLAIN if line == JSON else line for line in lines])


MALFORMED = [
    {"statusCode": 999},
    {"statusCode": 100},
    {"statusCode": 0},
    {"statusCode": -1},
    {"statusCode": "test"},
    {"statusCode": "20"},
    {"statusCode": 200.5},
    {"statusCode": True},
    {"statusCode": [200]},
    {"statusCode": 200, "body": {"a": 1}},
    {"statusCode": 200, "body": 5},
    {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
    {"statusCode": 200, "body": "é", "isBase64Encoded": True},
    {"statusCode": 200, "isBase64Encoded": "true"},
    {"statusCode": 200, "headers": []},
    {"statusCode": 200, "headers": {"a": None}},
    {"statusCode": 200, "headers": {"a": ["b"]}},
    {"statusCode": 200, "headers": {"a": {"b": 1}}},
    {"statusCode": 200, "headers": {"a": "b\r\nc: d"}},
    {"statusCode": 200, "headers": {"a": "b\n"}},
    {"statusCode": 200, "headers": {"a": "b\x00"}},
    {"statusCode": 200, "headers": {"a\r\nb": "c"}},
    {"statusCode": 200, "headers": {"a b": "c"}},
    {"statusCode": 200, "headers": {"": "c"}},
    {"statusCode": 200, "headers": {"é": "c"}},
    {"statusCode": 200, "headers": {f"h{n}": "x" for n in range(1000)}},
    {"statusCode": 200, "headers": {"a": "x" * 70_000}},
]


@pytest.mark.parametrize("name", ["2.0", "function_url", "alb"])
@pytest.mark.parametrize("value", MALFORMED)
def test_malformed_results(name: str, value: Any) -> None:
    assert refuses(name, value)


@pytest.mark.parametrize(
    "value", [v for v in MALFORMED if "%%%" not in repr(v) and "'é'," not in repr(v)]
)
def test_malformed_results_of_a_rest_api(value: Any) -> None:
    assert refuses("1.0", value)


@pytest.mark.parametrize(
    "value",
    [
        {"statusCode": None},
        {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "cookies": [1, None]},
        {"statusCode": 200, "cookies": ["a=1\r\nx: y"]},
        {"statusCode": 200, "cookies": [f"c{n}=1" for n in range(1000)]},
    ],
)
def test_malformed_results_of_payload_2(value: Any) -> None:
    assert refuses("2.0", value)
    assert refuses("function_url", value)


def test_only_api_gateway_takes_a_status_as_text() -> None:
    assert send("1.0", {"statusCode": "201"})[0] == 201
    assert send("2.0", {"statusCode": "201"})[0] == 201
    assert refuses("function_url", {"statusCode": "200"})
    assert refuses("alb", {"statusCode": "200"})


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("payload", [b"", b"{", b"[" * 100_000, b"'a'", b"\xff"])
def test_what_is_not_json_is_malformed(name: str, payload: bytes) -> None:
    with pytest.raises(MalformedResponse):
        answer(name, payload)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, (200, b"", [JSON])),
        ({"headers": {"a": "b"}}, (200, b"", [JSON, ("a", "b")])),
        ({"statusCode": 200, "headers": {"a": "b"}}, (200, b"", [JSON, ("a", "b")])),
        ({"statusCode": None, "headers": None, "multiValueHeaders": None, "body": None,
          "isBase64Encoded": None}, (200, b"", [JSON])),
        ({"headers": {"a": True}}, (200, b"", [JSON, ("a", "true")])),
        ({"body": "x", "headers": {"content-TYPE": "t/x"}}, (200, b"x", [("content-TYPE", "t/x")])),
        (
            {"multiValueHeaders": {"X-A": ["m1", "m2"]}, "headers": {"x-a": "solo", "b": "c"}},
            (200, b"", [JSON, ("X-A", "m1"), ("X-A", "m2"), ("X-A", "solo"), ("b", "c")]),
        ),
        (
            {"multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]}},
            (200, b"", [JSON, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]),
        ),
    ],
)  # fmt: skip
def test_rest_api_results(value: Any, expected: tuple[int, bytes, Lines]) -> None:
    assert send("1.0", value) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"statusCode": 200, "extra": 1},
        {"errorMessage": "x"},
        "text",
        [],
        3,
        None,
        True,
        {"multiValueHeaders": {"a": "b"}},
        {"multiValueHeaders": {"a": [None]}},
        {"multiValueHeaders": []},
        {"multiValueHeaders": {"a": ["b\nc"]}},
    ],
)
def test_rest_api_refuses(value: Any) -> None:
    assert refuses("1.0", value)


@pytest.mark.parametrize(
    ("binary", "accept", "body"),
    [
        (("image/png",), "image/png", b"\x00\xff"),
        (("image/png",), "IMAGE/PNG;q=0.5, text/html", b"\x00\xff"),
        (("image/*",), "image/webp", b"\x00\xff"),
        (("*/*",), None, b"\x00\xff"),
        (("image/png",), "text/html, image/png", b"AP8="),
        (("image/png",), "*/*", b"AP8="),
        (("image/png",), None, b"AP8="),
        ((), "image/png", b"AP8="),
    ],
)
def test_rest_api_decodes_base64_by_the_first_accept(
    binary: tuple[str, ...], accept: str | None, body: bytes
) -> None:
    route = RouteFacts("GET", "/", binary_media_types=binary)
    value = {"body": "AP8=", "isBase64Encoded": True}
    assert send("1.0", value, route=route, accept=accept)[1] == body


def test_rest_api_refuses_bad_base64_when_it_decodes() -> None:
    route = RouteFacts("GET", "/", binary_media_types=("*/*",))
    with pytest.raises(MalformedResponse):
        send("1.0", {"body": "%%%", "isBase64Encoded": True}, route=route)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"statusCode": 200}, (200, b"", [BYTES])),
        (
            {"statusCode": 201, "statusDescription": "201 Created", "body": "x",
             "headers": {"Content-Type": "text/plain"}, "isBase64Encoded": False},
            (201, b"x", [("Content-Type", "text/plain")]),
        ),
        ({"statusCode": 200, "body": "AP8=", "isBase64Encoded": True}, (200, b"\0\xff", [BYTES])),
        ({"statusCode": 200, "multiValueHeaders": {"a": ["b"]}}, (200, b"", [BYTES])),
        ({"statusCode": 200, "headers": {"Upgrade": "x", "Trailer": "y"}}, (200, b"", [BYTES])),
    ],
)  # fmt: skip
def test_load_balancer_results(value: Any, expected: tuple[int, bytes, Lines]) -> None:
    assert send("alb", value) == expected


def test_load_balancer_multi_value_setting_reads_the_other_map() -> None:
    route = RouteFacts("GET", "/", multi_value_headers=True)
    value = {"statusCode": 200, "multiValueHeaders": {"A": ["1", "2"]}, "headers": {"b": "c"}}
    assert send("alb", value, route=route) == (200, b"", [BYTES, ("A", "1"), ("A", "2")])


@pytest.mark.parametrize(
    "value", [{}, {"body": "x"}, "text", None, [], {"statusCode": 200, "statusDescription": 5}]
)
def test_load_balancer_refuses(value: Any) -> None:
    assert refuses("alb", value)


def test_load_balancer_takes_one_megabyte_of_json() -> None:
    shell = len(json.dumps({"statusCode": 200, "body": ""}))
    fits = {"statusCode": 200, "body": "x" * (1024**2 - shell)}
    assert send("alb", fits)[0] == 200
    assert refuses("alb", fits | {"body": fits["body"] + "x"})


@pytest.mark.parametrize(
    ("name", "kind", "status", "body"),
    [
        ("2.0", "failed", 500, b'{"message":"Internal Server Error"}'),
        ("2.0", "malformed", 500, b'{"message":"Internal Server Error"}'),
        ("2.0", "rejected", 500, b'{"message":"Internal Server Error"}'),
        ("2.0", "throttled", 500, b'{"message":"Internal Server Error"}'),
        ("2.0", "timed_out", 503, b'{"message":"Service Unavailable"}'),
        ("1.0", "failed", 502, b'{"message": "Internal server error"}'),
        ("1.0", "malformed", 502, b'{"message": "Internal server error"}'),
        ("1.0", "rejected", 500, b'{"message": "Internal server error"}'),
        ("1.0", "throttled", 500, b'{"message": "Internal server error"}'),
        ("1.0", "timed_out", 504, b'{"message": "Endpoint request timed out"}'),
        ("function_url", "failed", 502, b"Internal Server Error"),
        ("function_url", "malformed", 502, b"Internal Server Error"),
        ("function_url", "throttled", 429, b'{"message":"Rate Exceeded."}'),
    ],
)
def test_what_each_service_answers_itself(name: str, kind: str, status: int, body: bytes) -> None:
    response = getattr(FORMATS[name].answers, kind)
    assert (response.status, response.body) == (status, body)


def test_load_balancer_answers_itself_in_html() -> None:
    answers = FORMATS["alb"].answers
    kinds = ["failed", "malformed", "rejected", "throttled", "too_large"]
    assert [getattr(answers, kind).status for kind in kinds] == [502, 502, 502, 502, 413]
    assert b"<title>502 Bad Gateway</title>" in answers.failed.body


@pytest.mark.parametrize(
    ("name", "megabytes", "timeout"),
    [("2.0", 10, 30.0), ("1.0", 10, 29.0), ("function_url", 6, None), ("alb", 1, None)],
)
def test_limits(name: str, megabytes: int, timeout: float | None) -> None:
    format_ = FORMATS[name]
    assert (format_.maximum_body, format_.timeout_seconds) == (megabytes * 1024**2, timeout)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(json_values, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_compacting_changes_nothing_but_spaces(value: Any, ascii_: bool, indent: Any) -> None:
    written = json.dumps(value, ensure_ascii=ascii_, indent=indent).encode(errors="surrogatepass")
    expected = json.dumps(value, ensure_ascii=ascii_, separators=(",", ":"))
    assert compact(written) == expected.encode(errors="surrogatepass")


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(list(FORMATS)),
    value=st.fixed_dictionaries(
        {"statusCode": st.just(200)},
        optional={
            "headers": st.dictionaries(st.text(max_size=4), json_values, max_size=3),
            "cookies": st.lists(st.text(max_size=5), max_size=3),
            "body": json_values,
            "isBase64Encoded": st.booleans(),
        },
    ),
)
def test_no_result_gets_a_line_break_to_the_wire(name: str, value: Any) -> None:
    try:
        response = answer(name, json.dumps(value).encode())
    except MalformedResponse:
        return
    text = "".join(f"{key}{item}" for key, item in response.headers)
    text.encode("latin-1")
    assert not set(text) & {"\r", "\n", "\0"}
