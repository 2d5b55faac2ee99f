"""Webhook signatures: who signs what, and how it is checked. Pure but for the delivery memory.

The HMAC is over the body's bytes as they came, before anything reads them. Several secrets may be
valid at once, for rotation. Comparison takes the same time wherever two signatures differ.
"""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from eventmesh.messages import HttpRequest

DELIVERY_MEMORY_SECONDS = 24 * 3600.0
_MAXIMUM_SIGNATURES = 16
_TIMESTAMP = re.compile("[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one sender signs. `template` is what is signed, around `{timestamp}`, `{id}`, `{body}`.

    `separator` is between several signatures of one header; `field` marks the ones that count.
    """

    header: str
    template: str = "{body}"
    prefix: str = ""
    encoding: str = "hex"
    algorithm: str = "sha256"
    timestamp_header: str | None = None
    id_header: str | None = None
    id_required: bool = False
    separator: str | None = None


PRESETS = {
    # nothing tells a replay from a redelivery but the delivery's id
    "github": Scheme(
        "x-hub-signature-256", prefix="sha256=", id_header="x-github-delivery", id_required=True
    ),
    # the time stands in the signature's header, as t=
    "stripe": Scheme(
        "stripe-signature", template="{timestamp}.{body}", prefix="v1=", separator=","
    ),
    "slack": Scheme(
        "x-slack-signature",
        template="v0:{timestamp}:{body}",
        prefix="v0=",
        timestamp_header="x-slack-request-timestamp",
    ),
    "standard": Scheme(
        "webhook-signature",
        template="{id}.{timestamp}.{body}",
        prefix="v1,",
        encoding="base64",
        timestamp_header="webhook-timestamp",
        id_header="webhook-id",
        id_required=True,
        separator=" ",
    ),
    "shopify": Scheme("x-shopify-hmac-sha256", encoding="base64", id_header="x-shopify-webhook-id"),
}


def read_key(preset: str, secret: str) -> bytes:
    """The HMAC key of a secret. Raises ValueError for one that cannot be."""
    if not secret.strip():
        raise ValueError("a webhook secret is empty; without one nobody could be told apart")
    if preset != "standard":
        return secret.encode()
    try:
        return b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a Standard Webhooks secret is whsec_ and base64") from None


def sign(scheme: Scheme, key: bytes, content: bytes) -> str:
    """One signature as the sender writes it, without the prefix."""
    digest = hmac.new(key, content, scheme.algorithm).digest()
    return digest.hex() if scheme.encoding == "hex" else b64encode(digest).decode("ascii")


def fill_template(template: str, timestamp: str, id_: str, body: bytes) -> bytes:
    """What is signed. The header texts are latin-1, as they came."""
    before, _, after = template.partition("{body}")
    parts = [
        part.replace("{timestamp}", timestamp).replace("{id}", id_) for part in (before, after)
    ]
    return parts[0].encode(errors="replace") + body + parts[1].encode(errors="replace")


def find_fault(
    scheme: Scheme, keys: Sequence[bytes], request: HttpRequest, now: float, tolerance: float
) -> str | None:
    """Why a request is not to be believed, for the log; None when it is signed and fresh."""
    header = request.header(scheme.header)
    if header is None:
        return f"no header {scheme.header}"
    signatures, timestamp = _read_signatures(scheme, header, request)
    if "{timestamp}" in scheme.template:
        if timestamp is None or not _TIMESTAMP.fullmatch(timestamp):
            return "no time of signing"
        if abs(now - int(timestamp)) > tolerance:
            return "signed too long ago, or in the future"
    id_ = request.header(scheme.id_header) if scheme.id_header else None
    if not id_ and scheme.id_required:
        return f"no header {scheme.id_header}"
    content = fill_template(scheme.template, timestamp or "", id_ or "", request.body)
    return None if _any_matches(scheme, keys, content, signatures) else "wrong signature"


def _read_signatures(
    scheme: Scheme, header: str, request: HttpRequest
) -> tuple[list[str], str | None]:
    """The signatures that count (prefix taken off) and the time, both as sent."""
    parts = (
        [part.strip() for part in header.split(scheme.separator)] if scheme.separator else [header]
    )
    signatures = [part[len(scheme.prefix) :] for part in parts if part.startswith(scheme.prefix)]
    if scheme.timestamp_header:
        return signatures, request.header(scheme.timestamp_header)
    times = [part[2:] for part in parts if part.startswith("t=")]
    return signatures, times[0] if len(times) == 1 else None


def _any_matches(
    scheme: Scheme, keys: Sequence[bytes], content: bytes, signatures: Sequence[str]
) -> bool:
    matched = False
    for key in keys:
        expected = sign(scheme, key, content).encode()
        for signature in signatures[:_MAXIMUM_SIGNATURES]:
            matched |= hmac.compare_digest(expected, signature.encode(errors="replace"))
    return matched


def find_challenge(body: bytes) -> str | None:
    """The text that Slack wants back when an endpoint is registered, else None."""
    if b'"url_verification"' not in body:
        return None
    try:
        value: Any = orjson.loads(body)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.get("type") != "url_verification":
        return None
    challenge = value.get("challenge")
    return challenge if isinstance(challenge, str) else None


class DeliveryMemory:
    """Which deliveries were taken lately: 24 hours, and at most `capacity` of them (the oldest is
    forgotten first). Ids are kept as hashes, so a long one costs no more."""

    def __init__(self, capacity: int = 50_000) -> None:
        self._capacity = capacity
        self._taken: OrderedDict[bytes, float] = OrderedDict()

    def take(self, id_: str, now: float) -> bool:
        """Remember a delivery. False when it was taken before and is not forgotten yet."""
        while self._taken and next(iter(self._taken.values())) <= now - DELIVERY_MEMORY_SECONDS:
            self._taken.popitem(last=False)
        key = _hash(id_)
        if key in self._taken:
            return False
        if len(self._taken) >= self._capacity:
            self._taken.popitem(last=False)
        self._taken[key] = now
        return True

    def forget(self, id_: str) -> None:
        """The delivery came to nothing: let its sender send it again."""
        self._taken.pop(_hash(id_), None)


def _hash(id_: str) -> bytes:
    return sha256(id_.encode(errors="replace")).digest()
