"""The frames between engine and environment: a fixed prefix, a JSON header, a body of raw bytes.

    kind (1 byte) | sequence (4) | header length (4) | body length (4) | header | body

Big-endian. The worker shim holds its own copy of these numbers because it imports nothing of ours;
a test holds the two together. An event travels as the body, exactly as its source built it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from eventmesh.errors import EventMeshError

PREFIX = struct.Struct(">BIII")
START, READY, INIT_ERROR, INVOKE, RESULT = 0xE1, 0xE2, 0xE3, 0xE4, 0xE5

#: 6 MB and 100 bytes (semantics 1.3); nothing an environment sends may have a longer body
RESPONSE_LIMIT_BYTES = 6_291_556
#: what an environment may put in a header: a shortened error text at most
HEADER_LIMIT_BYTES = 64 * 1024

_FROM_ENVIRONMENT = frozenset((READY, INIT_ERROR, RESULT))


class ProtocolViolation(EventMeshError):
    """An environment sent something that is not a frame; it is not to be trusted any more."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame from an environment. `header` is JSON not yet parsed."""

    kind: int
    sequence: int
    header: bytes
    body: bytes


def encode_head(kind: int, sequence: int, header: bytes, body_bytes: int) -> bytes:
    """Prefix and header of a frame whose body of `body_bytes` follows."""
    return PREFIX.pack(kind, sequence, len(header), body_bytes) + header


def measure(prefix: bytes | bytearray) -> int:
    """The size of the whole frame that begins with these bytes (at least `PREFIX.size` of them).

    Raises ProtocolViolation for an unknown kind or a length over its cap, before anything is
    allocated.
    """
    kind, _, header_bytes, body_bytes = PREFIX.unpack_from(prefix)
    if kind not in _FROM_ENVIRONMENT:
        raise ProtocolViolation(f"unknown frame kind {kind:#04x}")
    if header_bytes > HEADER_LIMIT_BYTES or body_bytes > RESPONSE_LIMIT_BYTES:
        raise ProtocolViolation(f"frame of {header_bytes} + {body_bytes} bytes is over the limit")
    return int(PREFIX.size + header_bytes + body_bytes)


def decode(data: bytes) -> Frame:
    """The frame in `data`, which `measure` found complete."""
    kind, sequence, header_bytes, _ = PREFIX.unpack_from(data)
    body_at = PREFIX.size + header_bytes
    return Frame(kind, sequence, data[PREFIX.size : body_at], data[body_at:])
