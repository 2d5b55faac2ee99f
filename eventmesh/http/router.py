"""Which route serves a request: by method and raw path, as sent, never decoded or normalised."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from eventmesh.http.responses import NOT_FOUND, describe
from eventmesh.messages import HttpResponse, HttpRoute

#: the methods HTTP APIs route; anything else is answered 405 before a route is looked for
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
ANY = "ANY"
#: first segments that only the engine serves: the Lambda API's versions, health, metrics, internals
RESERVED = frozenset(
    ("2014-11-13", "2015-03-31", "2021-11-15", "_", "healthz", "metrics", "readyz")
)
#: requests remembered with their route, and the longest path that is
REMEMBERED = 1024
REMEMBERED_PATH = 256
_is_literal = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+").fullmatch
_is_dots = re.compile(r"(?:\.|%2[eE]){1,2}").fullmatch
_match_parameter = re.compile(r"\{([A-Za-z0-9_.\-]+)(\+?)\}").fullmatch

#: method -> what serves it, with the names of its path parameters
_Methods = dict[str, tuple[HttpRoute, tuple[str, ...]]]


@dataclass(slots=True)
class _Node:
    """Where the segments so far lead: literal, one parameter, or a rest of any length."""

    literals: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    ends: _Methods = field(default_factory=dict)
    rests: _Methods = field(default_factory=dict)


class _Table:
    """Routes by path. Those without parameters are one lookup, the others a walk."""

    def __init__(self) -> None:
        self.exact: dict[str, _Methods] = {}
        self.root = _Node()

    def place(self, path: str) -> tuple[_Methods, tuple[str, ...]]:
        """The methods served at `path` (a new, empty one at first) and its parameters' names."""
        segments = path.split("/")[1:]
        parameters = [m for m in map(_match_parameter, segments) if m]
        if not parameters:
            return self.exact.setdefault(path, {}), ()
        names = tuple(m[1] for m in parameters)
        node = self.root
        for segment in segments:
            parameter = _match_parameter(segment)
            if parameter is None:
                node = node.literals.setdefault(segment, _Node())
            elif parameter[2]:
                return node.rests, names
            else:
                node.parameter = node.parameter or _Node()
                node = node.parameter
        return node.ends, names

    def candidates(self, path: str) -> Iterator[tuple[_Methods, tuple[str, ...]]]:
        """What serves `path` and its parameters' values, the most specific first."""
        if (methods := self.exact.get(path)) is not None:
            yield methods, ()
        yield from _walk(self.root, path.split("/"), 1, ())


class Router:
    """Routes by method and path; implements `HttpRoutes`.

    Of several that match, literal segments beat `{name}`, which beats `{name+}`, segment by segment
    from the left; at one path a method beats `ANY`. A trailing slash counts. `{name}` takes
    one segment that is not empty, `{name+}` the rest of the path; `ANY /{proxy+}` takes `/` too and
    so is the catch-all. Paths whose first segment is reserved are only looked for among the
    engine's own routes.
    """

    def __init__(self) -> None:
        self._public = _Table()
        self._own = _Table()
        self._reserved = set(RESERVED)
        self._served: list[HttpRoute] = []
        #: where recent requests went; forgotten at every change of routes
        self._recent: dict[tuple[str, str], tuple[HttpRoute, Mapping[str, str]]] = {}

    def add(self, route: HttpRoute) -> None:
        """Serve `route`. Raises ValueError for a path that cannot be served, is served already or
        is reserved."""
        _check(route)
        if _first_segment(route.path) in self._reserved:
            raise ValueError(f"{_name(route)} is reserved for eventmesh; choose another path")
        _insert(self._public, route)
        self._served.append(route)
        self._recent.clear()

    def reserve(self, route: HttpRoute) -> None:
        """Serve the engine's own `route` and keep its first segment from everybody else.

        Raises ValueError like `add`, also when that segment is a parameter or others serve it.
        """
        _check(route)
        first = _first_segment(route.path)
        if not first or _match_parameter(first):
            raise ValueError(f"{_name(route)} cannot be reserved: its first segment must be fixed")
        for other in self._served:
            if _first_segment(other.path) == first:
                raise ValueError(f"{_name(route)} and {_name(other)} cannot both be served")
        _insert(self._own, route)
        self._reserved.add(first)
        self._recent.clear()

    def remove(self, route: HttpRoute) -> None:
        """Stop serving `route`; nothing happens when it is not served."""
        for table in (self._public, self._own):
            methods, _ = table.place(route.path)
            if methods.get(route.method, (None,))[0] == route:
                del methods[route.method]
        if route in self._served:
            self._served.remove(route)
        self._recent.clear()

    def find(
        self, method: str, raw_path: str
    ) -> tuple[HttpRoute, Mapping[str, str]] | HttpResponse:
        """The route of a request and its path parameters as sent, or the 404 or 405 instead."""
        recent = self._recent.get((method, raw_path))
        if recent is not None:
            return recent
        found = self._look_up(method, raw_path)
        if not isinstance(found, HttpResponse) and len(raw_path) <= REMEMBERED_PATH:
            if len(self._recent) >= REMEMBERED:
                self._recent.clear()
            self._recent[method, raw_path] = found
        return found

    def _look_up(
        self, method: str, raw_path: str
    ) -> tuple[HttpRoute, Mapping[str, str]] | HttpResponse:
        own = _first_segment(raw_path) in self._reserved
        allowed: set[str] = set()
        for methods, values in (self._own if own else self._public).candidates(raw_path):
            served = methods.get(method) or methods.get(ANY)
            if served is not None:
                route, names = served
                return route, dict(zip(names, values, strict=True))
            allowed.update(methods)
        if not allowed:
            return NOT_FOUND
        return describe(405, "Method Not Allowed", ("Allow", ", ".join(sorted(allowed))))


