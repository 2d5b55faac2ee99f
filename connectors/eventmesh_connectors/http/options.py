"""The settings of an HTTP route. Secrets are kept in `SecretStr`, so that nothing prints them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from eventmesh.connectors import Options
from eventmesh.units import Duration, Size

from .webhooks import read_key

METHODS = ("ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
DEFAULT_PATH = "$default"
#: semantics 1.3: the event of an asynchronous invocation
MAXIMUM_EVENT_BYTES = 1024**2
_SEGMENT = re.compile(
    r"\{(?P<name>[A-Za-z0-9_.\-]+)(?P<greedy>\+)?\}|[A-Za-z0-9\-._~!$&'()*+,;=:@%]+"
)
_FORMATS = {"1": "1.0", "2": "2.0"}

_GENERIC_ONLY = (
    "header",
    "prefix",
    "encoding",
    "algorithm",
    "template",
    "timestamp_header",
    "id_header",
)


def _is_given(options: BaseModel, name: str) -> bool:
    default = type(options).model_fields[name].get_default(call_default_factory=True)
    return bool(getattr(options, name) != default)


def _read_format(value: Any) -> Any:
    text = str(value)
    return _FORMATS.get(text, text)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, (str, SecretStr)) else value


#: one text or a list of them
Texts = Annotated[
    tuple[str, ...], BeforeValidator(_as_list, json_schema_input_type=str | tuple[str, ...])
]
Secrets = Annotated[
    tuple[SecretStr, ...], BeforeValidator(_as_list, json_schema_input_type=str | tuple[str, ...])
]
PayloadFormatName = Annotated[
    Literal["2.0", "1.0", "function_url", "alb"],
    BeforeValidator(_read_format),
    WithJsonSchema({"enum": ["2.0", "1.0", 2.0, 1.0, "function_url", "alb"]}),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class CorsOptions(_Part):
    """Answers to browsers of other sites."""

    allow_origins: Texts = Field(
        default=("*",), description="origins such as https://example.com, or *"
    )
    allow_methods: Texts = Field(default=("*",), description="methods, or *")
    allow_headers: Texts = Field(default=("*",), description="request headers, or *")
    expose_headers: Texts = Field(default=(), description="response headers that scripts may read")
    max_age: Duration | None = Field(
        default=None, description="how long a browser may remember the answer"
    )
    allow_credentials: bool = Field(default=False, description="let browsers send cookies")

    @model_validator(mode="after")
    def _check_credentials(self) -> CorsOptions:
        if self.allow_credentials and "*" in self.allow_origins:
            raise ValueError(
                "allow_credentials needs the origins by name: with * every site could act as "
                "its visitors; set allow_origins"
            )
        return self

    @field_validator("allow_origins", "allow_methods", "allow_headers", "expose_headers")
    @classmethod
    def _check_texts(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not re.fullmatch(r"[\x21-\x2b\x2d-\x7e]+", value):
                raise ValueError(f"{value!r} must be one word; write several as a list")
        return values


def _read_cors(value: Any) -> Any:
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


CorsSetting = Annotated[
    CorsOptions | None,
    BeforeValidator(_read_cors, json_schema_input_type=CorsOptions | bool | None),
]


class WebhookOptions(_Part):
    """How the sender of a webhook proves itself: an HMAC over the body's bytes."""

    preset: Literal["github", "stripe", "slack", "standard", "shopify", "generic"] = Field(
        description="whose signature to check"
    )
    secret: Secrets = Field(
        min_length=1, description="the shared secret; a list while it is being replaced"
    )
    tolerance: Duration = Field(
        default=300.0, description="how far the signed time may be from ours, where one is signed"
    )
    header: str | None = Field(default=None, description="generic: the header of the signature")
    prefix: str = Field(default="", description="generic: text before the signature, as sha256=")
    encoding: Literal["hex", "base64"] = Field(default="hex", description="generic")
    algorithm: Literal["sha256", "sha384", "sha512"] = Field(
        default="sha256", description="generic"
    )
    template: str = Field(
        default="{body}",
        description="generic: what is signed, of {timestamp}, {id} and {body}",
    )
    timestamp_header: str | None = Field(
        default=None, description="generic: the header of the signed time, in epoch seconds"
    )
    id_header: str | None = Field(
        default=None, description="generic: the header of the delivery's id; repeats are dropped"
    )

    @model_validator(mode="after")
    def _check(self) -> WebhookOptions:
        if self.preset == "generic":
            self._check_generic()
        elif given := [name for name in _GENERIC_ONLY if _is_given(self, name)]:
            raise ValueError(f"{given[0]} is only for preset generic")
        for secret in self.secret:
            read_key(self.preset, secret.get_secret_value())
        return self

    def _check_generic(self) -> None:
        if self.header is None:
            raise ValueError("preset generic needs header, the name of the signature's header")
        names = re.findall(r"\{(.*?)\}", self.template)
        if names.count("body") != 1 or set(names) - {"body", "timestamp", "id"}:
            raise ValueError("template holds {body} once, and {timestamp} and {id} if you like")
        for name, header in (("timestamp", self.timestamp_header), ("id", self.id_header)):
            if name in names and header is None:
                raise ValueError(f"template has {{{name}}}: set {name}_header")
        if self.timestamp_header is not None and "timestamp" not in names:
            raise ValueError("timestamp_header proves nothing unless template has {timestamp}")


