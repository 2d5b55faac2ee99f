"""Who may call: API keys and webhook signatures as one source holds them, ready to be checked."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256

from eventmesh.messages import HttpRequest, HttpResponse

from .options import WebhookOptions
from .responses import answer
from .webhooks import PRESETS, DeliveryMemory, Scheme, find_challenge, find_fault, read_key

FORBIDDEN = answer(403, b'{"message":"Forbidden"}')
UNAUTHORIZED = answer(401, b'{"message":"Unauthorized"}')
DUPLICATE = answer(200, b"{}")


class ApiKeys:
    """The keys of one mapping, kept as SHA-256 hashes."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._hashes = [sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def allow(self, key: str | None) -> bool:
        """Whether `key` (a header's value) is one of them; takes as long whichever it is."""
        given = sha256((key or "").encode(errors="replace")).digest()
        matched = False
        for known in self._hashes:
            matched |= hmac.compare_digest(known, given)
        return matched and key is not None


class WebhookGuard:
    """The signature check of one mapping, and its memory of deliveries."""

    def __init__(self, options: WebhookOptions) -> None:
        self._preset = options.preset
        self._scheme = scheme_of(options)
        self._keys = [
            read_key(options.preset, secret.get_secret_value()) for secret in options.secret
        ]
        self._tolerance = options.tolerance
        self._memory = DeliveryMemory()

    def find_fault(self, request: HttpRequest, now: float) -> str | None:
        """Why the request is to be refused with 401, for the log; None when it is genuine."""
        return find_fault(self._scheme, self._keys, request, now, self._tolerance)

    def greet(self, request: HttpRequest) -> HttpResponse | None:
        """The answer to a genuine request that is only about the connection (Slack's challenge)."""
        if self._preset != "slack" or (challenge := find_challenge(request.body)) is None:
            return None
        return answer(200, challenge.encode(errors="replace"), "text/plain; charset=utf-8")

    def take(self, request: HttpRequest, now: float) -> bool:
        """False when this delivery was taken already."""
        id_ = self._id(request)
        return id_ is None or self._memory.take(id_, now)

    def forget(self, request: HttpRequest) -> None:
        """The delivery came to nothing; its sender may send it again."""
        if (id_ := self._id(request)) is not None:
            self._memory.forget(id_)

    def _id(self, request: HttpRequest) -> str | None:
        return request.header(self._scheme.id_header) if self._scheme.id_header else None


def scheme_of(options: WebhookOptions) -> Scheme:
    """The preset's scheme, or the one that `generic` describes."""
    if options.preset != "generic":
        return PRESETS[options.preset]
    assert options.header is not None, "generic has a header: the options see to it"
    return Scheme(
        header=options.header.lower(),
        template=options.template,
        prefix=options.prefix,
        encoding=options.encoding,
        algorithm=options.algorithm,
        timestamp_header=options.timestamp_header and options.timestamp_header.lower(),
        id_header=options.id_header and options.id_header.lower(),
        id_required="{id}" in options.template,
    )
