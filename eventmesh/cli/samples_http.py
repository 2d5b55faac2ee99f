"""Sample events of HTTP: API Gateway payloads 1.0 and 2.0, function URLs, load balancers (semantics
8.4 to 8.6)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote

from eventmesh.cli.samples_scene import Event, Sample, Scene, encode_text, parse_object

_CLIENT = "203.0.113.7"
_STAGE_V1 = "prod"
_TEXT_TYPES = ("application/json", "application/javascript", "application/xml")
_IDENTITY = (
    "accessKey",
    "accountId",
    "caller",
    "cognitoAuthenticationProvider",
    "cognitoAuthenticationType",
    "cognitoIdentityId",
    "cognitoIdentityPoolId",
    "principalOrgId",
    "sourceIp",
    "user",
    "userAgent",
    "userArn",
)
Values = dict[str, list[str]]


def _http_v1(
    scene: Scene,
    *,
    method: str = "GET",
    path: str = "/thumbs/cat.jpg",
    query: str = "",
    headers: str = "{}",
    body: str = "",
    route: str = "/{proxy+}",
) -> Event:
    """`route` is the resource's path. The body is text, as if no media type were binary."""
    _check_path(path)
    resource = "/" if path == "/" and route == "/{proxy+}" else route
    api = scene.letters(10).lower()
    domain = _api_domain(scene, api)
    sent = _headers(scene, domain, headers, body)
    values = _grouped(parse_qsl(query, keep_blank_values=True))
    parameters = _match_route(resource, path)
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": _last(sent),
        "multiValueHeaders": sent,
        "queryStringParameters": _last(values) or None,
        "multiValueQueryStringParameters": values or None,
        # a last {name+} is without the path's last slash
        "pathParameters": {name: value.rstrip("/") for name, value in parameters.items()} or None,
        "stageVariables": None,
        "requestContext": {
            "accountId": scene.account,
            "apiId": api,
            "deploymentId": scene.letters(6).lower(),
            "domainName": domain,
            "domainPrefix": api,
            "extendedRequestId": scene.token(11),
            "httpMethod": method,
            "identity": {
                **dict.fromkeys(_IDENTITY),
                "sourceIp": _CLIENT,
                "userAgent": _values(sent, "user-agent")[-1],
            },
            "path": f"/{_STAGE_V1}{path}",
            "protocol": "HTTP/1.1",
            "requestId": scene.uuid(),
            "requestTime": scene.log_time,
            "requestTimeEpoch": scene.milliseconds,
            "resourceId": scene.letters(6).lower(),
            "resourcePath": resource,
            "stage": _STAGE_V1,
        },
        "body": body or None,
        "isBase64Encoded": False,
    }


def _http_v2(
    scene: Scene,
    *,
    method: str = "GET",
    path: str = "/thumbs/cat.jpg",
    query: str = "",
    headers: str = "{}",
    body: str = "",
    route: str = "$default",
) -> Event:
    """`route` is a route key: `GET /thumbs/{name}`."""
    _check_path(path)
    api = scene.letters(10).lower()
    domain = _api_domain(scene, api)
    sent = _headers(scene, domain, headers, body)
    event = _payload_v2(unquote(path), query, sent, route)
    event["requestContext"] = _context_v2(scene, event, method, (scene.account, api, domain))
    _, _, pattern = route.partition(" ")
    if parameters := _match_route(pattern, path) if pattern else {}:
        event["pathParameters"] = {name: unquote(value) for name, value in parameters.items()}
    return _with_body(event, sent, body)


def _function_url(
    scene: Scene,
    *,
    method: str = "GET",
    path: str = "/thumbs/cat.jpg",
    query: str = "",
    headers: str = "{}",
    body: str = "",
) -> Event:
    """As `http-v2`, but the path is as sent and cookies stay in the headers, too."""
    _check_path(path)
    api = scene.letters(32).lower()
    domain = f"{api}.lambda-url.{scene.region}.on.aws"
    sent = _headers(scene, domain, headers, body)
    event = _payload_v2(path, query, sent, "$default")
    event["requestContext"] = _context_v2(scene, event, method, ("anonymous", api, domain))
    if "cookies" in event:
        event["headers"]["cookie"] = "; ".join(event["cookies"])
    return _with_body(event, sent, body)


def _payload_v2(path: str, query: str, sent: Values, route: str) -> Event:
    """What an HTTP API and a function URL have in common; what has no content is left out."""
    headers = {name.lower(): ",".join(values) for name, values in sent.items()}
    headers.pop("cookie", None)
    event: Event = {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": query,
    }
    if cookies := [c.strip() for line in _values(sent, "cookie") for c in line.split(";")]:
        event["cookies"] = cookies
    event["headers"] = headers
    if values := _grouped(parse_qsl(query, keep_blank_values=True)):
        event["queryStringParameters"] = {name: ",".join(each) for name, each in values.items()}
    return event


