"""What one request and its route have to say to a payload format, and what a format has to offer.

A format is four things: how the event is built, how the handler's result is read, what its service
answers when things go wrong, and its limits. All of it is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from eventmesh.connectors import InvocationResult
from eventmesh.messages import HttpRequest, HttpResponse


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """What is the same for every request of one mapping. `path` is the pattern as configured;
    `greedy` names its trailing `{name+}`, None without one."""

    method: str
    path: str
    parameters: tuple[str, ...] = ()
    greedy: str | None = None
    region: str = "us-east-1"
    account_id: str = "000000000000"
    function_name: str = ""
    #: ten characters that stay the same for a mapping, in place of AWS's API id or URL id
    api_id: str = "0000000000"
    stage: str = "$default"
    stage_variables: Mapping[str, str] = field(default_factory=dict)
    binary_media_types: tuple[str, ...] = ()
    multi_value_headers: bool = False

    @property
    def route_key(self) -> str:
        """`GET /thumbs/{name}`, or `$default`."""
        return self.path if self.path == "$default" else f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a request came in (epoch seconds) and the id it was given (a UUID)."""

    now: float
    request_id: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What a service answers when the handler's result is not what the caller gets."""

    #: the handler raised, timed out or died
    failed: HttpResponse
    #: the handler's result is not a response in this format
    malformed: HttpResponse
    #: Lambda refused the invocation
    rejected: HttpResponse
    #: Lambda refused it because too many run already
    throttled: HttpResponse
    too_large: HttpResponse
    #: the integration took longer than the mapping's `timeout`
    timed_out: HttpResponse
    #: nothing could be stored, or the engine is stopping
    unavailable: HttpResponse


BuildEvent = Callable[[HttpRequest, RouteFacts, Arrival], bytes]
#: raises MalformedResponse; only asked about results without a function error
MapResponse = Callable[[InvocationResult, HttpRequest, RouteFacts, Arrival], HttpResponse]


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """One way AWS brings an HTTP request to a function and its result back."""

    name: str
    build_event: BuildEvent
    map_response: MapResponse
    answers: Answers
    #: names the header that carries an id on every answer, and whether it is the invocation's
    #: (else the request's)
    request_id_header: str | None
    invocation_id: bool
    maximum_body: int
    #: None: only the function's own timeout counts
    timeout_seconds: float | None
