"""Clients of AWS services, one for all who ask for the same on one event loop.

aiobotocore has no types; it is imported here and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from eventmesh_connectors.aws_access import AwsAccess, is_emulator

_CONNECT_TIMEOUT_SECONDS = 5
#: longer than the longest long poll (20 s)
_READ_TIMEOUT_SECONDS = 40
_MOST_CONNECTIONS = 500
_MOST_ATTEMPTS = 3
_FALLBACK_REGION = "us-east-1"
#: emulators check no signature; every tutorial uses these
_EMULATOR_CREDENTIALS = ("test", "test")


@dataclass(frozen=True, slots=True)
class _Key:
    service: str
    access: AwsAccess
    default_region: str


class _Shared:
    """A client being connected or connected, and how many hold it."""

    def __init__(self, connecting: asyncio.Task[Any]) -> None:
        self.connecting = connecting
        self.holders = 0

    async def close(self) -> None:
        """Close the client, or give up connecting."""
        connecting = self.connecting
        connecting.cancel()
        if connecting.done() and not connecting.cancelled() and connecting.exception() is None:
            await connecting.result()[1].aclose()


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, _Shared]] = WeakKeyDictionary()


class AwsClient:
    """One holder's part in a client. `api` is botocore's client, its methods are coroutines."""

    def __init__(self, key: _Key, api: Any) -> None:
        self._key: _Key | None = key
        self.api = api
        self.region: str = api.meta.region_name
        self.endpoint_url: str = api.meta.endpoint_url

    async def close(self) -> None:
        """Give the client back; the last to do so closes its connections. May be called twice."""
        key, self._key = self._key, None
        if key is not None:
            await _release(key)


async def open_client(
    service: str, access: AwsAccess, default_region: str = _FALLBACK_REGION
) -> AwsClient:
    """A client of `service` ("sqs", "s3", ...), shared on this event loop with all who ask for
    the same. Reads AWS's configuration files in a thread; no request is sent.

    `default_region` applies where neither settings, environment nor profile name one. Where the
    endpoint is not AWS's own, no credentials are needed. Raises botocore's errors, as
    `ProfileNotFound`; use it inside `translated`.
    """
    key = _Key(service, access, default_region)
    clients = _shared.setdefault(asyncio.get_running_loop(), {})
    shared = clients.get(key)
    if shared is None:
        shared = clients[key] = _Shared(asyncio.ensure_future(_connect(key)))
    shared.holders += 1
    try:
        api, _ = await asyncio.shield(shared.connecting)
    except BaseException:
        await _release(key)
        raise
    return AwsClient(key, api)


async def _release(key: _Key) -> None:
    clients = _shared[asyncio.get_running_loop()]
    shared = clients[key]
    shared.holders -= 1
    if shared.holders:
        return
    del clients[key]
    await shared.close()


async def _connect(key: _Key) -> tuple[Any, AsyncExitStack]:
    endpoint = key.access.endpoint_of(key.service, os.environ)
    session, region = await asyncio.to_thread(_build_session, key)
    if is_emulator(endpoint):
        await _fill_in_credentials(session)
    async with AsyncExitStack() as stack:
        client = session.create_client(
            key.service,
            region_name=region,
            endpoint_url=endpoint,
            config=AioConfig(**_configuration(endpoint)),
        )
        return await stack.enter_async_context(client), stack.pop_all()


def _build_session(key: _Key) -> tuple[Any, str]:
    """A session and its region. Reads ~/.aws/config and ~/.aws/credentials."""
    session = AioSession(profile=key.access.profile)
    configured = session.get_config_variable("region")
    region = key.access.region or os.environ.get("AWS_REGION") or configured or key.default_region
    _ = session.full_config
    return session, region


async def _fill_in_credentials(session: Any) -> None:
    """Let an emulator be used without credentials: it checks none."""
    # asking EC2's metadata service takes a second where there is none
    session.get_component("credential_provider").remove("iam-role")
    if await session.get_credentials() is None:
        session.set_credentials(*_EMULATOR_CREDENTIALS)


def _configuration(endpoint: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
        "read_timeout": _READ_TIMEOUT_SECONDS,
        "max_pool_connections": _MOST_CONNECTIONS,
        "retries": {"mode": "standard", "total_max_attempts": _MOST_ATTEMPTS},
        "tcp_keepalive": True,
        "warm_up_loader_caches": True,
        # what is sent is built here, and checked by the service
        "parameter_validation": False,
    }
    if is_emulator(endpoint):
        settings["s3"] = {"addressing_style": "path"}
        settings["request_checksum_calculation"] = "when_required"
        settings["response_checksum_validation"] = "when_required"
    return settings