def _context_v2(scene: Scene, event: Event, method: str, owner: tuple[str, str, str]) -> Event:
    """`owner` is account, API and domain name."""
    account, api, domain = owner
    return {
        "accountId": account,
        "apiId": api,
        "domainName": domain,
        "domainPrefix": api,
        "http": {
            "method": method,
            "path": event["rawPath"],
            "protocol": "HTTP/1.1",
            "sourceIp": _CLIENT,
            "userAgent": event["headers"]["user-agent"],
        },
        "requestId": scene.uuid(),
        "routeKey": event["routeKey"],
        "stage": "$default",
        "time": scene.log_time,
        "timeEpoch": scene.milliseconds,
    }


def _with_body(event: Event, sent: Values, body: str) -> Event:
    binary = bool(body) and not _is_text(sent)
    if body:
        event["body"] = encode_text(body) if binary else body
    return event | {"isBase64Encoded": binary}


def _is_text(sent: Values) -> bool:
    """Whether the body is handed on as it is, by its content type; else it is base64."""
    media = _values(sent, "content-type")[-1].partition(";")[0].strip().lower()
    return media.startswith("text/") or media in _TEXT_TYPES or media.endswith(("+json", "+xml"))


def _values(sent: Values, lower_name: str) -> list[str]:
    return [value for name, each in sent.items() if name.lower() == lower_name for value in each]


def _alb(
    scene: Scene,
    *,
    method: str = "GET",
    path: str = "/thumbs/cat.jpg",
    query: str = "",
    headers: str = "{}",
    body: str = "",
    multi_value: bool = False,
) -> Event:
    """`multi_value` is the target group's setting; the query is not decoded."""
    _check_path(path)
    host = f"my-balancer-{scene.digits(10)}.{scene.region}.elb.amazonaws.com"
    sent = {name.lower(): values for name, values in _headers(scene, host, headers, body).items()}
    binary = bool(body) and ("content-encoding" in sent or not _is_text(sent))
    pairs = (pair.partition("=")[::2] for pair in query.split("&") if pair)
    values = _grouped(pairs)
    group = scene.arn("elasticloadbalancing", f"targetgroup/my-targets/{scene.hexadecimal(16)}")
    several = {"multiValueQueryStringParameters": values, "multiValueHeaders": sent}
    single = {"queryStringParameters": _last(values), "headers": _last(sent)}
    return {
        "requestContext": {"elb": {"targetGroupArn": group}},
        "httpMethod": method,
        "path": path,
        **(several if multi_value else single),
        "body": encode_text(body) if binary else body,
        "isBase64Encoded": binary,
    }


def _check_path(path: str) -> None:
    if not path.startswith("/"):
        raise ValueError(f"path: {path!r} does not start with /")
    if "?" in path:
        raise ValueError(f"path: {path!r} has a query; that is the setting query")


def _headers(scene: Scene, host: str, given: str, body: str) -> Values:
    """What a client and a proxy would send, changed by the JSON object `given`: text or list of
    texts by name."""
    values = {
        "Accept": ["*/*"],
        "Host": [host],
        "User-Agent": ["curl/8.5.0"],
        "X-Amzn-Trace-Id": [f"Root=1-{int(scene.now):08x}-{scene.hexadecimal(24)}"],
        "X-Forwarded-For": [_CLIENT],
        "X-Forwarded-Port": ["443"],
        "X-Forwarded-Proto": ["https"],
    }
    if body:
        values["Content-Length"] = [str(len(body.encode()))]
        values["Content-Type"] = ["application/json"]
    for name, value in parse_object("headers", given).items():
        several = value if isinstance(value, list) and value else [value]
        values = {other: v for other, v in values.items() if other.lower() != name.lower()}
        values[name] = [str(each) for each in several]
    return values


def _grouped(pairs: Iterable[tuple[str, str]]) -> Values:
    values: Values = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _last(values: Values) -> dict[str, str]:
    return {name: each[-1] for name, each in values.items()}


def _match_route(pattern: str, path: str) -> dict[str, str]:
    """The parts of `path` that `{name}` and a last `{name+}` stand for, as sent. Raises ValueError
    if the path is not the pattern's."""
    wanted, parts = pattern.split("/"), path.split("/")
    if wanted[-1].endswith("+}"):
        parts = [*parts[: len(wanted) - 1], "/".join(parts[len(wanted) - 1 :])]
    parameters = {}
    for name, part in zip(wanted, parts, strict=False):
        if name.startswith("{") and name.endswith("}") and part:
            parameters[name.strip("{+}")] = part
        elif name != part:
            break
    else:
        if len(wanted) == len(parts):
            return parameters
    raise ValueError(f"path: {path!r} does not match the route {pattern!r}")


def _api_domain(scene: Scene, api: str) -> str:
    return f"{api}.execute-api.{scene.region}.amazonaws.com"


HTTP_SAMPLES = {
    "alb": Sample("a request through an Application Load Balancer", _alb),
    "function-url": Sample("a request to a function URL", _function_url),
    "http-v1": Sample("a request through an API Gateway REST API (payload 1.0)", _http_v1),
    "http-v2": Sample("a request through an API Gateway HTTP API (payload 2.0)", _http_v2),
}
