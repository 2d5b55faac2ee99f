"""Records and outcomes: what pull sources hand to the engine and get back. Values without
behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One item read from a source. `event` is its JSON as the handler will see it, built once.

    `id` is what a partial batch response names; `position` is opaque to the engine, ordered only by
    the order of reading. Records of one non-empty `key` are handled in order.
    """

    id: str
    event: bytes
    #: epoch seconds when the source took it in; ages and tumbling windows count from here
    arrived_at: float
    shard: str = ""
    position: str = ""
    key: str = ""
    #: the source's own: receipt handle, delivery tag, raw fields
    handle: Any = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a queue record: to be removed (`succeeded`) or to be given back."""

    record: Record
    succeeded: bool
    #: False for records given back without an attempt (the engine stops): nothing failed
    attempted: bool = True
