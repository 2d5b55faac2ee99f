"""Asynchronous invocations through the Lambda API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from tests.crash.adapters.contract import Site
from tests.crash.ledger import Answer
from tests.crash.oracle import Rules

ACCEPTED = 202
CONCURRENCY = 16


class HttpAsyncAdapter:
    rules = Rules(ordered=False, repeated_per_kill=CONCURRENCY, exact_failures=True)
    server: str | None = None
    durable = False
    units = 4
    backlog = 1000

    def __init__(self, site: Site) -> None:
        path = "/2015-03-31/functions/record/invocations"
        self._url = f"http://127.0.0.1:{site.port}{path}"
        self._session: aiohttp.ClientSession | None = None

    async def reset(self) -> Mapping[str, Any]:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10))
        return {}

    async def produce(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        answers = await asyncio.gather(*map(self._post, ids))
        if "ok" not in answers:
            await asyncio.sleep(0.03)
        return dict(zip(ids, answers, strict=True))

    async def _post(self, identifier: str) -> Answer:
        assert self._session is not None
        headers = {"X-Amz-Invocation-Type": "Event"}
        body = json.dumps({"id": identifier})
        try:
            async with self._session.post(self._url, data=body, headers=headers) as reply:
                return "ok" if reply.status == ACCEPTED else "fail"
        except aiohttp.ClientConnectorError:
            return "fail"
        except (aiohttp.ClientError, OSError, TimeoutError):
            return "unknown"

    def failed(self, record: Mapping[str, Any]) -> Sequence[str]:
        return [record["requestPayload"]["id"]]

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
