"""A directory as a bucket: each id a file of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

from tests.crash.adapters.contract import Site
from tests.crash.ledger import Answer
from tests.crash.oracle import Rules

CONCURRENCY = 16


class DirectoryAdapter:
    rules = Rules(ordered=False, repeated_per_kill=CONCURRENCY, exact_failures=True)
    server: str | None = None
    durable = False
    units = 4
    backlog = 1000

    def __init__(self, site: Site) -> None:
        self._bucket = site.directory / "bucket"
        self._aside = site.directory / "aside"
        self._random = site.random

    async def reset(self) -> Mapping[str, Any]:
        self._bucket.mkdir()
        self._aside.mkdir()
        return {"s3": {"bucket": str(self._bucket), "events": "s3:ObjectCreated:*"}}

    async def produce(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        await asyncio.to_thread(self._write, ids)
        await asyncio.sleep(0.01)
        return dict.fromkeys(ids, "ok")

    def _write(self, ids: Sequence[str]) -> None:
        """Half of them in place, half renamed into the bucket."""
        for identifier in ids:
            target = self._bucket / identifier
            if self._random.random() < 0.5:
                target.write_text(identifier)
            else:
                aside = self._aside / identifier
                aside.write_text(identifier)
                aside.rename(target)

    def failed(self, record: Mapping[str, Any]) -> Sequence[str]:
        records = record["requestPayload"]["Records"]
        return [unquote_plus(item["s3"]["object"]["key"]) for item in records]

    async def close(self) -> None:
        return None
