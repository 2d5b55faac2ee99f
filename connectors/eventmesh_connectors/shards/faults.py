"""What the errors of stream services mean to a reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from eventmesh.errors import PositionExpired
from eventmesh_connectors.aws import explain, translated
from eventmesh_connectors.shards.api import IteratorExpired, ShardGone, Throttled

_INVALID = frozenset({"InvalidArgumentException", "ValidationException", "SerializationException"})


@contextmanager
def signals(doing: str, invalid: type[Exception] | None = None) -> Iterator[None]:
    """Turn errors of AWS into those of `ShardApi`, the rest into SourceUnavailable. `invalid` is
    what it means that an argument is refused."""
    try:
        with translated(doing):
            yield
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, ClientError):
            _raise_signal(f"{doing}: {cause}", cause, invalid)
        raise


def _raise_signal(text: str, error: ClientError, invalid: type[Exception] | None) -> None:
    code = error.response.get("Error", {}).get("Code", "")
    if code == "ExpiredIteratorException":
        raise IteratorExpired(text) from error
    if code == "TrimmedDataAccessException":
        raise PositionExpired(text) from error
    if code == "ResourceNotFoundException":
        raise ShardGone(text) from error
    if code in _INVALID and invalid is not None:
        raise invalid(text) from error
    fault = explain(error)
    if fault is not None and fault.retry_after_seconds is not None:
        raise Throttled(text) from error


def answered_at(answer: Mapping[str, Any], now: float) -> float:
    """When the service answered, by its own clock, in whole seconds; `now` when it does not say."""
    text = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return now


def epoch_seconds(time: datetime | float | None) -> float:
    """A time of an answer; 0 when there is none."""
    if time is None:
        return 0.0
    return time.timestamp() if isinstance(time, datetime) else float(time)
