"""Application Load Balancer with a Lambda target group (semantics 8.6)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from eventmesh.connectors import InvocationResult
from eventmesh.messages import HttpRequest, HttpResponse

from .exchange import Answers, Arrival, PayloadFormat, RouteFacts
from .reading import dump_event, encode_body, is_text, list_headers, media_type, split_query
from .responses import (
    MalformedResponse,
    answer,
    finish,
    load,
    read_body,
    read_flag,
    read_headers,
    read_multi_headers,
    read_status,
)

#: for the request's body and for the response's JSON
MAXIMUM_BYTES = 1024**2


def build_event(request: HttpRequest, route: RouteFacts, arrival: Arrival) -> bytes:
    """Header names in lower case, the query not decoded; `multi_value_headers` switches which keys
    there are."""
    single, several = list_headers(request, arrival, lower=True)
    query = split_query(request.raw_query)
    event: dict[str, Any] = {
        "requestContext": {"elb": {"targetGroupArn": target_group_arn(route)}},
        "httpMethod": request.method,
        "path": request.raw_path,
    }
    if route.multi_value_headers:
        values: dict[str, list[str]] = {}
        for name, value in query:
            values.setdefault(name, []).append(value)
        event["multiValueQueryStringParameters"] = values
        event["multiValueHeaders"] = several
    else:
        event["queryStringParameters"] = dict(query)
        event["headers"] = single
    event["body"], event["isBase64Encoded"] = _encode_body(request)
    return dump_event(event)


def target_group_arn(route: RouteFacts) -> str:
    tail = sha256(route.api_id.encode()).hexdigest()[:16]
    name = route.function_name or "eventmesh"
    return (
        f"arn:aws:elasticloadbalancing:{route.region}:{route.account_id}:targetgroup/{name}/{tail}"
    )


def _encode_body(request: HttpRequest) -> tuple[str, bool]:
    if not request.body:
        return "", False
    content_type = request.header("content-type") or ""
    plus = media_type(content_type).endswith(("+json", "+xml"))
    text = is_text(content_type) and not plus and not request.header("content-encoding")
    return encode_body(request.body, text=text)


def map_response(
    result: InvocationResult, request: HttpRequest, route: RouteFacts, arrival: Arrival
) -> HttpResponse:
    """`statusCode` is a must; headers come from the map that the target group's setting names.
    Raises MalformedResponse."""
    if len(result.payload) > MAXIMUM_BYTES:
        raise MalformedResponse(
            f"its JSON has {len(result.payload)} bytes; a load balancer takes {MAXIMUM_BYTES}"
        )
    value = load(result.payload)
    if not isinstance(value, dict):
        raise MalformedResponse("it is not an object")
    if not isinstance(value.get("statusDescription"), (str, type(None))):
        raise MalformedResponse("statusDescription is not text")
    headers = (
        read_multi_headers(value.get("multiValueHeaders"))
        if route.multi_value_headers
        else read_headers(value.get("headers"))
    )
    return finish(
        read_status(value.get("statusCode"), text_allowed=False),
        headers,
        read_body(value.get("body"), base64=read_flag(value.get("isBase64Encoded"))),
        "application/octet-stream",
    )


def _page(status: int, reason: str) -> HttpResponse:
    body = (
        f"<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} {reason}</h1></center>\r\n</body>\r\n</html>\r\n"
    )
    return answer(status, body.encode(), "text/html")


_BAD_GATEWAY = _page(502, "Bad Gateway")
LOAD_BALANCER = PayloadFormat(
    name="alb",
    build_event=build_event,
    map_response=map_response,
    answers=Answers(
        failed=_BAD_GATEWAY,
        malformed=_BAD_GATEWAY,
        rejected=_BAD_GATEWAY,
        throttled=_BAD_GATEWAY,
        too_large=_page(413, "Request Entity Too Large"),
        timed_out=_page(504, "Gateway Time-out"),
        unavailable=_page(503, "Service Temporarily Unavailable"),
    ),
    request_id_header=None,
    invocation_id=False,
    maximum_body=MAXIMUM_BYTES,
    timeout_seconds=None,
)
