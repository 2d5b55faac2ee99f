"""What is wrong or risky about a pull mapping's settings, told before it runs."""

from __future__ import annotations

from collections.abc import Callable

from eventmesh.mappings.filters import validate_filters
from eventmesh.pulling import PullOptions, StreamOptions

#: a risk of these settings, or None; the second argument tells whether failures are recorded
Trap = Callable[[PullOptions, bool], str | None]


def mistakes(options: PullOptions) -> list[str]:
    """What keeps the mapping from running: filter patterns that are none."""
    return [f"filters{problem}" for problem in validate_filters(options.filters)]


def traps(options: PullOptions, *, records_failures: bool) -> list[str]:
    """Settings that work and surprise: each with what to set instead."""
    found = (trap(options, records_failures) for trap in _TRAPS)
    return [text for text in found if text is not None]


def _gives_up_silently(options: PullOptions, records_failures: bool) -> str | None:
    gives_up = options.maximum_retry_attempts >= 0 or options.maximum_record_age > 0
    if not gives_up or records_failures:
        return None
    return "records that are given up are recorded nowhere; set on_failure to keep them"


def _blocks_for_ever(options: PullOptions, records_failures: bool) -> str | None:
    if not isinstance(options, StreamOptions) or not records_failures:
        return None
    if options.maximum_retry_attempts >= 0 or options.maximum_record_age > 0:
        return None
    return (
        "on_failure is set, but retries never end; set max_retries or max_record_age, "
        "or one bad record blocks its shard"
    )


def _starts_at_the_tip(options: PullOptions, records_failures: bool) -> str | None:
    if not isinstance(options, StreamOptions) or options.starting_position != "latest":
        return None
    return "starting_position: latest misses what arrives before the first read of a shard"


def _halves_for_ever(options: PullOptions, records_failures: bool) -> str | None:
    if not options.bisect_batch_on_function_error or options.maximum_retry_attempts >= 0:
        return None
    return "a record that bisecting has isolated is retried for ever; set max_retries"


_TRAPS: tuple[Trap, ...] = (
    _gives_up_silently,
    _blocks_for_ever,
    _starts_at_the_tip,
    _halves_for_ever,
)
