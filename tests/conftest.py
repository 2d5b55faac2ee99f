"""Fixtures every test may use. A test that blocks the event loop fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from eventmesh.testing import FakeClock


@pytest.fixture(autouse=True)
def blockbuster(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    if request.node.get_closest_marker("may_block"):
        yield None
        return
    with blockbuster_ctx("eventmesh") as guard:
        yield guard


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
