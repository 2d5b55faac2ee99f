"""What a destination sends, and where it will not go."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh_connectors.http import HttpDestinationOptions
from eventmesh_connectors.http.addresses import choose_address, find_fault
from eventmesh_connectors.http.destination import build_headers, describe_answer
from eventmesh_connectors.http.posting import Answer

PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1", "64:ff9b::808:808"]
PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::7f00:1",
    "2002:7f00:1::",
    "64:ff9b::a00:1",
]
NEVER = [
    "169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "::ffff:169.254.169.254",
    "::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "64:ff9b::a9fe:a9fe",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",
    "::",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert find_fault(address, allow_private=False) is None
    assert find_fault(address, allow_private=True) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_a_setting(address: str) -> None:
    assert find_fault(address, allow_private=True) is None
    fault = find_fault(address, allow_private=False)
    assert fault == "not a public address; allow_private: true permits it"


@pytest.mark.parametrize("address", NEVER)
def test_addresses_never_sent_to(address: str) -> None:
    assert find_fault(address, allow_private=True) is not None
    assert find_fault(address, allow_private=False) is not None


def test_the_first_good_address_is_chosen() -> None:
    found = ["169.254.169.254", "10.0.0.1", "8.8.8.8"]
    assert choose_address(found, allow_private=True) == "10.0.0.1"
    assert choose_address(found, allow_private=False) == "8.8.8.8"
    with pytest.raises(ValueError, match="^the name has no address$"):
        choose_address([], allow_private=True)
    with pytest.raises(ValueError, match=r"^169\.254\.169\.254 is a link-local"):
        choose_address(found[:1], allow_private=True)


@given(st.ip_addresses(), st.booleans())
def test_every_address_is_decided(address: Any, private: bool) -> None:
    if find_fault(str(address), allow_private=False) is None:
        assert find_fault(str(address), allow_private=True) is None


def headers_of(settings: Any, attributes: dict[str, str], now: float = 1.5) -> dict[str, bytes]:
    options = HttpDestinationOptions.model_validate({"url": "https://a/", **settings})
    lines = build_headers(options, b"{}", attributes, now)
    assert len({name.lower() for name, _ in lines}) == len(lines)
    return dict(lines)


def test_attributes_become_headers() -> None:
    attributes = {
        "RequestID": "1",
        "ErrorMessage": "line one\r\nline é",
        "bad name": "x",
        "Long": "é" * 1000,
    }
    assert headers_of({}, attributes) == {
        "Content-Type": b"application/json",
        "User-Agent": b"eventmesh",
        "X-Eventmesh-RequestID": b"1",
        "X-Eventmesh-ErrorMessage": "line one  line é".encode(),
        "X-Eventmesh-Long": ("é" * 512).encode(),
    }


def test_settings_replace_headers() -> None:
    sent = headers_of({"headers": {"content-type": "text/x", "Authorization": "Bearer t"}}, {})
    assert sent == {
        "User-Agent": b"eventmesh",
        "content-type": b"text/x",
        "Authorization": b"Bearer t",
    }


def test_requests_are_signed_as_standard_webhooks() -> None:
    key = base64.b64encode(b"key").decode()
    sent = headers_of({"secret": f"whsec_{key}"}, {"DeliveryId": "d-1"}, now=1_700_000_000.9)
    digest = hmac.new(b"key", b"d-1.1700000000.{}", hashlib.sha256).digest()
    assert sent["webhook-id"] == b"d-1"
    assert sent["webhook-timestamp"] == b"1700000000"
    assert sent["webhook-signature"] == b"v1," + base64.b64encode(digest)
    unnamed = headers_of({"secret": key}, {})
    assert uuid.UUID(unnamed["webhook-id"].decode()).version == 4


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(200, b"ok"), None),
        (Answer(204, b""), None),
        (Answer(299, b""), None),
        (Answer(404, b""), "answered 404"),
        (Answer(500, b"bad\r\n\x1b[31mluck\xff"), "answered 500: bad   [31mluck\ufffd"),
        (Answer(500, b"x" * 300), "answered 500: " + "x" * 200),
        (Answer(302, b""), "answered 302 (redirects are not followed)"),
        (Answer(199, b""), "answered 199"),
    ],
)
def test_answers(answer: Answer, fault: str | None) -> None:
    assert describe_answer(answer) == fault
