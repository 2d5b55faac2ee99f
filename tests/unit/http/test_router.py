from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.http import Router
from eventmesh.messages import HttpRequest, HttpResponse, HttpRoute


async def _handler(request: HttpRequest) -> HttpResponse:
    return HttpResponse(200)


def route(text: str) -> HttpRoute:
    method, path = text.split(" ")
    return HttpRoute(method, path, _handler, lambda request: 0)


def serve(*texts: str) -> Router:
    router = Router()
    for text in texts:
        router.add(route(text))
    return router


def found(router: Router, text: str) -> tuple[str, dict[str, str]] | HttpResponse:
    result = router.find(*text.split(" "))
    if isinstance(result, HttpResponse):
        return result
    return f"{result[0].method} {result[0].path}", result[1]


ROUTES = (
    "GET /pets/dog/1",
    "GET /pets/dog/{id}",
    "GET /pets/{kind}/1",
    "GET /pets/{proxy+}",
    "POST /pets/dog/1",
    "ANY /{proxy+}",
)


@pytest.mark.parametrize(
    ("request_line", "served", "parameters"),
    [
        ("GET /pets/dog/1", "GET /pets/dog/1", {}),
        ("POST /pets/dog/1", "POST /pets/dog/1", {}),
        ("GET /pets/dog/2", "GET /pets/dog/{id}", {"id": "2"}),
        ("GET /pets/cat/1", "GET /pets/{kind}/1", {"kind": "cat"}),
        ("GET /pets/cat/2", "GET /pets/{proxy+}", {"proxy": "cat/2"}),
        ("GET /pets/dog/1/", "GET /pets/{proxy+}", {"proxy": "dog/1/"}),
        ("PUT /pets/dog/1", "ANY /{proxy+}", {"proxy": "pets/dog/1"}),
        ("GET /pets", "ANY /{proxy+}", {"proxy": "pets"}),
        ("GET /pets/", "ANY /{proxy+}", {"proxy": "pets/"}),
        ("GET /", "ANY /{proxy+}", {"proxy": ""}),
        ("GET //pets/dog/1", "ANY /{proxy+}", {"proxy": "/pets/dog/1"}),
        ("GET /pets/dog/%2e%2e", "GET /pets/dog/{id}", {"id": "%2e%2e"}),
        ("GET /pets/../etc", "GET /pets/{proxy+}", {"proxy": "../etc"}),
    ],
)
def test_most_specific_route_serves(
    request_line: str, served: str, parameters: dict[str, str]
) -> None:
    assert found(serve(*ROUTES), request_line) == (served, parameters)


def test_order_of_registration_does_not_matter() -> None:
    assert found(serve(*reversed(ROUTES)), "GET /pets/dog/2") == ("GET /pets/dog/{id}", {"id": "2"})


def test_method_beats_any_at_the_same_path() -> None:
    router = serve("ANY /a", "GET /a", "ANY /b/{x}", "GET /b/{y}")
    assert found(router, "GET /a") == ("GET /a", {})
    assert found(router, "PUT /a") == ("ANY /a", {})
    assert found(router, "GET /b/1") == ("GET /b/{y}", {"y": "1"})
    assert found(router, "PUT /b/1") == ("ANY /b/{x}", {"x": "1"})


def test_search_goes_back_when_the_literal_leads_nowhere() -> None:
    assert found(serve("GET /a/b/{x}/z", "GET /a/{y}/c/d"), "GET /a/b/c/d") == (
        "GET /a/{y}/c/d",
        {"y": "b"},
    )


@pytest.mark.parametrize("path", ["/a/", "/a//b", "/b", "/A/b", "/%61/b", "/a/b/"])
def test_nothing_is_normalised(path: str) -> None:
    missing = found(serve("GET /a/{x}"), f"GET {path}")
    assert isinstance(missing, HttpResponse)
    assert (missing.status, missing.body) == (404, b'{"message":"Not Found"}')


