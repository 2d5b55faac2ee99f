"""Shipped for tests, ours and yours: a fake clock, in-memory parts, contract suites. The engine
never imports it."""

from eventmesh.testing.clock import FakeClock

__all__ = ["FakeClock"]
