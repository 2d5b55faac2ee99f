"""What a handler sees of a request, format by format (semantics 8.4-8.6)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh.messages import HttpRequest
from eventmesh_connectors.http.exchange import Arrival, RouteFacts
from eventmesh_connectors.http.formats import FORMATS

ARRIVAL = Arrival(1_583_348_638.39, "0d8f5c1e-9a3b-4a52-8f6e-2b1f6f1c7a11")
TRACE = "Root=1-5e5ffb9e-0d8f5c1e9a3b4a528f6e2b1f"
ROUTE = RouteFacts("GET", "/my/{p}", ("p",), account_id="123456789012", api_id="abcdefghij")


def request(
    path: str = "/my/v",
    query: str = "",
    *,
    headers: Any = (),
    body: bytes = b"",
    method: str = "GET",
    **parameters: str,
) -> HttpRequest:
    host = [] if any(name == "Host" for name, _ in headers) else [("Host", "localhost:8080")]
    return HttpRequest(
        method, path, query, [*host, *headers], "1.2.3.4", 5, body, parameters or {"p": "v"}
    )


def build(name: str, asked: HttpRequest, route: RouteFacts = ROUTE) -> dict[str, Any]:
    event = json.loads(FORMATS[name].build_event(asked, route, ARRIVAL))
    assert isinstance(event, dict)
    return event


def test_http_api_event_is_complete_and_in_order() -> None:
    asked = request(
        query="a=1&a=2&b=3",
        headers=[
            ("Cookie", "c1=v1; c2=v2"),
            ("Header1", "value1"),
            ("HEADER2", "v1"),
            ("header2", "v2"),
            ("User-Agent", "agent"),
            ("Content-Type", "application/json"),
            ("Connection", "keep-alive"),
        ],
        body=b'{"x": "\xc3\xa9"}',
        method="POST",
    )
    event = build("2.0", asked)
    assert list(event.items()) == [
        ("version", "2.0"),
        ("routeKey", "GET /my/{p}"),
        ("rawPath", "/my/v"),
        ("rawQueryString", "a=1&a=2&b=3"),
        ("cookies", ["c1=v1", "c2=v2"]),
        (
            "headers",
            {
                "host": "localhost:8080",
                "header1": "value1",
                "header2": "v1,v2",
                "user-agent": "agent",
                "content-type": "application/json",
                "x-forwarded-for": "1.2.3.4",
                "x-forwarded-port": "8080",
                "x-forwarded-proto": "http",
                "x-amzn-trace-id": TRACE,
            },
        ),
        ("queryStringParameters", {"a": "1,2", "b": "3"}),
        (
            "requestContext",
            {
                "accountId": "123456789012",
                "apiId": "abcdefghij",
                "domainName": "localhost",
                "domainPrefix": "localhost",
                "http": {
                    "method": "POST",
                    "path": "/my/v",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "1.2.3.4",
                    "userAgent": "agent",
                },
                "requestId": ARRIVAL.request_id,
                "routeKey": "GET /my/{p}",
                "stage": "$default",
                "time": "04/Mar/2020:19:03:58 +0000",
                "timeEpoch": 1583348638390,
            },
        ),
        ("pathParameters", {"p": "v"}),
        ("body", '{"x": "é"}'),
        ("isBase64Encoded", False),
    ]


def test_http_api_event_omits_what_is_empty() -> None:
    event = build("2.0", request(), RouteFacts("ANY", "$default"))
    assert list(event) == [
        "version",
        "routeKey",
        "rawPath",
        "rawQueryString",
        "headers",
        "requestContext",
        "isBase64Encoded",
    ]
    assert (event["routeKey"], event["rawQueryString"]) == ("$default", "")


def test_http_api_decodes_path_and_stage_variables_are_shown() -> None:
    route = RouteFacts("GET", "/my/{p}", ("p",), stage="prod", stage_variables={"s": "v"})
    event = build("2.0", request("/my/a%2Fb%20+c", p="a%2Fb%20+c"), route)
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == "/my/a/b +c"
    assert event["pathParameters"] == {"p": "a/b +c"}
    assert event["stageVariables"] == {"s": "v"}
    assert event["requestContext"]["stage"] == "prod"


def test_function_url_keeps_the_path_and_the_cookie_header() -> None:
    asked = request("/pa2%Fth/1", headers=[("Cookie", "a=1"), ("Cookie", "b=2;c=3")])
    event = build("function_url", asked)
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == "/pa2%Fth/1"
    assert event["cookies"] == ["a=1", "b=2", "c=3"]
    assert event["headers"]["cookie"] == "a=1,b=2;c=3"
    assert event["routeKey"] == event["requestContext"]["routeKey"] == "$default"
    assert event["requestContext"]["accountId"] == "anonymous"
    assert "pathParameters" not in event


@pytest.mark.parametrize("name", ["2.0", "function_url"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a=1", {"a": "1"}),
        ("a=1&b=2&a=3", {"a": "1,3", "b": "2"}),
        ("q=a+b%2Bc", {"q": "a b+c"}),
        ("flag", {"flag": ""}),
        ("flag=&x=1=2", {"flag": "", "x": "1=2"}),
        ("%61=%C3%A9", {"a": "é"}),
        ("a=%FF", {"a": "\ufffd"}),
        ("a=%zz", {"a": "%zz"}),
        ("&&", None),
        ("", None),
    ],
)
def test_query_of_payload_2(name: str, query: str, expected: dict[str, str] | None) -> None:
    event = build(name, request(query=query))
    assert event.get("queryStringParameters") == expected
    assert event["rawQueryString"] == query


TEXT, BASE64 = ("hi", False), ("aGk=", True)


@pytest.mark.parametrize("name", ["2.0", "function_url"])
@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/plain", TEXT),
        ("text/html; charset=utf-8", TEXT),
        ("Application/JSON", TEXT),
        ("application/javascript", TEXT),
        ("application/xml", TEXT),
        ("application/problem+json", TEXT),
        ("image/svg+xml", TEXT),
        ("application/x-www-form-urlencoded", BASE64),
        ("multipart/form-data; boundary=x", BASE64),
        ("application/octet-stream", BASE64),
        (None, BASE64),
    ],
)
def test_body_of_payload_2(name: str, content_type: str | None, expected: tuple[str, bool]) -> None:
    headers = [] if content_type is None else [("content-type", content_type)]
    event = build(name, request(headers=headers, body=b"hi"))
    assert (event["body"], event["isBase64Encoded"]) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_text_that_is_no_utf8_goes_as_base64(name: str) -> None:
    event = build(name, request(headers=[("content-type", "text/plain")], body=b"\xff\x00"))
    route = RouteFacts("ANY", "/x")
    assert (event["body"], event["isBase64Encoded"]) == ("/wA=", True)
    assert build(name, request(body=b""), route)["isBase64Encoded"] is False


def test_rest_api_event_is_complete() -> None:
    asked = request(
        "/my/a%20b/",
        "a=1&a=2&q=x+y%2B",
        headers=[("Accept", "*/*"), ("X-Two", "1"), ("x-two", "2"), ("TE", "trailers")],
        p="a%20b/",
    )
    route = RouteFacts(
        "ANY", "/my/{p+}", ("p",), "p", account_id="123456789012", api_id="0123456789"
    )
    event = build("1.0", asked, route)
    context = event.pop("requestContext")
    added = {
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Port": "8080",
        "X-Forwarded-Proto": "http",
        "X-Amzn-Trace-Id": TRACE,
    }
    single = {"Host": "localhost:8080", "Accept": "*/*", "X-Two": "2", **added}
    assert event == {
        "resource": "/my/{p+}",
        "path": "/my/a%20b/",
        "httpMethod": "GET",
        "headers": single,
        "multiValueHeaders": {name: [value] for name, value in single.items()}
        | {"X-Two": ["1", "2"]},
        "queryStringParameters": {"a": "2", "q": "x y+"},
        "multiValueQueryStringParameters": {"a": ["1", "2"], "q": ["x y+"]},
        "pathParameters": {"p": "a%20b"},
        "stageVariables": None,
        "body": None,
        "isBase64Encoded": False,
    }
    identity = context.pop("identity")
    assert identity == dict.fromkeys(
        "accessKey accountId caller cognitoAuthenticationProvider cognitoAuthenticationType "
        "cognitoIdentityId cognitoIdentityPoolId principalOrgId user userAgent userArn".split()
    ) | {"sourceIp": "1.2.3.4"}
    assert context == {
        "accountId": "123456789012",
        "apiId": "0123456789",
        "deploymentId": "012345",
        "domainName": "localhost",
        "domainPrefix": "localhost",
        "extendedRequestId": base64.b64encode(b"2b1f6f1c7a11").decode(),
        "httpMethod": "GET",
        "path": "/my/a%20b/",
        "protocol": "HTTP/1.1",
        "requestId": ARRIVAL.request_id,
        "requestTime": "04/Mar/2020:19:03:58 +0000",
        "requestTimeEpoch": 1583348638390,
        "resourceId": "456789",
        "resourcePath": "/my/{p+}",
        "stage": "$default",
    }


def test_rest_api_event_says_null_where_nothing_is() -> None:
    event = build("1.0", request(), RouteFacts("GET", "/x"))
    absent = ["queryStringParameters", "multiValueQueryStringParameters", "pathParameters"]
    assert [event[key] for key in [*absent, "stageVariables", "body"]] == [None] * 5


@pytest.mark.parametrize(
    ("binary", "content_type", "expected"),
    [
        ((), "image/png", TEXT),
        (("image/png",), "image/png", BASE64),
        (("image/*",), "Image/PNG; x=1", BASE64),
        (("image/*",), "text/plain", TEXT),
        (("*/*",), "application/json", BASE64),
    ],
)
def test_rest_api_base64_is_for_binary_media_types(
    binary: tuple[str, ...], content_type: str, expected: tuple[str, bool]
) -> None:
    route = RouteFacts("POST", "/x", binary_media_types=binary)
    event = build("1.0", request(headers=[("content-type", content_type)], body=b"hi"), route)
    assert (event["body"], event["isBase64Encoded"]) == expected


LB = RouteFacts("ANY", "/x", function_name="web", account_id="123456789012", api_id="a")


def test_load_balancer_event_is_complete() -> None:
    asked = request("/x%20y", "a=1&a=%20+&b", headers=[("X-Two", "1"), ("x-two", "2")])
    event = build("alb", asked, LB)
    arn = event["requestContext"]["elb"].pop("targetGroupArn")
    assert arn.startswith("arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/")
    assert event == {
        "requestContext": {"elb": {}},
        "httpMethod": "GET",
        "path": "/x%20y",
        "queryStringParameters": {"a": "%20+", "b": ""},
        "headers": {
            "host": "localhost:8080",
            "x-two": "2",
            "x-forwarded-for": "1.2.3.4",
            "x-forwarded-port": "8080",
            "x-forwarded-proto": "http",
            "x-amzn-trace-id": TRACE,
        },
        "body": "",
        "isBase64Encoded": False,
    }


def test_load_balancer_multi_value_setting_switches_the_keys() -> None:
    route = RouteFacts("ANY", "/x", multi_value_headers=True)
    event = build("alb", request("/x", "a=1&a=2", headers=[("X", "1"), ("x", "2")]), route)
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert event["multiValueHeaders"]["x"] == ["1", "2"]
    assert not {"headers", "queryStringParameters"} & event.keys()
    assert build("alb", request("/x"), route)["multiValueQueryStringParameters"] == {}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"content-type": "text/css"}, TEXT),
        ({"content-type": "application/json"}, TEXT),
        ({"content-type": "application/javascript"}, TEXT),
        ({"content-type": "application/xml"}, TEXT),
        ({"content-type": "application/ld+json"}, BASE64),
        ({"content-type": "application/x-www-form-urlencoded"}, BASE64),
        ({"content-type": "application/json", "content-encoding": "gzip"}, BASE64),
        ({}, BASE64),
    ],
)
def test_load_balancer_body(headers: dict[str, str], expected: tuple[str, bool]) -> None:
    event = build("alb", request(headers=list(headers.items()), body=b"hi"), LB)
    assert (event["body"], event["isBase64Encoded"]) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_proxy_in_front_said_is_kept(name: str) -> None:
    headers = [
        ("X-Forwarded-For", "9.9.9.9"),
        ("x-forwarded-proto", "https"),
        ("X-FORWARDED-PORT", "443"),
        ("X-Amzn-Trace-Id", "Root=1-2-3"),
    ]
    event = build(name, request(headers=headers))
    lower = {key.lower(): value for key, value in event["headers"].items()}
    assert lower["x-forwarded-for"] == "9.9.9.9, 1.2.3.4"
    assert (lower["x-forwarded-proto"], lower["x-forwarded-port"]) == ("https", "443")
    assert lower["x-amzn-trace-id"] == "Root=1-2-3"
    assert len([key for key in lower if key.startswith("x-forwarded")]) == 3


@pytest.mark.parametrize(
    ("host", "domain", "prefix"),
    [
        ("api.example.com", "api.example.com", "api"),
        ("api.example.com:8443", "api.example.com", "api"),
        ("[::1]:8080", "[::1]", "[::1]"),
        ("", "", ""),
    ],
)
def test_domain_name_comes_from_host(host: str, domain: str, prefix: str) -> None:
    for name in ("2.0", "1.0", "function_url"):
        context = build(name, request(headers=[("Host", host)]))["requestContext"]
        assert (context["domainName"], context["domainPrefix"]) == (domain, prefix)


anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(list(FORMATS)),
    path=anything,
    query=anything,
    headers=st.lists(st.tuples(anything, anything), max_size=5),
    content_type=st.sampled_from(["", "text/plain", "application/json", "image/png"]),
    body=st.binary(max_size=60),
    parameter=anything,
)
def test_no_request_breaks_an_event(
    name: str,
    path: str,
    query: str,
    headers: list[tuple[str, str]],
    content_type: str,
    body: bytes,
    parameter: str,
) -> None:
    asked = request(
        path, query, headers=[*headers, ("content-type", content_type)], body=body, p=parameter
    )
    raw = FORMATS[name].build_event(asked, ROUTE, ARRIVAL)
    event = json.loads(raw.decode("utf-8"))
    sent = event.get("body") or ""
    decoded = base64.b64decode(sent) if event["isBase64Encoded"] else sent.encode()
    if "?" not in sent:
        assert decoded == body
