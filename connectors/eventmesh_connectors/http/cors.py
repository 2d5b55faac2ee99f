"""Cross-origin requests of browsers: preflights answered without the handler, and the headers of
every other answer. The settings win over what the handler says (semantics 8.5)."""

from __future__ import annotations

from eventmesh.messages import HttpRequest, HttpResponse

from .options import CorsOptions


def is_preflight(request: HttpRequest) -> bool:
    """Whether a browser asks beforehand if it may send a request."""
    return (
        request.method == "OPTIONS"
        and request.header("origin") is not None
        and request.header("access-control-request-method") is not None
    )


class CorsPolicy:
    """One mapping's settings as headers."""

    def __init__(self, options: CorsOptions) -> None:
        self._origins = frozenset(origin.lower() for origin in options.allow_origins)
        self._methods = ",".join(options.allow_methods).upper()
        self._headers = ",".join(options.allow_headers)
        self._credentials = options.allow_credentials
        self._exposed = ",".join(options.expose_headers)
        self._max_age = None if options.max_age is None else str(int(options.max_age))

    def answer_preflight(self, request: HttpRequest) -> HttpResponse:
        """204, with permissions only for an origin that is allowed."""
        headers = self._allowed_origin(request)
        if headers:
            headers += [
                ("access-control-allow-methods", self._name_methods(request)),
                ("access-control-allow-headers", self._name_headers(request)),
            ]
            if self._max_age is not None:
                headers.append(("access-control-max-age", self._max_age))
        return HttpResponse(204, b"", [*headers, *self._vary()])

    def apply(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """`response` with our cross-origin headers in place of the handler's."""
        kept = [
            line for line in response.headers if not line[0].lower().startswith("access-control-")
        ]
        headers = self._allowed_origin(request)
        if headers and self._exposed:
            headers.append(("access-control-expose-headers", self._exposed))
        return HttpResponse(response.status, response.body, [*kept, *headers, *self._vary()])

    def _allowed_origin(self, request: HttpRequest) -> list[tuple[str, str]]:
        origin = request.header("origin")
        if origin is None or not (self._origins & {"*", origin.lower()}):
            return []
        shown = "*" if "*" in self._origins else origin
        headers = [("access-control-allow-origin", shown)]
        if self._credentials:
            headers.append(("access-control-allow-credentials", "true"))
        return headers

    def _name_methods(self, request: HttpRequest) -> str:
        if self._credentials and self._methods == "*":
            return request.header("access-control-request-method") or ""
        return self._methods

    def _name_headers(self, request: HttpRequest) -> str:
        """A browser takes `*` for all but `Authorization`, so what it asks for is named."""
        if self._headers == "*":
            return request.header("access-control-request-headers") or "*"
        return self._headers

    def _vary(self) -> list[tuple[str, str]]:
        return [] if "*" in self._origins else [("vary", "Origin")]
