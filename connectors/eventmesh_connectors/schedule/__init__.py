"""Schedules: functions run by the clock, with AWS's cron, rate and at expressions (semantics
8.3)."""

from __future__ import annotations

from eventmesh.connectors import Connector

from .options import ScheduleOptions
from .samples import SAMPLE_EVENTS
from .source import ScheduleSource

connector = Connector(
    summary="A clock: AWS's cron, rate and at expressions",
    source_options=ScheduleOptions,
    source=ScheduleSource,
    sample_events=SAMPLE_EVENTS,
)

__all__ = ["ScheduleOptions", "ScheduleSource", "connector"]
