"""Payload 1.0: API Gateway REST APIs with Lambda proxy integration (semantics 8.4)."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from eventmesh.connectors import InvocationResult
from eventmesh.messages import HttpRequest, HttpResponse

from .exchange import Answers, Arrival, PayloadFormat, RouteFacts
from .reading import (
    decode_query,
    dump_event,
    encode_body,
    format_time,
    list_headers,
    media_type,
    split_host,
)
from .responses import (
    JSON_TYPE,
    MalformedResponse,
    Pairs,
    answer,
    finish,
    load,
    read_body,
    read_flag,
    read_headers,
    read_multi_headers,
    read_status,
)

_RESPONSE_KEYS = frozenset(
    {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
)
_IDENTITY = dict.fromkeys(
    (
        "accessKey",
        "accountId",
        "caller",
        "cognitoAuthenticationProvider",
        "cognitoAuthenticationType",
        "cognitoIdentityId",
        "cognitoIdentityPoolId",
        "principalOrgId",
    )
)


def build_event(request: HttpRequest, route: RouteFacts, arrival: Arrival) -> bytes:
    """Header names as the client wrote them, query decoded, path and path parameters as sent;
    what is absent is null."""
    headers, multi_headers = list_headers(request, arrival, lower=False)
    query = decode_query(request.raw_query) if request.raw_query else []
    several: dict[str, list[str]] = {}
    for name, value in query:
        several.setdefault(name, []).append(value)
    body, base64 = _encode_body(request, route)
    return dump_event(
        {
            "resource": route.path,
            "path": request.raw_path,
            "httpMethod": request.method,
            "headers": headers or None,
            "multiValueHeaders": multi_headers or None,
            "queryStringParameters": dict(query) or None,
            "multiValueQueryStringParameters": several or None,
            "pathParameters": _path_parameters(request, route) or None,
            "stageVariables": dict(route.stage_variables) or None,
            "requestContext": _context(request, route, arrival),
            "body": body,
            "isBase64Encoded": base64,
        }
    )


def _encode_body(request: HttpRequest, route: RouteFacts) -> tuple[str | None, bool]:
    if not request.body:
        return None, False
    media = media_type(request.header("content-type") or "")
    return encode_body(request.body, text=not is_binary(media, route.binary_media_types))


def is_binary(media: str, binary_media_types: tuple[str, ...]) -> bool:
    """Whether `image/png` is one of `image/png`, `image/*` or `*/*`; the last takes "" too."""
    family = f"{media.partition('/')[0]}/*"
    return any(pattern in (media, family, "*/*") for pattern in binary_media_types)


def _path_parameters(request: HttpRequest, route: RouteFacts) -> dict[str, str]:
    found = {name: request.path_parameters.get(name, "") for name in route.parameters}
    if route.greedy is not None:
        found[route.greedy] = found[route.greedy].removesuffix("/")
    return found


def _context(request: HttpRequest, route: RouteFacts, arrival: Arrival) -> dict[str, Any]:
    domain = split_host(request.header("host") or "")[0]
    return {
        "accountId": route.account_id,
        "apiId": route.api_id,
        "deploymentId": route.api_id[:6],
        "domainName": domain,
        "domainPrefix": domain.partition(".")[0],
        "extendedRequestId": b64encode(arrival.request_id[-12:].encode()).decode("ascii"),
        "httpMethod": request.method,
        "identity": {
            **_IDENTITY,
            "sourceIp": request.client_ip,
            "user": None,
            "userAgent": request.header("user-agent"),
            "userArn": None,
        },
        "path": request.raw_path,
        "protocol": "HTTP/1.1",
        "requestId": arrival.request_id,
        "requestTime": format_time(int(arrival.now)),
        "requestTimeEpoch": int(arrival.now * 1000),
        "resourceId": route.api_id[-6:],
        "resourcePath": route.path,
        "stage": route.stage,
    }


def map_response(
    result: InvocationResult, request: HttpRequest, route: RouteFacts, arrival: Arrival
) -> HttpResponse:
    """Only an object of the five known keys is a response; `{}` is an empty 200. Raises
    MalformedResponse."""
    value = load(result.payload)
    if not isinstance(value, dict):
        raise MalformedResponse("it is not an object")
    if unknown := value.keys() - _RESPONSE_KEYS:
        raise MalformedResponse(f"unknown keys: {', '.join(sorted(unknown))[:200]}")
    status = value.get("statusCode")
    headers = _merge(
        read_headers(value.get("headers")), read_multi_headers(value.get("multiValueHeaders"))
    )
    decoded = read_flag(value.get("isBase64Encoded")) and accepts_binary(request, route)
    return finish(
        200 if status is None else read_status(status, text_allowed=True),
        headers,
        read_body(value.get("body"), base64=decoded),
        JSON_TYPE,
    )


def _merge(single: Pairs, several: Pairs) -> Pairs:
    """Both maps: the multi-value lines first, a name written as there."""
    names = {name.lower(): name for name, _ in several}
    return several + [(names.get(name.lower(), name), value) for name, value in single]


def accepts_binary(request: HttpRequest, route: RouteFacts) -> bool:
    """Whether base64 is decoded for this client: only the first entry of `Accept` counts."""
    first = (request.header("accept") or "").partition(",")[0]
    return is_binary(media_type(first), route.binary_media_types)


_ERROR_BODY = b'{"message": "Internal server error"}'
_MALFORMED = answer(502, _ERROR_BODY, x_amzn_ErrorType="InternalServerErrorException")
_REJECTED = answer(500, _ERROR_BODY, x_amzn_ErrorType="InternalServerErrorException")
REST_API = PayloadFormat(
    name="1.0",
    build_event=build_event,
    map_response=map_response,
    answers=Answers(
        failed=_MALFORMED,
        malformed=_MALFORMED,
        rejected=_REJECTED,
        throttled=_REJECTED,
        too_large=answer(413, b'{"message":"Request Too Long"}'),
        timed_out=answer(504, b'{"message": "Endpoint request timed out"}'),
        unavailable=answer(503, b'{"message": "Service Unavailable"}'),
    ),
    request_id_header="x-amzn-RequestId",
    invocation_id=False,
    maximum_body=10 * 1024**2,
    timeout_seconds=29.0,
)
