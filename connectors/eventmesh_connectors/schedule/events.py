"""The event a scheduled rule hands to its function (semantics 8.3)."""

from __future__ import annotations

import json
import uuid
from datetime import date, datetime, time
from hashlib import sha256
from typing import Any

import orjson

#: semantics 1.3: the event of an asynchronous invocation
MAXIMUM_EVENT_BYTES = 1024**2
#: a rule's name has at most 64 characters; 9 of them are taken by the hash
_LONGEST_NAME = 55


def encode_input(value: Any) -> bytes:
    """`value` as the JSON that replaces the event. YAML's dates become ISO texts.

    Raises ValueError with a text for users when it is no JSON or larger than an event may be.
    """
    try:
        text = json.dumps(
            value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_iso
        )
        encoded = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be written as JSON: {error}") from None
    if len(encoded) > MAXIMUM_EVENT_BYTES:
        raise ValueError(
            f"is {len(encoded)} bytes of JSON; an event has at most {MAXIMUM_EVENT_BYTES}"
        )
    return encoded


def _iso(value: Any) -> str:
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} is not a JSON value")


def rule_arn(*, region: str, account_id: str, function: str, mapping: str, expression: str) -> str:
    """The ARN of the rule that this expression of this mapping would be on AWS; always the
    same."""
    digest = sha256(f"{mapping}\0{expression}".encode()).hexdigest()[:8]
    return f"arn:aws:events:{region}:{account_id}:rule/{function[:_LONGEST_NAME]}-{digest}"


class EventWriter:
    """Writes the events of one rule, or the constant `input` that replaces them."""

    __slots__ = ("_head", "_input", "_tail")

    def __init__(
        self, arn: str, *, region: str, account_id: str, input_json: bytes | None = None
    ) -> None:
        self._input = input_json
        account = orjson.dumps(account_id)
        self._head = (
            b'","detail-type":"Scheduled Event","source":"aws.events","account":%s,"time":"'
            % account
        )
        self._tail = b'","region":%s,"resources":[%s],"detail":{}}' % (
            orjson.dumps(region),
            orjson.dumps(arn),
        )

    def write(self, slot: datetime) -> bytes:
        """The event for `slot` (UTC), as JSON. Its `time` is the slot's, however late it is."""
        if self._input is not None:
            return self._input
        return b"".join(
            (
                b'{"version":"0","id":"',
                str(uuid.uuid4()).encode(),
                self._head,
                write_instant(slot).encode(),
                self._tail,
            )
        )


def write_instant(instant: datetime) -> str:
    """An instant in UTC, in whole seconds: `2026-03-29T01:00:00Z`."""
    return instant.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def read_instant(text: str) -> datetime:
    """What `write_instant` wrote. Raises ValueError."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return instant