def _walk(
    node: _Node, segments: list[str], index: int, values: tuple[str, ...]
) -> Iterator[tuple[_Methods, tuple[str, ...]]]:
    """Every node that takes `segments[index:]`; a node is met at most once, so this is bounded."""
    if index == len(segments):
        yield node.ends, values
        return
    segment = segments[index]
    if (literal := node.literals.get(segment)) is not None:
        yield from _walk(literal, segments, index + 1, values)
    if segment and node.parameter is not None:
        yield from _walk(node.parameter, segments, index + 1, (*values, segment))
    rest = "/".join(segments[index:])
    if node.rests and (rest or index == 1):
        yield node.rests, (*values, rest)


def _insert(table: _Table, route: HttpRoute) -> None:
    methods, names = table.place(route.path)
    if route.method in methods:
        other = methods[route.method][0]
        raise ValueError(f"{_name(route)} is already served as {_name(other)}; remove one of them")
    methods[route.method] = (route, names)


def _check(route: HttpRoute) -> None:
    if route.method != ANY and route.method not in METHODS:
        known = ", ".join((ANY, *METHODS))
        raise ValueError(f"{_name(route)}: the method must be one of {known}")
    if not route.path.startswith("/"):
        raise ValueError(f"{_name(route)}: the path must begin with /")
    segments = route.path.split("/")[1:]
    for segment in segments[:-1] if segments[-1] == "" else segments:
        _check_segment(route, segment)
    parameters = [m for m in map(_match_parameter, segments) if m]
    if any(m[2] for m in parameters[:-1]) or (parameters and not _may_end(segments, parameters)):
        raise ValueError(f"{_name(route)}: {{name+}} must be the last segment")
    if len({m[1] for m in parameters}) != len(parameters):
        raise ValueError(f"{_name(route)}: two path parameters have the same name")


def _may_end(segments: list[str], parameters: list[re.Match[str]]) -> bool:
    return not parameters[-1][2] or segments[-1] == parameters[-1][0]


def _check_segment(route: HttpRoute, segment: str) -> None:
    if segment == "":
        raise ValueError(f"{_name(route)}: the path has an empty segment (//)")
    if _is_dots(segment):
        raise ValueError(f"{_name(route)}: paths are not normalised, so {segment} never matches")
    if not _match_parameter(segment) and not _is_literal(segment):
        raise ValueError(
            f"{_name(route)}: segment {segment!r} must be literal (percent-encoded), {{name}} or"
            " a last {name+}"
        )


def _first_segment(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _name(route: HttpRoute) -> str:
    return f"{route.method} {route.path}"
