"""Connectors made for the tests of the configuration, and a file with every setting."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from eventmesh.connectors import Connector, Options
from eventmesh.errors import ConnectorError, ConnectorNotFound
from eventmesh.units import Duration

FULL = """\
version: 1
functions:
  thumbnail:
    handler: thumbs/app.handler
    code: ./svc
    python: ./svc/python
    timeout: 500ms
    memory: 1GB
    ephemeral_storage: 1024
    env: {SIZE: "${THUMB_SIZE:-256}", RATIO: 1.10, MODE: 010, ON: true, TOKEN: "${TOKEN}"}
    layers: [./layer, ./layer.ZIP]
    reserved_concurrency: 5
    provisioned_concurrency: 2
    isolation: inline
    strict_json: true
    description: Makes thumbnails.
    max_retries: 1
    max_event_age: 1h
    on_success: {function: report}
    on_failure: {directory: ./failed}
    dead_letter_queue: {directory: {bucket: ./dead, batch_size: 5}}
    events:
      - s3: {bucket: ./uploads, suffix: [.jpg, .png], size: 20}
      - s3: ./other
        name: others
        enabled: false
      - schedule: {bucket: cron, window: 5m, name: nightly}
      - named: {name: its-own, enabled: false}
        name: the-mapping
      - type: mine.sources:connector
        bucket: ./mine
        enabled: false
      - {s3: ./x}
  report:
    handler: report.handler
server:
  {http: "[::1]:0", allowed_hosts: [mesh.local], max_connections: 5, max_connections_per_ip: 2}
state: ./state
concurrency: 8
asynchronous: {concurrency: 4, retry_delay: 10ms, throttle_delay: 5ms}
drain_timeout: 1s
idle_timeout: 1m
region: eu-west-1
account_id: 123456789012
logs: {format: json, directory: ./logs}
"""


class Auth(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["none", "iam"] = Field(description="Who may call.")
    retries: int = Field(default=1, description="Attempts.")


class BucketOptions(Options):
    short_form: ClassVar[str | None] = "bucket"

    bucket: str = Field(description="A directory.")
    events: str | tuple[str, ...] = Field(default="s3:ObjectCreated:*", description="Which.")
    suffix: tuple[str, ...] = Field(default=(), description="Endings.")
    batch_size: int = Field(
        default=10,
        ge=1,
        le=10_000,
        validation_alias=AliasChoices("batch_size", "size"),
        description="Records a batch.",
    )
    window: Duration = Field(default=0.0, description="How long to collect.")
    ratio: float | None = Field(default=None, description="A number.")
    auth: Auth | None = Field(default=None, description="Authentication.")

    @property
    def resource(self) -> str:
        return self.bucket

    def resolved(self, base_directory: Path) -> BucketOptions:
        if self.bucket == "unresolvable":
            raise ValueError("this bucket cannot be")
        return self.model_copy(update={"bucket": str(base_directory / self.bucket)})


class NamedOptions(Options):
    """No short form, and a `name` of its own."""

    name: str = Field(description="A name of the connector's own.")
    mode: str = Field(default="", description="A text.")

    @property
    def resource(self) -> str:
        return self.name


CONNECTORS = {
    "s3": Connector("Files.", source_options=BucketOptions),
    "schedule": Connector("Time.", source_options=BucketOptions),
    "directory": Connector("Files.", destination_options=BucketOptions),
    "named": Connector("Names.", source_options=NamedOptions),
}


def options_for(name: str, role: str) -> type[Options]:
    if name == "mine.sources:connector":
        return BucketOptions
    if name not in CONNECTORS:
        raise ConnectorNotFound(f"there is no connector '{name}'")
    connector = CONNECTORS[name]
    options = connector.source_options if role == "source" else connector.destination_options
    if options is None:
        raise ConnectorError(f"connector '{name}' is no {role}")
    return options
