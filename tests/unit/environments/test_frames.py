"""Frames: both ends agree, and nothing is stored before it was checked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.environments import frames, runtime, shim
from eventmesh.environments.frames import Frame, ProtocolViolation, decode, encode_head, measure


def test_the_shim_holds_the_same_numbers() -> None:
    names = ("START", "READY", "INIT_ERROR", "INVOKE", "RESULT")
    assert [getattr(shim, n) for n in names] == [getattr(frames, n) for n in names]
    assert shim.PREFIX.format == frames.PREFIX.format
    assert runtime.RESPONSE_LIMIT_BYTES == frames.RESPONSE_LIMIT_BYTES == 6_291_556


def test_a_frame_byte_by_byte() -> None:
    head = encode_head(frames.RESULT, 258, b"{}", 3)
    assert head == b"\xe5\x00\x00\x01\x02\x00\x00\x00\x02\x00\x00\x00\x03{}"


@given(
    kind=st.sampled_from((frames.READY, frames.INIT_ERROR, frames.RESULT)),
    sequence=st.integers(0, 2**32 - 1),
    header=st.binary(max_size=200),
    body=st.binary(max_size=200),
)
def test_what_is_encoded_is_decoded(kind: int, sequence: int, header: bytes, body: bytes) -> None:
    data = encode_head(kind, sequence, header, len(body)) + body
    assert measure(data[: frames.PREFIX.size]) == len(data)
    assert decode(data) == Frame(kind, sequence, header, body)


@pytest.mark.parametrize("kind", [0, 0x6A, frames.START, frames.INVOKE, 0xFF])
def test_kinds_an_environment_never_sends(kind: int) -> None:
    with pytest.raises(ProtocolViolation, match=f"unknown frame kind {kind:#04x}"):
        measure(encode_head(kind, 0, b"", 0))


def test_caps() -> None:
    largest = frames.PREFIX.pack(frames.RESULT, 0, 65536, 6_291_556)
    assert measure(largest) == 13 + 65536 + 6_291_556
    for header_bytes, body_bytes in ((65537, 0), (0, 6_291_557), (2**32 - 1, 2**32 - 1)):
        with pytest.raises(ProtocolViolation, match="over the limit"):
            measure(frames.PREFIX.pack(frames.RESULT, 0, header_bytes, body_bytes))


@given(st.binary(min_size=13, max_size=64))
def test_junk_is_a_violation_or_a_bounded_size(junk: bytes) -> None:
    try:
        size = measure(junk)
    except ProtocolViolation:
        return
    assert 13 <= size <= 13 + 65536 + 6_291_556
