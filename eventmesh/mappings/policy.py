"""What the pollers need to know of a mapping's settings, as plain values (semantics 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from eventmesh.pulling import KeepsCheckpoints, PullOptions, QueueOptions, StreamOptions

#: semantics 3.5: the largest event of a batch
LARGEST_EVENT_BYTES = 6 * 1024 * 1024
UNLIMITED = -1
#: semantics 6.3: instead of endless retries, for streams whose broker keeps the positions
MOST_RETRIES_WITH_DESTINATION = 10


@dataclass(frozen=True, slots=True)
class MappingPolicy:
    """One mapping's rules. Times are seconds; -1 is without limit where AWS has it so."""

    batch_size: int = 100
    window_seconds: float = 0.0
    #: the window's clock (semantics 3.5): from a batch's first record, else from the end of the
    #: last invocation
    window_from_first_record: bool = False
    report_failures: bool = False
    bisect: bool = False
    maximum_retries: int = UNLIMITED
    maximum_age_seconds: float = UNLIMITED
    #: queues: most batches in flight; None lets it grow with the load
    maximum_concurrency: int | None = None
    #: streams: batches in flight per shard
    parallelization_factor: int = 1
    tumbling_window_seconds: float = 0.0
    largest_event_bytes: int = LARGEST_EVENT_BYTES
    #: failure records hold the event itself, as destinations that keep files want it (semantics
    #: 4.7)
    payload_in_failure_records: bool = False


def policy_from(
    options: PullOptions,
    source: object,
    *,
    has_destination: bool = False,
    payload_in_failure_records: bool = False,
) -> MappingPolicy:
    """The policy of `options`. A source says by `window_from_first_record` which clock its window
    has; without it, sources that keep their own checkpoints count from the first record. For these
    endless retries end after ten when there is an on-failure destination (semantics 6.3)."""
    own_checkpoints = isinstance(source, KeepsCheckpoints)
    clock = getattr(source, "window_from_first_record", own_checkpoints)
    retries = options.maximum_retry_attempts
    if own_checkpoints and has_destination and retries == UNLIMITED:
        retries = MOST_RETRIES_WITH_DESTINATION
    queue = options if isinstance(options, QueueOptions) else QueueOptions()
    stream = options if isinstance(options, StreamOptions) else StreamOptions()
    return MappingPolicy(
        batch_size=options.batch_size,
        window_seconds=options.maximum_batching_window,
        window_from_first_record=bool(clock),
        report_failures=options.report_batch_item_failures,
        bisect=options.bisect_batch_on_function_error,
        maximum_retries=retries,
        maximum_age_seconds=options.maximum_record_age,
        maximum_concurrency=queue.maximum_concurrency,
        parallelization_factor=stream.parallelization_factor,
        tumbling_window_seconds=stream.tumbling_window,
        payload_in_failure_records=payload_in_failure_records,
    )
