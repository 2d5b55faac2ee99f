"""The event as handlers see it, made by the writer that makes the real ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from .events import EventWriter, rule_arn

_REGION, _ACCOUNT = "us-east-1", "000000000000"


def _sample() -> Any:
    arn = rule_arn(
        region=_REGION,
        account_id=_ACCOUNT,
        function="report",
        mapping="report/schedule:cron(0 6 ? * MON-FRI *)",
        expression="cron(0 6 ? * MON-FRI *)",
    )
    event = EventWriter(arn, region=_REGION, account_id=_ACCOUNT).write(
        datetime(2026, 3, 23, 6, tzinfo=UTC)
    )
    # the same id every time, so that what is printed can be compared
    return {**orjson.loads(event), "id": "89d1a02d-5ec7-412e-82f5-13505f849b41"}


SAMPLE_EVENTS = {"schedule": _sample()}
