"""A real bucket as a destination: each payload is an object (semantics 2.3, 4.7)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson

from eventmesh.clock import Clock, SystemClock
from eventmesh.errors import DestinationError
from eventmesh_connectors.aws import AwsClient, open_client, translated
from eventmesh_connectors.s3.bucket_opening import check_bucket
from eventmesh_connectors.s3.options import S3DestinationOptions

_NAMESPACE = uuid.UUID("c6cf4f33-0d5c-4f9a-8f0c-6a7a6b0a7f0e")
_FUNCTION = re.compile(r":function:([^:]+)")
_UNSAFE = re.compile(r"[^A-Za-z0-9._=-]+")


class BucketDestination:
    """Puts payloads into a bucket. The same DeliveryId puts the same key."""

    def __init__(self, options: S3DestinationOptions, clock: Clock | None = None) -> None:
        self._options = options
        self._clock = clock or SystemClock()
        self._opening = asyncio.Lock()
        self._client: AwsClient | None = None

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        """Put `payload` as an object; returns once S3 has it. See `Destination`."""
        client = await self._open()
        bucket = self._options.address
        key = bucket.prefix + object_key(payload, attributes, self._clock.now())
        request: dict[str, Any] = {
            "Bucket": bucket.name,
            "Key": key,
            "Body": payload,
            "ContentType": "application/json",
        }
        metadata = _metadata(attributes)
        if metadata:
            request["Metadata"] = metadata
        with translated(f"cannot put {key} into bucket {bucket.name}", DestinationError):
            await client.api.put_object(**request)

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _open(self) -> AwsClient:
        async with self._opening:
            if self._client is None:
                self._client = await self._connect()
        return self._client

    async def _connect(self) -> AwsClient:
        name = self._options.address.name
        with translated(f"cannot open bucket {name}", DestinationError):
            client = await open_client("s3", self._options.access)
        try:
            await check_bucket(client, name, DestinationError)
        except BaseException:
            await client.close()
            raise
        return client


def object_key(payload: bytes, attributes: Mapping[str, str], now: float) -> str:
    """The key of a payload, as Lambda writes them.

    `aws/lambda/<mapping>/<shard>/<date>/<time>-<uuid>` for what a mapping gave up (semantics 4.7),
    `aws/lambda/async/<function>/<date>/<time>-<uuid>` for asynchronous invocations (semantics 2.3).
    Function and time are read from the record. A dead letter is the event alone, which tells
    neither: its key is `aws/lambda/async/dead-letters/<uuid>`.
    """
    function, time = _read_record(payload)
    delivery = attributes.get("DeliveryId") or attributes.get("RequestID") or str(uuid.uuid4())
    if mapping := attributes.get("Mapping"):
        folder = "/".join(_safe(part) for part in (mapping, attributes.get("Shard", "")) if part)
    else:
        folder = f"async/{_safe(function or 'dead-letters')}"
    moment = time or datetime.fromtimestamp(now, UTC)
    name = f"{uuid.uuid5(_NAMESPACE, delivery)}"
    if time is None:  # without a time of its own only the id makes the same key again
        return f"aws/lambda/{folder}/{name}"
    return f"aws/lambda/{folder}/{moment:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{name}"


def _read_record(payload: bytes) -> tuple[str | None, datetime | None]:
    """The function and the time that a destination record names."""
    try:
        record = orjson.loads(payload)
        context, stamp = record["requestContext"], record["timestamp"]
        match = _FUNCTION.search(context["functionArn"])
        return match[1] if match else None, datetime.fromisoformat(stamp).astimezone(UTC)
    except (ValueError, KeyError, TypeError):
        return None, None


def _safe(part: str) -> str:
    safe = _UNSAFE.sub("-", part)
    if safe == part and len(part) <= 128:
        return safe
    return f"{safe[:100]}-{hashlib.sha256(part.encode(errors='replace')).hexdigest()[:8]}"


def _metadata(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a dead letter as metadata; S3 takes ASCII only, so they are
    percent-encoded."""
    names = ("RequestID", "ErrorCode", "ErrorMessage")
    safe = " !#$&'()*+,/:;=?@[]"
    return {
        name.lower(): quote(attributes[name], safe=safe)[:1024]
        for name in names
        if attributes.get(name)
    }
