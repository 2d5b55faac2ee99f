"""What counts as an event: rows P1-P9 of the bad-input catalogue."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.errors import InvalidRequestContent
from eventmesh.invocation.events import CHECK_IN_THREAD_BYTES, check_event, checked


@pytest.mark.parametrize(
    "body",
    [
        b"null", b"3", b'"text"', b"[1,2]", b'{"a":{"b":[true,null]}}', b' {"a": 1} ',
        b'"\\ud800"', b'"\\u0000"', b'{"a":1,"a":2}', b'{"__proto__":{"$ref":"${jndi:x}"}}',
        b"[" * 1000 + b"]" * 1000, b'"\\ud800"' + b" " * 100,
    ],
)  # fmt: skip
def test_json_passes_through_as_the_same_bytes(body: bytes) -> None:
    assert checked(body) is body


def test_an_empty_body_is_an_empty_object() -> None:
    assert checked(b"") == b"{}"


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"{} x", b"{'a': 1}", b'"\x01"', b"NaN", b"[Infinity]", b"-Infinity", b"1e999",
        b"9" * 5000, b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b'"\xff"', b"[" * 2000 + b"]" * 2000,
        b"[" * 100_000 + b"]" * 100_000, b"\x00", b" ",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_lambdas_text(body: bytes) -> None:
    with pytest.raises(InvalidRequestContent) as refused:
        checked(body)
    assert str(refused.value).startswith(
        "Could not parse request body into json: Could not parse payload into json: "
    )


async def test_a_large_body_is_checked_off_the_event_loop() -> None:
    body = json.dumps({str(n): n for n in range(CHECK_IN_THREAD_BYTES // 8)}).encode()
    assert await check_event(body) is body
    with pytest.raises(InvalidRequestContent):
        await check_event(body[:-1])


NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text()


@given(
    st.recursive(
        SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
    )
)
def test_whatever_the_standard_library_writes_is_accepted(value: object) -> None:
    body = json.dumps(value).encode()
    assert checked(body) is body
