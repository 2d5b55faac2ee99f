"""The destination: one POST a payload, answered by 2xx or sent again later."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator

from eventmesh.clock import Clock, SystemClock
from eventmesh.connectors import Options
from eventmesh.errors import DestinationError
from eventmesh.units import Duration

from .posting import Answer, Post, PostFailed
from .webhooks import PRESETS, fill_template, read_key, sign

_PARALLEL_POSTS = 8
_MAXIMUM_ATTRIBUTE = 1024
_SHOWN_CHARACTERS = 200
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: written by us; a setting that replaced them would break the request
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class HttpDestinationOptions(Options):
    """An address that payloads are posted to."""

    model_config = ConfigDict(hide_input_in_errors=True)
    short_form: ClassVar[str | None] = "url"

    url: str = Field(description="where to POST: an http or https address")
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="more headers, as Authorization; never shown in logs"
    )
    secret: SecretStr | None = Field(
        default=None, description="sign each request as Standard Webhooks do: whsec_ and base64"
    )
    timeout: Duration = Field(default=10.0, gt=0, description="for the whole request")
    allow_private: bool = Field(
        default=True, description="also send to loopback and private addresses"
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write an address such as https://example.com/hook")
        if not re.fullmatch(r"[\x21-\x7e]+", value):
            raise ValueError("the address holds spaces or other characters; percent-encode them")
        if "@" in parts.netloc:
            raise ValueError(
                "no user and password in the address; use headers: {Authorization: ..}"
            )
        if parts.port == 0:
            raise ValueError("0 is not a port")
        return value

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, values: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in values.items():
            if not _TOKEN.fullmatch(name) or name.lower() in _OWN_HEADERS:
                raise ValueError(f"{name!r} cannot be set as a header")
            if _CONTROL.search(value.get_secret_value()):
                raise ValueError(f"header {name} holds a line break or control character")
        return values

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_key("standard", value.get_secret_value())
        return value

    @property
    def resource(self) -> str:
        """The address without its query, which may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"


class HttpDestination:
    """Posts payloads, each on a connection of its own, in up to eight threads."""

    def __init__(self, options: HttpDestinationOptions, clock: Clock | None = None) -> None:
        self._options = options
        self._clock = clock or SystemClock()
        self._threads = ThreadPoolExecutor(_PARALLEL_POSTS, thread_name_prefix="http-destination")

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        """POST `payload`; returns once a 2xx came back. Waits at most the timeout; may be
        cancelled, which breaks the connection.

        Raises DestinationError for any other status (redirects too), and when it cannot be reached.
        """
        headers = build_headers(self._options, payload, attributes, self._clock.now())
        post = Post(
            self._options.url,
            headers,
            payload,
            timeout_seconds=self._options.timeout,
            allow_private=self._options.allow_private,
        )
        try:
            async with asyncio.timeout(self._options.timeout):
                answer = await asyncio.get_running_loop().run_in_executor(self._threads, post.run)
        except TimeoutError:
            raise DestinationError(
                f"{self._options.resource} did not answer within {self._options.timeout:g} s"
            ) from None
        except PostFailed as error:
            raise DestinationError(f"{self._options.resource}: {error}") from error
        finally:
            post.abort()
        if (fault := describe_answer(answer)) is not None:
            raise DestinationError(f"{self._options.resource} {fault}")

    async def close(self) -> None:
        """Let the threads end; none is waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def describe_answer(answer: Answer) -> str | None:
    """What is wrong with an answer; None for 2xx."""
    if 200 <= answer.status < 300:
        return None
    redirect = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
    text = _CONTROL.sub(" ", answer.body.decode(errors="replace"))[:_SHOWN_CHARACTERS].strip()
    return f"answered {answer.status}{redirect}" + (f": {text}" if text else "")


def build_headers(
    options: HttpDestinationOptions, payload: bytes, attributes: Mapping[str, str], now: float
) -> list[tuple[str, bytes]]:
    """All headers of one request: attributes as `X-Eventmesh-<Name>`, the settings' own, and the
    signature."""
    lines = {"Content-Type": b"application/json", "User-Agent": b"eventmesh"}
    for name, value in attributes.items():
        if _TOKEN.fullmatch(name):
            lines[f"X-Eventmesh-{name}"] = _encode_attribute(value)
    replaced = {name.lower() for name in options.headers}
    kept = [(name, value) for name, value in lines.items() if name.lower() not in replaced]
    own = [(name, value.get_secret_value().encode()) for name, value in options.headers.items()]
    signed = _sign(options, payload, attributes.get("DeliveryId") or str(uuid.uuid4()), now)
    return [*kept, *own, *signed]


def _encode_attribute(value: str) -> bytes:
    encoded = _CONTROL.sub(" ", value).encode(errors="replace")[:_MAXIMUM_ATTRIBUTE]
    return encoded.decode(errors="ignore").strip().encode()


def _sign(
    options: HttpDestinationOptions, payload: bytes, delivery_id: str, now: float
) -> list[tuple[str, bytes]]:
    if options.secret is None:
        return []
    scheme = PRESETS["standard"]
    key = read_key("standard", options.secret.get_secret_value())
    timestamp, id_ = str(int(now)), _encode_attribute(delivery_id).decode()
    signature = sign(scheme, key, fill_template(scheme.template, timestamp, id_, payload))
    return [
        ("webhook-id", id_.encode()),
        ("webhook-timestamp", timestamp.encode()),
        ("webhook-signature", scheme.prefix.encode() + signature.encode()),
    ]
