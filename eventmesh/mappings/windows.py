"""Tumbling windows: aggregation with state over records that arrived in the same stretch of time
(semantics 4.6).

Pure. Boundaries are multiples of the window's length since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from eventmesh.records import Record

LARGEST_STATE_BYTES = 1024 * 1024
#: without new records a window is over so long after its end, at most
LONGEST_IDLE_SECONDS = 120.0
#: room in the event for the window's fields, besides the state
FIELDS_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Window:
    """An open window of one shard. `state` is the JSON the handler returned last."""

    start: float
    length: float
    state: bytes = b"{}"
    source_arn: str = ""

    @property
    def end(self) -> float:
        return self.start + self.length

    @property
    def is_too_large(self) -> bool:
        """Its state passed the limit: it ends early."""
        return len(self.state) > LARGEST_STATE_BYTES

    @property
    def over_at(self) -> float:
        """When it may be closed although no record of a later window was seen."""
        return self.end + min(self.length, LONGEST_IDLE_SECONDS)


def window_at(arrived_at: float, length: float, source_arn: str = "") -> Window:
    """The window that a record belongs to, without state."""
    return Window(arrived_at // length * length, length, source_arn=source_arn)


def leading_records(records: Sequence[Record], window: Window) -> int:
    """How many records at the start of `records` belong to `window`, or to an earlier one that is
    gone."""
    for index, record in enumerate(records):
        if record.arrived_at >= window.end:
            return index
    return len(records)


def windowed_event(
    envelope: bytes,
    window: Window,
    shard: str,
    *,
    is_final: bool = False,
    is_early: bool = False,
) -> bytes:
    """The envelope with the window's fields spliced in behind its own; the records' bytes are not
    touched."""
    fields = orjson.dumps(
        {
            "window": {"start": _iso_seconds(window.start), "end": _iso_seconds(window.end)},
            "state": orjson.Fragment(window.state),
            "shardId": shard,
            "eventSourceARN": window.source_arn,
            "isFinalInvokeForWindow": is_final,
            "isWindowTerminatedEarly": is_early,
        }
    )
    return envelope.rstrip()[:-1] + b"," + fields[1:]


def returned_state(payload: bytes) -> bytes | None:
    """The `state` of a handler's result, as JSON; None when it is missing, which is a failure."""
    try:
        result = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(result, dict) or not isinstance(result.get("state"), dict):
        return None
    return orjson.dumps(result["state"])


def source_arn(record: Record) -> str:
    """The `eventSourceARN` that the record's own JSON names; "" when it has none."""
    try:
        found = orjson.loads(record.event).get("eventSourceARN")
    except (orjson.JSONDecodeError, AttributeError):
        return ""
    return found if isinstance(found, str) else ""


def window_text(window: Window | None) -> str:
    """The open window, to be stored beside the shard's position; "" for none."""
    if window is None:
        return ""
    state = orjson.Fragment(window.state)
    fields = {"start": window.start, "source": window.source_arn, "state": state}
    return orjson.dumps(fields).decode()


def window_from(text: str, length: float) -> Window | None:
    """What `window_text` stored. None when none was open, or the mapping's windows have another
    length now or cannot be read."""
    if not text:
        return None
    try:
        fields = orjson.loads(text)
        window = window_at(float(fields["start"]), length)
        state, arn = orjson.dumps(fields["state"]), str(fields["source"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    same = window.start == fields["start"]
    return Window(window.start, length, state, arn) if same else None


def _iso_seconds(epoch_seconds: float) -> str:
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    spec = "seconds" if epoch_seconds == int(epoch_seconds) else "milliseconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")
