"""`POST /2015-03-31/functions/NAME/invocations`: what `boto3.client("lambda").invoke(...)` calls
(semantics 1.1-1.5)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from urllib.parse import parse_qs, unquote

import orjson

from eventmesh.api.replies import JSON, error_reply, refuse_strangers
from eventmesh.clock import Clock
from eventmesh.connectors import InvocationResult
from eventmesh.errors import (
    InvalidRequestContent,
    InvocationError,
    RequestTooLarge,
    ServiceError,
    StateError,
    UnsupportedMediaType,
    ValidationFailed,
)
from eventmesh.functions.catalog import FunctionCatalog
from eventmesh.functions.names import FunctionReference, parse_reference
from eventmesh.invocation.asynchronous import AsyncQueue
from eventmesh.invocation.events import check_event
from eventmesh.invocation.invoker import Call, Invoker, new_request_id
from eventmesh.messages import HttpRequest, HttpResponse, HttpRoute
from eventmesh.state.contract import QueuedEvent

SYNCHRONOUS_BYTES = 6 * 1024 * 1024
ASYNCHRONOUS_BYTES = 1024 * 1024
_LONGEST_CLIENT_CONTEXT = 3583
_TYPES = ("Event", "RequestResponse", "DryRun")
_LOG_TYPES = ("None", "Tail")


class InvocationsApi:
    """The invoke operation. One request, one invocation."""

    def __init__(
        self, catalog: FunctionCatalog, invoker: Invoker, queue: AsyncQueue, clock: Clock
    ) -> None:
        self._catalog = catalog
        self._invoker = invoker
        self._queue = queue
        self._clock = clock

    def routes(self) -> Sequence[HttpRoute]:
        path = "/2015-03-31/functions/{FunctionName}/invocations"
        return (HttpRoute("POST", path, self.handle, admit),)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one invoke request. Waits for the handler, or for the disk when asynchronous."""
        request_id = new_request_id()
        try:
            return await self._answer(request, request_id)
        except InvocationError as error:
            return error_reply(error, request_id)
        except StateError as error:
            return error_reply(ServiceError(f"the event was not stored: {error}"), request_id)

    async def _answer(self, request: HttpRequest, request_id: str) -> HttpResponse:
        reference = _reference(request)
        kind = _choice(
            request, "x-amz-invocation-type", "invocationType", _TYPES, "RequestResponse"
        )
        log_type = _choice(request, "x-amz-log-type", "logType", _LOG_TYPES, "None")
        client_context = _client_context(request)
        self._catalog.resolve(reference)
        event = await check_event(request.body)
        if kind == "DryRun":
            return HttpResponse(204, b"", [("x-amzn-RequestId", request_id)])
        if kind == "Event":
            return await self._accept(reference, event, request_id)
        result = await self._invoker.invoke(
            Call(
                reference.name,
                event,
                reference.qualifier,
                request_id,
                client_context=client_context,
                trace_id=request.header("x-amzn-trace-id"),
            )
        )
        return _reply(result, tail=log_type == "Tail")

    async def _accept(
        self, reference: FunctionReference, event: bytes, request_id: str
    ) -> HttpResponse:
        now = self._clock.now()
        row = QueuedEvent(
            request_id, reference.name, event, now, now, qualifier=reference.qualifier
        )
        await self._queue.accept([row])
        return HttpResponse(202, b"", [("x-amzn-RequestId", request_id)])


def admit(request: HttpRequest) -> int | HttpResponse:
    """Before the body is read: callers from elsewhere, and bodies too large for the invocation
    type."""
    stranger = refuse_strangers(request)
    if stranger is not None:
        return error_reply(stranger, new_request_id())
    content_type = request.header("content-type") or ""
    if content_type.lower().startswith("multipart/"):
        refusal = UnsupportedMediaType(f"send the event as JSON, not as {content_type[:80]}")
        return error_reply(refusal, new_request_id())
    asynchronous = request.header("x-amz-invocation-type") == "Event"
    limit = ASYNCHRONOUS_BYTES if asynchronous else SYNCHRONOUS_BYTES
    length = request.header("content-length") or "0"
    if length.isdigit() and int(length) > limit:
        text = f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
        return error_reply(RequestTooLarge(text), new_request_id())
    return limit


def _reference(request: HttpRequest) -> FunctionReference:
    name = request.path_parameters["FunctionName"]
    if "%" in name:
        name = unquote(name)
    if not request.raw_query:
        return parse_reference(name)
    qualifier = parse_qs(request.raw_query).get("Qualifier", [None])[0]
    return parse_reference(name, qualifier)


def _choice(
    request: HttpRequest, header: str, field: str, allowed: tuple[str, ...], default: str
) -> str:
    value = request.header(header)
    if value is None:
        return default
    if value not in allowed:
        raise ValidationFailed(
            f"1 validation error detected: Value '{value[:80]}' at '{field}' failed to satisfy "
            f"constraint: Member must satisfy enum value set: [{', '.join(allowed)}]"
        )
    return value


def _client_context(request: HttpRequest) -> str | None:
    """The decoded client context: a JSON object. Raises InvalidRequestContent."""
    encoded = request.header("x-amz-client-context")
    if encoded is None:
        return None
    try:
        if len(encoded) > _LONGEST_CLIENT_CONTEXT:
            raise ValueError(f"longer than {_LONGEST_CLIENT_CONTEXT} bytes")
        text = base64.b64decode(encoded, validate=True)
        if not isinstance(orjson.loads(text), dict):
            raise ValueError("not an object")
        return text.decode()
    except (ValueError, binascii.Error) as error:
        raise InvalidRequestContent(
            f"Client context must be a valid Base64-encoded JSON object: {error}"
        ) from None


def _reply(result: InvocationResult, *, tail: bool) -> HttpResponse:
    headers = [
        JSON,
        ("x-amzn-RequestId", result.request_id),
        ("X-Amz-Executed-Version", result.executed_version),
    ]
    if result.function_error is not None:
        headers.append(("X-Amz-Function-Error", result.function_error))
    if tail:
        headers.append(("X-Amz-Log-Result", base64.b64encode(result.log_tail).decode()))
    return HttpResponse(200, result.payload, headers)
