"""Partial batch responses: which records of a batch a handler's result says failed (semantics 4.5,
5.3, 6.3).

Pure. An id the batch does not know, or anything malformed, means that the whole batch failed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eventmesh.records import Record

#: results that are complete success without looking closer
_SUCCESS = frozenset({b"", b"null", b'""', b"[]", b"{}", b'{"batchItemFailures": []}'})


def failed_indexes(payload: bytes, records: Sequence[Record]) -> Sequence[int]:
    """Indexes of the records that failed by the handler's result `payload`, rising; () when none
    did, all of them when the report cannot be trusted."""
    if payload in _SUCCESS:
        return ()
    try:
        result = json.loads(payload)
    except (ValueError, RecursionError):
        return range(len(records))
    items = _reported(result)
    if items is None:
        return range(len(records))
    return _indexes_of(items, records) if items else ()


def canonical_identifier(value: Any) -> str | None:
    """The record id an `itemIdentifier` names: a text as it is, an object as its JSON with sorted
    keys and no spaces (Kafka: `{"offset":15,"partition":"orders-0"}`). None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return None


def with_followers(failed: Sequence[int], records: Sequence[Record]) -> Sequence[int]:
    """`failed` and every later record of a failed record's key: order within a message group
    (semantics 5.5)."""
    if not failed or len(failed) == len(records):
        return failed
    named, keys, found = set(failed), set(), []
    for index, record in enumerate(records):
        if index in named or (record.key and record.key in keys):
            found.append(index)
            keys.add(record.key)
    return found


def _reported(result: Any) -> Sequence[Any] | None:
    """The listed failures; [] for success, None for what is no report at all."""
    if result is None or result in ("", []):
        return []
    if not isinstance(result, dict):
        return None
    items = result.get("batchItemFailures")
    if items is None:
        return []
    return items if isinstance(items, list) else None


def _indexes_of(items: Sequence[Any], records: Sequence[Record]) -> Sequence[int]:
    by_id: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        by_id.setdefault(record.id, []).append(index)
    found: set[int] = set()
    for item in items:
        identifier = item.get("itemIdentifier") if isinstance(item, Mapping) else None
        known = by_id.get(canonical_identifier(identifier) or "")
        if not identifier or known is None:
            return range(len(records))
        found.update(known)
    return sorted(found)