class HttpOptions(Options):
    """A route of the HTTP server: requests to it run the function."""

    model_config = ConfigDict(hide_input_in_errors=True)
    short_form: ClassVar[str | None] = "route"

    route: str | None = Field(
        default=None,
        description="method and path in one, as `GET /thumbs/{name}`; a path alone takes any "
        "method; `$default` takes every path",
    )
    method: str = Field(default="ANY", description=f"one of {', '.join(METHODS)}")
    path: str = Field(
        default="", description="the path: fixed segments, {name}, and {proxy+} for the rest"
    )
    format: PayloadFormatName = Field(
        default="2.0",
        description="the event's shape: 2.0 (HTTP API), 1.0 (REST API), function_url or alb",
    )
    invocation: Literal["request_response", "event"] = Field(
        default="request_response",
        description="wait for the handler's answer, or answer 202 once the event is stored",
    )
    cors: CorsSetting = Field(
        default=None, description="answer browsers of other sites: true, or settings"
    )
    api_keys: Secrets = Field(
        default=(), description="refuse requests without one of these in the header x-api-key"
    )
    webhook: WebhookOptions | None = Field(
        default=None, description="refuse requests without a valid webhook signature"
    )
    maximum_body: Size | None = Field(
        default=None,
        description="the largest body; 10 MB by default, 6 MB for function_url, 1 MB for alb "
        "and for invocation event",
    )
    timeout: Duration | None = Field(
        default=None,
        description="how long a caller waits for the handler; 30 s by default, 29 s for 1.0, "
        "no limit but the function's own for function_url and alb",
    )
    binary_media_types: Texts = Field(
        default=(), description="format 1.0: types whose bodies are base64, as image/* or */*"
    )
    multi_value_headers: bool = Field(
        default=False, description="format alb: all values of a header and query parameter"
    )
    stage: str = Field(
        default="$default",
        pattern=r"^(\$default|[A-Za-z0-9_-]{1,128})$",
        description="the stage's name in the event; it is no part of the path",
    )
    stage_variables: dict[str, str] = Field(
        default_factory=dict, description="formats 1.0 and 2.0: `stageVariables` of the event"
    )

    @model_validator(mode="before")
    @classmethod
    def _split_route(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"route": value}
        if not isinstance(value, dict) or not isinstance(value.get("route"), str):
            return value
        method, _, path = value["route"].strip().rpartition(" ")
        parts = {"method": method.strip().upper() or "ANY", "path": path}
        for name, part in parts.items():
            if value.get(name, part) != part:
                raise ValueError(f"route and {name} contradict each other; keep one of them")
        return value | parts

    @field_validator("method")
    @classmethod
    def _check_method(cls, value: str) -> str:
        if value.upper() not in METHODS:
            raise ValueError(f"{value!r} is not a method; choose one of {', '.join(METHODS)}")
        return value.upper()

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        if value and value != DEFAULT_PATH:
            split_parameters(value)
        return value

    @field_validator("api_keys")
    @classmethod
    def _check_keys(cls, values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for position, value in enumerate(values, 1):
            if not re.fullmatch(r"[\x21-\x7e]{1,512}", value.get_secret_value()):
                raise ValueError(f"key {position} is empty or holds spaces or other odd characters")
        return values

    @field_validator("binary_media_types")
    @classmethod
    def _check_types(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not re.fullmatch(r"\*/\*|[\w.+-]+/(\*|[\w.+-]+)", value):
                raise ValueError(f"{value!r} is not a media type; write image/png, image/* or */*")
        return tuple(value.lower() for value in values)

    @model_validator(mode="after")
    def _check_together(self) -> HttpOptions:
        if not self.path:
            raise ValueError('a path is missing; write "GET /thumbs/{name}" or path: /thumbs')
        self._check_format()
        if self.path == DEFAULT_PATH and (self.method, self.format) != ("ANY", "2.0"):
            raise ValueError("$default takes every method and is for format 2.0 only")
        if self.invocation == "event":
            if (self.maximum_body or 0) > MAXIMUM_EVENT_BYTES:
                raise ValueError("maximum_body is at most 1MB with invocation event")
            if self.timeout is not None:
                raise ValueError("timeout has no meaning with invocation event: nobody waits")
        if self.timeout == 0:
            raise ValueError("timeout must be more than 0")
        return self

    def _check_format(self) -> None:
        homes = {
            "binary_media_types": ("1.0",),
            "multi_value_headers": ("alb",),
            "stage_variables": ("1.0", "2.0"),
            "stage": ("1.0", "2.0"),
        }
        for name, formats in homes.items():
            if self.format not in formats and _is_given(self, name):
                raise ValueError(f"{name} is for format {' and '.join(formats)} only")
        if self.format == "function_url" and "{" in self.path:
            raise ValueError("a function URL has no path parameters; it serves all below its path")

    @property
    def resource(self) -> str:
        return self.path if self.path == DEFAULT_PATH else f"{self.method} {self.path}"

    @property
    def served_routes(self) -> Sequence[tuple[str, str]]:
        """Methods and paths to register. A function URL serves everything below its path."""
        if self.path == DEFAULT_PATH:
            return [("ANY", "/{proxy+}")]
        if self.format != "function_url":
            return [(self.method, self.path)]
        base = self.path.rstrip("/")
        paths = [base, f"{base}/"] if base else []
        return [(self.method, path) for path in (*paths, f"{base}/{{proxy+}}")]


def split_parameters(path: str) -> tuple[tuple[str, ...], str | None]:
    """The names of a path's parameters, and the trailing greedy one.

    Raises ValueError with a text fit for users.
    """
    if not path.startswith("/"):
        raise ValueError(f"{path!r} must begin with /, as in GET /thumbs/{{name}}")
    names: list[str] = []
    greedy: str | None = None
    segments = path[1:].split("/")
    for position, segment in enumerate(segments):
        if segment == "" and position == len(segments) - 1:
            continue
        match = _SEGMENT.fullmatch(segment)
        if match is None or segment in (".", ".."):
            raise ValueError(f"{segment!r} is not a path segment; use letters, {{name}}, {{name+}}")
        if greedy is not None:
            raise ValueError(f"{{{greedy}+}} takes the rest of the path and must come last")
        if match["name"]:
            names.append(match["name"])
        if match["greedy"]:
            greedy = match["name"]
    if len(set(names)) < len(names):
        raise ValueError("two path parameters have the same name")
    return tuple(names), greedy
