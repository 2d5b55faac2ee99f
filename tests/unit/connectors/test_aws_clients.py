"""Clients are shared by all who ask for the same, and closed by the last."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from eventmesh_connectors.aws import AwsAccess, clients, open_client

ACCESS = AwsAccess("http://localhost:4566", "eu-west-1")


class Connecting:
    """Stands in for connecting; counts clients opened and closed."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed = 0
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.error: Exception | None = None

    async def __call__(self, key: Any) -> tuple[Any, AsyncExitStack]:
        await self.may_go.wait()
        if self.error is not None:
            raise self.error
        self.opened.append(key.service)
        stack = AsyncExitStack()
        stack.callback(self._close)
        meta = SimpleNamespace(region_name="eu-west-1", endpoint_url="http://localhost:4566")
        return SimpleNamespace(meta=meta), stack

    def _close(self) -> None:
        self.closed += 1


@pytest.fixture
def connecting(monkeypatch: pytest.MonkeyPatch) -> Connecting:
    connecting = Connecting()
    monkeypatch.setattr(clients, "_connect", connecting)
    return connecting


async def test_the_same_is_opened_once_and_closed_by_the_last(connecting: Connecting) -> None:
    one, two = await asyncio.gather(open_client("sqs", ACCESS), open_client("sqs", ACCESS))
    assert one.api is two.api
    assert (one.region, one.endpoint_url) == ("eu-west-1", "http://localhost:4566")
    other = await open_client("sns", ACCESS)
    assert other.api is not one.api
    assert connecting.opened == ["sqs", "sns"]
    await one.close()
    await one.close()  # twice is once
    assert connecting.closed == 0
    await two.close()
    assert connecting.closed == 1
    again = await open_client("sqs", ACCESS)
    assert connecting.opened == ["sqs", "sns", "sqs"]
    await again.close()
    await other.close()
    assert connecting.closed == 3


async def test_a_failure_is_told_to_all_and_forgotten(connecting: Connecting) -> None:
    connecting.error = OSError("down")
    found = await asyncio.gather(
        open_client("sqs", ACCESS), open_client("sqs", ACCESS), return_exceptions=True
    )
    assert found == [connecting.error, connecting.error]
    connecting.error = None
    client = await open_client("sqs", ACCESS)
    assert connecting.opened == ["sqs"]
    await client.close()


async def test_one_who_gives_up_takes_nothing_from_the_others(connecting: Connecting) -> None:
    connecting.may_go.clear()
    patient, hasty = (asyncio.ensure_future(open_client("sqs", ACCESS)) for _ in range(2))
    await asyncio.sleep(0)
    hasty.cancel()
    await asyncio.gather(hasty, return_exceptions=True)
    connecting.may_go.set()
    client = await patient
    await client.close()
    assert (connecting.opened, connecting.closed) == (["sqs"], 1)


async def test_a_client_nobody_waits_for_any_more_is_not_opened(connecting: Connecting) -> None:
    connecting.may_go.clear()
    waiting = asyncio.ensure_future(open_client("sqs", ACCESS))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    connecting.may_go.set()
    await asyncio.sleep(0)
    assert connecting.opened == []


def test_emulators_are_spoken_to_by_path_and_without_checksums() -> None:
    emulated = clients._configuration("http://localhost:4566")
    assert emulated["s3"] == {"addressing_style": "path"}
    assert emulated["request_checksum_calculation"] == "when_required"
    plain = clients._configuration(None)
    assert "s3" not in plain
    assert plain["read_timeout"] > 20
