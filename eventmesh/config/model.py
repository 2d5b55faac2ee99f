"""The shape of mappings.yaml: frozen, unknown keys forbidden, AWS's names, defaults and ranges.

Events and destinations stand here as written: their options belong to connectors and are validated
in `eventmesh.config.wiring`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from eventmesh.config import rules
from eventmesh.config.document import KeyPath
from eventmesh.functions.function import Isolation
from eventmesh.units import Duration, Megabytes

FunctionName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
PathText = Annotated[str, AfterValidator(rules.check_path)]
Environment = Annotated[
    dict[Annotated[str, AfterValidator(rules.check_variable_name)], str],
    AfterValidator(rules.check_environment),
    WithJsonSchema(
        {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    ),
]
HttpAddress = Annotated[
    str | Literal[False],
    BeforeValidator(rules.check_address),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": ":"}, {"const": False}]}),
]
AccountId = Annotated[
    str,
    Field(pattern="^[0-9]{12}$"),
    WithJsonSchema({"type": ["string", "integer"]}),
]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FunctionSettings(_Settings):
    """One function: a handler, where it runs, what triggers it and where failures go."""

    handler: Annotated[str, AfterValidator(rules.check_handler)] = Field(
        description="The handler as in Lambda: module.function, such as app.handler."
    )
    code: PathText = Field(
        default=".", description="The code package: a directory or a .zip, beside this file."
    )
    python: PathText | None = Field(
        default=None,
        description="The interpreter that runs the handler, such as ./.venv/bin/python; "
        "eventmesh's own by default.",
    )
    timeout: Annotated[Duration, Field(gt=0, le=900)] = Field(
        default=3.0, description="Longest invocation, such as 30s; at most 15m."
    )
    memory: Annotated[Megabytes, Field(ge=128, le=10240)] = Field(
        default=128, description="Memory in megabytes, 128 to 10240."
    )
    ephemeral_storage: Annotated[Megabytes, Field(ge=512, le=10240)] = Field(
        default=512, description="Size of /tmp in megabytes, 512 to 10240."
    )
    env: Environment = Field(
        default={}, description="Environment variables of the handler; at most 4 KB in total."
    )
    layers: tuple[PathText, ...] = Field(
        default=(), max_length=5, description="Directories or .zips merged in order; at most 5."
    )
    reserved_concurrency: int | None = Field(
        default=None,
        ge=0,
        description="Most invocations at a time; 0 switches the function off.",
    )
    provisioned_concurrency: int = Field(
        default=0, ge=0, description="Execution environments started in advance."
    )
    isolation: Isolation = Field(
        default="process",
        description="process: an own process each; inline: inside eventmesh, for debugging.",
    )
    strict_json: bool = Field(
        default=False, description="Refuse results that are not strict JSON (NaN, Infinity)."
    )
    description: str = Field(default="", max_length=256, description="What the function does.")
    maximum_retry_attempts: int = Field(
        default=2,
        ge=0,
        le=2,
        validation_alias=AliasChoices("maximum_retry_attempts", "max_retries"),
        description="Retries of a failed asynchronous event, 0 to 2.",
    )
    maximum_event_age: Annotated[Duration, Field(ge=60, le=21600)] = Field(
        default=21600.0,
        validation_alias=AliasChoices("maximum_event_age", "max_event_age"),
        description="Longest time an asynchronous event waits and is retried, 60s to 6h.",
    )
    on_success: Any | None = Field(
        default=None, description="Where records of successful asynchronous events go."
    )
    on_failure: Any | None = Field(
        default=None, description="Where records of failed asynchronous events go."
    )
    dead_letter_queue: Any | None = Field(
        default=None, description="Where failed asynchronous events themselves go."
    )
    events: list[Any] = Field(
        default=[], description="What triggers the function: one connector an entry."
    )

    @model_validator(mode="after")
    def _provisioned_within_reserved(self) -> FunctionSettings:
        reserved = self.reserved_concurrency
        if reserved is not None and self.provisioned_concurrency > reserved:
            raise ValueError(
                f"provisioned_concurrency ({self.provisioned_concurrency}) is more than "
                f"reserved_concurrency ({reserved})"
            )
        return self


class ServerSettings(_Settings):
    """The one HTTP server: routes, the Lambda API, health and metrics."""

    http: HttpAddress = Field(
        default="127.0.0.1:8080",
        description="host:port to listen on; port 0 is any free one; false switches HTTP off.",
    )
    allowed_hosts: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Further host names that requests may be addressed to."
    )
    max_connections: int = Field(
        default=1000, ge=1, le=1_000_000, description="Most open connections."
    )
    max_connections_per_ip: int = Field(
        default=100, ge=1, le=1_000_000, description="Most open connections of one address."
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port, or None when HTTP is off."""
        return rules.parse_address(self.http) if isinstance(self.http, str) else None


class AsynchronousSettings(_Settings):
    """The durable queue of asynchronous invocations."""

    concurrency: int = Field(
        default=16, ge=1, le=10_000, description="Most asynchronous events handled at a time."
    )
    retry_delay: Annotated[Duration, Field(ge=0, le=3600)] = Field(
        default=60.0,
        description="Delay before the first retry of a failed event; the second waits twice that.",
    )
    throttle_delay: Annotated[Duration, Field(gt=0, le=300)] = Field(
        default=1.0,
        description="First delay of a throttled event; doubles each time, up to 5m.",
    )


class LogSettings(_Settings):
    """What eventmesh writes about itself and its handlers."""

    format: Literal["human", "json", "lambda"] = Field(
        default="human",
        description="Text for people, one JSON object a line, or Lambda's own lines.",
    )
    directory: PathText | None = Field(
        default=None, description="A directory for a log file of each function."
    )


class MappingsFile(_Settings):
    """mappings.yaml: functions, what triggers them, and the mesh around them."""

    version: Literal[1] = Field(default=1, description="Version of this file's format.")
    functions: dict[FunctionName, FunctionSettings] = Field(
        default={}, description="Functions by name (letters, digits, '-', '_'; at most 64)."
    )
    server: ServerSettings = Field(default=ServerSettings(), description="The HTTP server.")
    state: Annotated[str, AfterValidator(rules.check_state)] = Field(
        default="./.eventmesh", description="The directory that holds queued events and positions."
    )
    concurrency: int = Field(
        default=64, ge=1, le=100_000, description="Most invocations at a time, all functions."
    )
    asynchronous: AsynchronousSettings = Field(
        default=AsynchronousSettings(), description="The queue of asynchronous invocations."
    )
    drain_timeout: Annotated[Duration, Field(ge=0, le=3600)] = Field(
        default=30.0, description="How long running invocations may finish at stop."
    )
    idle_timeout: Annotated[Duration, Field(gt=0, le=86400)] = Field(
        default=600.0, description="An execution environment idle for so long is stopped."
    )
    region: str = Field(
        default="us-east-1",
        pattern=r"^[a-z]{2,}(-[a-z0-9]+)+$",
        description="The region in ARNs, events and AWS_REGION.",
    )
    account_id: AccountId = Field(
        default="000000000000", description="The 12-digit account in ARNs and events."
    )
    logs: LogSettings = Field(default=LogSettings(), description="Logs.")


def is_text_path(path: KeyPath) -> bool:
    """Whether a scalar at `path` is text however it looks: `env: {SIZE: 010}`, an account id."""
    if path == ("account_id",):
        return True
    return len(path) == 4 and path[0] == "functions" and path[2] == "env"
