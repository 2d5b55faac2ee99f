"""Payload 2.0: HTTP APIs, and Lambda function URLs, which share it with small differences
(semantics 8.5)."""

from __future__ import annotations

from typing import Any

from eventmesh.connectors import InvocationResult
from eventmesh.messages import HttpRequest, HttpResponse

from .exchange import Answers, Arrival, PayloadFormat, RouteFacts
from .reading import (
    decode_path,
    decode_query,
    dump_event,
    encode_body,
    fold_headers,
    format_time,
    is_text,
    split_host,
)
from .responses import (
    JSON_TYPE,
    answer,
    compact,
    encode_text,
    finish,
    load,
    read_body,
    read_cookies,
    read_flag,
    read_headers,
    read_status,
)

DEFAULT_ROUTE = "$default"


def build_http_api_event(request: HttpRequest, route: RouteFacts, arrival: Arrival) -> bytes:
    """The event of an HTTP API: path and path parameters decoded, cookies moved out of the
    headers."""
    headers = fold_headers(request, arrival)
    parameters = {
        name: decode_path(value)
        for name, value in request.path_parameters.items()
        if name in route.parameters
    }
    event = _assemble(request, headers, decode_path(request.raw_path), route.route_key)
    event["requestContext"] = _context(
        request, headers, event, arrival, (route.account_id, route.api_id, route.stage)
    )
    headers.pop("cookie", None)
    if parameters:
        event["pathParameters"] = parameters
    if route.stage_variables:
        event["stageVariables"] = dict(route.stage_variables)
    return _with_body(event, request, headers)


def build_function_url_event(request: HttpRequest, route: RouteFacts, arrival: Arrival) -> bytes:
    """The event of a function URL: path as sent, always route `$default`, cookies in both
    places."""
    headers = fold_headers(request, arrival)
    event = _assemble(request, headers, request.raw_path, DEFAULT_ROUTE)
    event["requestContext"] = _context(
        request, headers, event, arrival, ("anonymous", route.api_id, DEFAULT_ROUTE)
    )
    return _with_body(event, request, headers)


def _assemble(
    request: HttpRequest, headers: dict[str, str], path: str, route_key: str
) -> dict[str, Any]:
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": request.raw_query,
    }
    if "cookie" in headers:
        event["cookies"] = _split_cookies(request)
    event["headers"] = headers
    if request.raw_query:
        query: dict[str, str] = {}
        for name, value in decode_query(request.raw_query):
            query[name] = f"{query[name]},{value}" if name in query else value
        if query:
            event["queryStringParameters"] = query
    return event


def _split_cookies(request: HttpRequest) -> list[str]:
    lines = [value for name, value in request.headers if name.lower() == "cookie"]
    return [cookie for line in lines for part in line.split(";") if (cookie := part.strip())]


def _context(
    request: HttpRequest,
    headers: dict[str, str],
    event: dict[str, Any],
    arrival: Arrival,
    owner: tuple[str, str, str],
) -> dict[str, Any]:
    """`owner` is account id, API id and stage."""
    account_id, api_id, stage = owner
    domain = split_host(headers.get("host", ""))[0]
    return {
        "accountId": account_id,
        "apiId": api_id,
        "domainName": domain,
        "domainPrefix": domain.partition(".")[0],
        "http": {
            "method": request.method,
            "path": event["rawPath"],
            "protocol": "HTTP/1.1",
            "sourceIp": request.client_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": arrival.request_id,
        "routeKey": event["routeKey"],
        "stage": stage,
        "time": format_time(int(arrival.now)),
        "timeEpoch": int(arrival.now * 1000),
    }


def _with_body(event: dict[str, Any], request: HttpRequest, headers: dict[str, str]) -> bytes:
    base64 = False
    if request.body:
        text = is_text(headers.get("content-type", ""))
        event["body"], base64 = encode_body(request.body, text=text)
    event["isBase64Encoded"] = base64
    return dump_event(event)


def map_http_api_response(
    result: InvocationResult, request: HttpRequest, route: RouteFacts, arrival: Arrival
) -> HttpResponse:
    """A result with `statusCode` says what to send, any other is the body of a 200. Raises
    MalformedResponse."""
    return _infer(result.payload, "text/plain; charset=utf-8", status_as_text=True)


def map_function_url_response(
    result: InvocationResult, request: HttpRequest, route: RouteFacts, arrival: Arrival
) -> HttpResponse:
    """As for an HTTP API, but the content type is always JSON by default and a status must be a
    number. Raises MalformedResponse."""
    return _infer(result.payload, JSON_TYPE, status_as_text=False)


def _infer(payload: bytes, default_type: str, *, status_as_text: bool) -> HttpResponse:
    value = load(payload)
    if isinstance(value, dict) and "statusCode" in value:
        return finish(
            read_status(value["statusCode"], text_allowed=status_as_text),
            [*read_headers(value.get("headers")), *read_cookies(value.get("cookies"))],
            read_body(value.get("body"), base64=read_flag(value.get("isBase64Encoded"))),
            default_type,
        )
    body = encode_text(value) if isinstance(value, str) else compact(payload)
    return finish(200, (), body, JSON_TYPE)


_HTTP_API_ERROR = answer(500, b'{"message":"Internal Server Error"}')
_HTTP_API_UNAVAILABLE = answer(503, b'{"message":"Service Unavailable"}')
HTTP_API = PayloadFormat(
    name="2.0",
    build_event=build_http_api_event,
    map_response=map_http_api_response,
    answers=Answers(
        failed=_HTTP_API_ERROR,
        malformed=_HTTP_API_ERROR,
        rejected=_HTTP_API_ERROR,
        throttled=_HTTP_API_ERROR,
        too_large=answer(413, b'{"message":"Request Entity Too Large"}'),
        timed_out=_HTTP_API_UNAVAILABLE,
        unavailable=_HTTP_API_UNAVAILABLE,
    ),
    request_id_header="apigw-requestid",
    invocation_id=False,
    maximum_body=10 * 1024**2,
    timeout_seconds=30.0,
)

_URL_ERROR = answer(502, b"Internal Server Error", "text/plain; charset=utf-8")
FUNCTION_URL = PayloadFormat(
    name="function_url",
    build_event=build_function_url_event,
    map_response=map_function_url_response,
    answers=Answers(
        failed=_URL_ERROR,
        malformed=_URL_ERROR,
        rejected=_URL_ERROR,
        throttled=answer(
            429, b'{"message":"Rate Exceeded."}', x_amzn_ErrorType="TooManyRequestsException"
        ),
        too_large=answer(
            413,
            b'{"Message":"Request Entity Too Large"}',
            x_amzn_ErrorType="RequestTooLargeException",
        ),
        timed_out=answer(504, b'{"Message":"Gateway Timeout"}'),
        unavailable=answer(
            503, b'{"Message":"Service Unavailable"}', x_amzn_ErrorType="ServiceException"
        ),
    ),
    request_id_header="x-amzn-RequestId",
    invocation_id=True,
    maximum_body=6 * 1024**2,
    timeout_seconds=None,
)
