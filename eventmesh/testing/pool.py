"""An environment pool without processes: handlers are plain Python callables, results are what
they return or raise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from eventmesh.connectors import InvocationResult
from eventmesh.environments.contract import InvocationRequest
from eventmesh.functions.function import Function

#: takes the decoded event; returns the result, raises to fail, or returns an awaitable of either
FakeHandler = Callable[[Any], Any]


class FakePool:
    """An `EnvironmentPool` for tests. `requests` records every attempt in order."""

    def __init__(self, handlers: Mapping[str, FakeHandler]) -> None:
        self._handlers = handlers
        self.requests: list[tuple[str, InvocationRequest]] = []

    async def invoke(self, function: Function, request: InvocationRequest) -> InvocationResult:
        self.requests.append((function.name, request))
        try:
            value = self._handlers[function.name](json.loads(request.event))
            if asyncio.iscoroutine(value):
                value = await value
        except Exception as error:
            return _failure(function, request, error)
        payload = json.dumps(value).encode()
        return InvocationResult(request.request_id, payload, function.version)

    async def provision(self, function: Function) -> None:
        return None

    async def retire(self, function: Function) -> None:
        return None

    async def close(self) -> None:
        return None


def _failure(function: Function, request: InvocationRequest, error: Exception) -> InvocationResult:
    name, message = type(error).__name__, str(error)
    body = {"errorMessage": message, "errorType": name, "requestId": request.request_id}
    return InvocationResult(
        request.request_id,
        json.dumps(body | {"stackTrace": []}).encode(),
        function.version,
        function_error="Unhandled",
        error_type=name,
        error_message=message,
    )
