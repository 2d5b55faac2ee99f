"""What sample events are made of: a moment, a source of identifiers, and settings as people type
them."""

from __future__ import annotations

import base64
import inspect
import json
import string
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, NoReturn

Event = dict[str, Any]
Setting = str | int | bool
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


@dataclass(frozen=True, slots=True)
class Sample:
    """A kind of event. `build(scene, **settings)` makes one; its keyword parameters with their
    defaults are the kind's settings. Only a `batched` event holds `scene.count` records."""

    summary: str
    build: Callable[..., Event]
    batched: bool = False

    @property
    def settings(self) -> dict[str, Setting]:
        """Names and defaults."""
        parameters = inspect.signature(self.build).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


@dataclass(frozen=True, slots=True)
class Scene:
    """When and where an event happens. `now` is in epoch seconds; all identifiers are drawn from
    `random`, so the same seed gives the same event."""

    now: float
    random: Random
    count: int = 1
    region: str = "us-east-1"
    account: str = "123456789012"

    @property
    def milliseconds(self) -> int:
        return round(self.now * 1000)

    @property
    def time(self) -> datetime:
        """`now` in UTC to the millisecond."""
        whole, rest = divmod(self.milliseconds, 1000)
        return datetime.fromtimestamp(whole, UTC).replace(microsecond=rest * 1000)

    @property
    def iso_milliseconds(self) -> str:
        """`2024-03-21T14:50:38.511Z`"""
        return self.time.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"

    @property
    def iso_seconds(self) -> str:
        """`2024-03-21T14:50:38Z`"""
        return f"{self.time:%Y-%m-%dT%H:%M:%SZ}"

    @property
    def log_time(self) -> str:
        """`21/Mar/2024:14:50:38 +0000`; month names whatever the locale."""
        time = self.time
        return f"{time:%d}/{_MONTHS[time.month - 1]}/{time:%Y:%H:%M:%S} +0000"

    @property
    def american_time(self) -> str:
        """`Mar 21, 2024, 2:50:38 PM`"""
        time = self.time
        half = "AM" if time.hour < 12 else "PM"
        clock = f"{time.hour % 12 or 12}:{time:%M:%S} {half}"
        return f"{_MONTHS[time.month - 1]} {time.day}, {time.year}, {clock}"

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def hexadecimal(self, length: int) -> str:
        return f"{self.random.getrandbits(4 * length):0{length}x}"

    def digits(self, length: int) -> str:
        return "".join(self.random.choices(string.digits, k=length))

    def letters(self, length: int, alphabet: str = string.ascii_uppercase + string.digits) -> str:
        return "".join(self.random.choices(alphabet, k=length))

    def token(self, size: int) -> str:
        """Base64 of `size` random bytes."""
        return base64.b64encode(self.random.randbytes(size)).decode()


def encode_text(text: str) -> str:
    """Base64 of `text` as UTF-8."""
    return base64.b64encode(text.encode()).decode()


def parse_object(name: str, text: str) -> dict[str, Any]:
    """The JSON object that the setting `name` is. Raises ValueError fit for users."""
    value = parse_json(name, text)
    if not isinstance(value, dict):
        raise ValueError(f"{name}: not a JSON object: {text}")
    return value


def parse_json(name: str, text: str) -> Any:
    """The JSON value that the setting `name` is. Raises ValueError fit for users."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: not JSON: {error}") from None


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


def choose(name: str, value: str, choices: Collection[str]) -> str:
    """`value` if it is one of the `choices` of the setting `name`. Raises ValueError fit for
    users."""
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(choices)}")
    return value
