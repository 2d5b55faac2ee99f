"""The state of a configuration, opened beside whatever engine runs on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from eventmesh.cli.loading import fail
from eventmesh.errors import EventMeshError

if TYPE_CHECKING:
    from eventmesh.config.loader import LoadedConfig
    from eventmesh.state.contract import Store

T = TypeVar("T")


def with_store(config: LoadedConfig, work: Callable[[Store], Awaitable[T]]) -> T | None:
    """What `work` gives for the state of `config`; None when there is no state yet."""
    import asyncio

    from eventmesh.clock import SystemClock
    from eventmesh.state.opening import STATE_FILE
    from eventmesh.state.sqlite import open_sqlite

    async def run() -> T | None:
        if not (config.state_directory / STATE_FILE).exists():
            return None
        store = await open_sqlite(config.state_directory, SystemClock(), exclusive=False)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except (EventMeshError, OSError) as error:
        fail(error)
