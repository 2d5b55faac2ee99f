"""The settings of a DynamoDB stream."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from eventmesh.pulling import StreamOptions
from eventmesh.units import Duration
from eventmesh_connectors.aws import AwsOptions
from eventmesh_connectors.shards.pages import region_of

_TABLE = re.compile(r"(arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/)?[a-zA-Z0-9_.-]{3,255}")
_STREAM = re.compile(
    r"arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/[a-zA-Z0-9_.-]{3,255}/stream/[^/\s]+"
)


class DynamoDbOptions(AwsOptions, StreamOptions):
    """The stream of a DynamoDB table, polled."""

    short_form: ClassVar[str | None] = "table"

    table: str | None = Field(
        default=None, description="the table's name or ARN, whose latest stream is read"
    )
    stream_arn: str | None = Field(
        default=None, description="the ARN of one stream, in place of the table"
    )
    poll_interval: Annotated[Duration, Field(ge=0.01, le=60)] = Field(
        default=0.25, description="how often a shard is read once all that is there was read"
    )
    records_per_read: int = Field(
        default=1000, ge=1, le=1000, description="most records of one GetRecords, read ahead"
    )

    @property
    def resource(self) -> str:
        return self.stream_arn or self.table or ""

    @property
    def stream_region(self) -> str | None:
        """The region to call: the setting's, else the ARN's."""
        return self.region or region_of(self.resource) or None

    @model_validator(mode="before")
    @classmethod
    def _sort_out(cls, value: Any) -> Any:
        """A stream's ARN may stand where a table is expected, as in the short form."""
        if isinstance(value, str):
            value = {"table": value}
        if isinstance(value, dict) and "stream_arn" not in value:
            table = value.get("table")
            if isinstance(table, str) and "/stream/" in table:
                value = {k: v for k, v in value.items() if k != "table"} | {"stream_arn": table}
        return value

    @model_validator(mode="after")
    def _check_stream(self) -> DynamoDbOptions:
        if (self.table is None) == (self.stream_arn is None):
            raise ValueError("give table: or stream_arn:, one of them")
        if self.table is not None and not _TABLE.fullmatch(self.table):
            raise ValueError(f"{self.table!r} is not a table; write its name or ARN")
        if self.stream_arn is not None and not _STREAM.fullmatch(self.stream_arn):
            raise ValueError(
                f"{self.stream_arn!r} is not a stream; write"
                " arn:aws:dynamodb:<region>:<account>:table/<table>/stream/<label>"
            )
        return self

    @model_validator(mode="after")
    def _check_start(self) -> DynamoDbOptions:
        if self.starting_position == "at_timestamp":
            raise ValueError(f"Unsupported starting position for arn type: {self.resource}")
        return self