def test_wrong_method_names_the_allowed_ones() -> None:
    refused = found(serve("POST /a", "GET /{x}"), "DELETE /a")
    assert isinstance(refused, HttpResponse)
    assert refused.status == 405
    assert dict(refused.headers)["Allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("get /a", "method must be one of ANY, DELETE"),
        ("TRACE /a", "method must be one of"),
        ("GET a", "must begin with /"),
        ("GET //a", "empty segment"),
        ("GET /a//b", "empty segment"),
        ("GET /a/../b", "not normalised"),
        ("GET /a/%2E%2e", "not normalised"),
        ("GET /./a", "not normalised"),
        ("GET /{x+}/b", "must be the last segment"),
        ("GET /{x+}/", "must be the last segment"),
        ("GET /{x+}/{y+}", "must be the last segment"),
        ("GET /{x}/{x}", "same name"),
        ("GET /a{x}", "must be literal"),
        ("GET /{}", "must be literal"),
        ("GET /caf\u00e9", "must be literal"),
        ("GET /a?b", "must be literal"),
        ("GET /a#b", "must be literal"),
        ("GET /a%zz", "must be literal"),
        ("GET /a\x00b", "must be literal"),
    ],
)
def test_unservable_path_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        serve(text)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("GET /a", "GET /a"),
        ("GET /a/{x}", "GET /a/{y}"),
        ("ANY /{a+}", "ANY /{b+}"),
    ],
)
def test_conflict_names_both(first: str, second: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{second} is already served as {first}")):
        serve(first, second)


@pytest.mark.parametrize(
    "path",
    ["/2015-03-31/functions", "/2021-11-15/", "/2014-11-13", "/healthz", "/readyz", "/metrics"]
    + ["/_/x", "/_", "/healthz/{x}"],
)
def test_reserved_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="reserved for eventmesh"):
        serve(f"GET {path}")


def test_catch_all_never_gets_reserved_paths() -> None:
    router = serve("ANY /{proxy+}", "GET /{x}/functions")
    router.reserve(route("GET /healthz"))
    assert found(router, "GET /healthz") == ("GET /healthz", {})
    for path in ("/2015-03-31/functions", "/healthz/x", "/_/", "/metrics"):
        missing = found(router, f"GET {path}")
        assert isinstance(missing, HttpResponse)
        assert missing.status == 404
    assert found(router, "GET /healthzz") == ("ANY /{proxy+}", {"proxy": "healthzz"})


def test_engine_can_reserve_more() -> None:
    router = serve("GET /a")
    router.reserve(route("PUT /2017-10-31/functions/{name}/concurrency"))
    assert found(router, "PUT /2017-10-31/functions/f/concurrency") == (
        "PUT /2017-10-31/functions/{name}/concurrency",
        {"name": "f"},
    )
    with pytest.raises(ValueError, match="reserved for eventmesh"):
        router.add(route("GET /2017-10-31/mine"))
    with pytest.raises(ValueError, match="GET /a/x and GET /a cannot both"):
        router.reserve(route("GET /a/x"))
    with pytest.raises(ValueError, match="first segment must be fixed"):
        router.reserve(route("GET /{x}"))


def test_removed_route_is_gone_and_can_come_back() -> None:
    router = serve("GET /a/{x}", "POST /a/{x}")
    gone = route("GET /b")
    router.add(gone)
    router.remove(gone)
    router.remove(gone)
    assert isinstance(found(router, "GET /b"), HttpResponse)
    router.add(route("GET /b"))
    assert found(router, "GET /b") == ("GET /b", {})


def test_removing_does_not_take_anothers_route() -> None:
    router = serve("GET /a")
    other = HttpRoute("GET", "/a", _handler, lambda request: 1)
    router.remove(other)
    assert found(router, "GET /a") == ("GET /a", {})


_segments = st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=5)


@given(_segments)
def test_walk_agrees_with_trying_every_pattern(segments: list[str]) -> None:
    """The first pattern in order of precedence that matches as a regular expression."""
    patterns = ["/a/b", "/a/{x}", "/{x}/b", "/{x}/{y}", "/a/{r+}", "/{r+}"]
    path = "/" + "/".join(segments)
    expected = next(
        (
            pattern
            for pattern in ["/a/b", "/a/{x}", "/a/{r+}", "/{x}/b", "/{x}/{y}", "/{r+}"]
            if _as_regex(pattern).fullmatch(path)
        ),
        None,
    )
    result = found(serve(*(f"GET {p}" for p in patterns)), f"GET {path}")
    assert not isinstance(result, HttpResponse)
    assert result[0] == f"GET {expected}"


def _as_regex(pattern: str) -> re.Pattern[str]:
    rest = ".*" if pattern == "/{r+}" else ".+"
    return re.compile(re.sub(r"\{\w\}", "[^/]+", pattern.replace("{r+}", rest)))
