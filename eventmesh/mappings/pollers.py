"""The poller that fits a pull source."""

from __future__ import annotations

from typing import Any

from eventmesh.mappings.filters import Payload, compile_filters
from eventmesh.mappings.host import PollerHost
from eventmesh.mappings.policy import policy_from
from eventmesh.mappings.queue_poller import QueuePoller
from eventmesh.mappings.stream_poller import StreamPoller
from eventmesh.pulling import PullOptions, QueueSource, StreamSource


def is_pulled(source: object) -> bool:
    """Whether the engine reads `source`, rather than being called by it."""
    return isinstance(source, (QueueSource, StreamSource))


def build_poller(
    source: QueueSource | StreamSource,
    options: PullOptions,
    host: PollerHost,
    *,
    payload_in_failure_records: bool = False,
) -> QueuePoller | StreamPoller:
    """A poller of `source` by the settings in `options`. Opens nothing.

    A source whose payload may be text or an object says which of its fields that is, and what
    becomes of a record of the other kind than the pattern's (semantics 3.6), by
    `filter_payload = ("body", "drop")`; see `filters.Payload`.

    Raises ValueError for a filter pattern that is none.
    """
    policy = policy_from(
        options,
        source,
        has_destination=bool(host.sent_to),
        payload_in_failure_records=payload_in_failure_records,
    )
    told: Any = getattr(source, "filter_payload", None)
    payload = None if told is None else Payload(*told)
    passes = compile_filters(options.filters, payload=payload)
    if isinstance(source, QueueSource):
        return QueuePoller(source, host, policy, passes)
    return StreamPoller(source, host, policy, passes)
