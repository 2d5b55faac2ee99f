"""The push source: routes on the engine's HTTP server that run the function."""

from __future__ import annotations

import asyncio
import uuid
from hashlib import sha256

from eventmesh.connectors import InvocationResult, SourceContext, Target
from eventmesh.errors import ConnectorError, EventMeshError, RequestTooLarge, TooManyRequests
from eventmesh.messages import HttpRequest, HttpResponse, HttpRoute

from .authentication import DUPLICATE, FORBIDDEN, UNAUTHORIZED, ApiKeys, WebhookGuard
from .cors import CorsPolicy, is_preflight
from .exchange import Arrival, RouteFacts
from .formats import FORMATS
from .options import DEFAULT_PATH, MAXIMUM_EVENT_BYTES, HttpOptions, split_parameters
from .responses import MalformedResponse, answer

_UPGRADE_REFUSED = answer(400, b'{"message":"WebSocket upgrades are not served here"}')


class HttpSource:
    """One mapping's route. Requests are independent of each other and run concurrently."""

    def __init__(self, options: HttpOptions, context: SourceContext) -> None:
        self._options = options
        self._context = context
        self._format = FORMATS[options.format]
        self._facts = describe_route(options, context)
        self._keys = ApiKeys(key.get_secret_value() for key in options.api_keys)
        self._webhook = WebhookGuard(options.webhook) if options.webhook else None
        self._cors = CorsPolicy(options.cors) if options.cors else None
        self._maximum_body = largest_body(options)
        self._timeout = options.timeout or self._format.timeout_seconds
        #: invocations whose caller was told of a timeout; they run on, as they do on AWS
        self._late: set[asyncio.Task[InvocationResult]] = set()
        self._target: Target | None = None

    async def run(self, target: Target) -> None:
        """Serve the route until cancelled; requests already inside it go on.

        Raises ConnectorError when another mapping, or the engine, serves that path already.
        """
        self._target = target
        served: list[HttpRoute] = []
        try:
            for method, path in self._options.served_routes:
                route = HttpRoute(method, path, self.handle, self.admit)
                self._add(route)
                served.append(route)
            served += self._add_preflights()
            self._context.announce(f"listening, payload {self._format.name}")
            await asyncio.Event().wait()
        finally:
            for route in served:
                self._context.routes.remove(route)

    def _add(self, route: HttpRoute) -> None:
        try:
            self._context.routes.add(route)
        except ValueError as error:
            raise ConnectorError(
                f"mapping {self._context.mapping} cannot serve {self._options.resource}: {error}. "
                "Give one of them another path or method in mappings.yaml"
            ) from error

    def _add_preflights(self) -> list[HttpRoute]:
        """OPTIONS beside a route of one method. Where another mapping answers it already, that
        one's `cors` counts."""
        if self._cors is None or self._options.method in ("ANY", "OPTIONS"):
            return []
        added = []
        for _, path in self._options.served_routes:
            route = HttpRoute("OPTIONS", path, self._handle_preflight, self.admit)
            try:
                self._context.routes.add(route)
            except ValueError:
                self._context.log.info("OPTIONS %s is answered by another mapping", path)
            else:
                added.append(route)
        return added

    def admit(self, request: HttpRequest) -> int | HttpResponse:
        """What can be decided before the body is read: keys and declared length. Never waits."""
        if self._cors is not None and is_preflight(request):
            return self._maximum_body
        refusal = self._refuse_early(request)
        return self._maximum_body if refusal is None else self._share(request, refusal)

    def _refuse_early(self, request: HttpRequest) -> HttpResponse | None:
        if self._keys and not self._keys.allow(request.header("x-api-key")):
            return FORBIDDEN
        if (request.header("upgrade") or "").lower() == "websocket":
            return _UPGRADE_REFUSED
        length = request.header("content-length") or "0"
        if (
            length.isascii()
            and length.isdecimal()
            and len(length) < 19
            and int(length) <= self._maximum_body
        ):
            return None
        return self._format.answers.too_large

    async def _handle_preflight(self, request: HttpRequest) -> HttpResponse:
        assert self._cors is not None, "registered only with cors"
        return self._cors.answer_preflight(request)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request; waits for the handler or for the store. May be cancelled."""
        if self._cors is None:
            return await self._answer(request)
        if is_preflight(request):
            return self._cors.answer_preflight(request)
        return self._cors.apply(request, await self._answer(request))

    def _share(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        return response if self._cors is None else self._cors.apply(request, response)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        arrival = Arrival(self._context.clock.now(), str(uuid.uuid4()))
        if self._webhook is None:
            return await self._deliver(request, arrival)
        fault = self._webhook.find_fault(request, arrival.now)
        if fault is not None:
            self._context.log.warning("%s: refused a webhook: %s", self._context.mapping, fault)
            return UNAUTHORIZED
        greeting = self._webhook.greet(request)
        return greeting or await self._deliver_once(self._webhook, request, arrival)

    async def _deliver_once(
        self, webhook: WebhookGuard, request: HttpRequest, arrival: Arrival
    ) -> HttpResponse:
        if not webhook.take(request, arrival.now):
            return DUPLICATE
        taken = False
        try:
            response = await self._deliver(request, arrival)
            taken = response.status < 400
            return response
        finally:
            if not taken:
                webhook.forget(request)

    async def _deliver(self, request: HttpRequest, arrival: Arrival) -> HttpResponse:
        event = self._format.build_event(request, self._facts, arrival)
        if self._options.invocation == "event":
            return await self._enqueue(event)
        return await self._invoke(event, request, arrival)

    async def _enqueue(self, event: bytes) -> HttpResponse:
        answers = self._format.answers
        if len(event) > MAXIMUM_EVENT_BYTES:
            return answers.too_large
        assert self._target is not None, "routes are added by run"
        try:
            (request_id,) = await self._target.enqueue([event], synced=True)
        except EventMeshError as error:
            self._context.log.warning("%s: not accepted: %s", self._context.mapping, error)
            return answers.too_large if isinstance(error, RequestTooLarge) else answers.unavailable
        return answer(202, b"{}", x_amzn_RequestId=request_id)

    async def _invoke(self, event: bytes, request: HttpRequest, arrival: Arrival) -> HttpResponse:
        try:
            result = await self._run_in_time(event)
        except EventMeshError as error:
            return self._identify(self._answer_refusal(error), arrival.request_id)
        except TimeoutError:
            return self._identify(self._format.answers.timed_out, arrival.request_id)
        response = self._read_result(result, request, arrival)
        named = result.request_id if self._format.invocation_id else arrival.request_id
        return self._identify(response, named)

    def _read_result(
        self, result: InvocationResult, request: HttpRequest, arrival: Arrival
    ) -> HttpResponse:
        if result.function_error is not None:
            return self._format.answers.failed
        try:
            return self._format.map_response(result, request, self._facts, arrival)
        except MalformedResponse as error:
            self._context.log.warning(
                "%s: invocation %s: the handler's result is no response: %s",
                self._context.mapping,
                result.request_id,
                error,
            )
            return self._format.answers.malformed

    def _answer_refusal(self, error: EventMeshError) -> HttpResponse:
        answers = self._format.answers
        if isinstance(error, TooManyRequests):
            return answers.throttled
        if isinstance(error, RequestTooLarge):
            return answers.too_large
        self._context.log.warning("%s: not invoked: %s", self._context.mapping, error)
        return answers.rejected

    def _identify(self, response: HttpResponse, request_id: str) -> HttpResponse:
        name = self._format.request_id_header
        if name is None:
            return response
        return HttpResponse(response.status, response.body, [*response.headers, (name, request_id)])

    async def _run_in_time(self, event: bytes) -> InvocationResult:
        """The handler's result. Raises TimeoutError when the caller has waited long enough."""
        assert self._target is not None, "routes are added by run"
        if self._timeout is None:
            return await self._target.invoke(event)
        task = asyncio.create_task(self._invoke_target(self._target, event))
        done = asyncio.Event()
        task.add_done_callback(lambda _: done.set())
        try:
            in_time = await self._context.clock.wait(done, self._timeout)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        if in_time:
            return task.result()
        self._late.add(task)
        task.add_done_callback(self._drop_late)
        raise TimeoutError

    @staticmethod
    async def _invoke_target(target: Target, event: bytes) -> InvocationResult:
        return await target.invoke(event)

    def _drop_late(self, task: asyncio.Task[InvocationResult]) -> None:
        self._late.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._context.log.warning("%s: a late invocation: %s", self._context.mapping, error)


def largest_body(options: HttpOptions) -> int:
    """The setting, or the format's own limit; at most 1 MB for an asynchronous event."""
    largest = options.maximum_body
    if largest is None:
        largest = FORMATS[options.format].maximum_body
    return min(largest, MAXIMUM_EVENT_BYTES) if options.invocation == "event" else largest


def describe_route(options: HttpOptions, context: SourceContext) -> RouteFacts:
    """What every event of a mapping says about its route."""
    names, greedy = ((), None) if options.path == DEFAULT_PATH else split_parameters(options.path)
    return RouteFacts(
        method=options.method,
        path=options.path,
        parameters=names,
        greedy=greedy,
        region=context.region,
        account_id=context.account_id,
        function_name=context.function_name,
        api_id=sha256(context.mapping.encode()).hexdigest()[:10],
        stage=options.stage,
        stage_variables=options.stage_variables,
        binary_media_types=options.binary_media_types,
        multi_value_headers=options.multi_value_headers,
    )
