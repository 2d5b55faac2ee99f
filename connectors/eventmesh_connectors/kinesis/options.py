"""The settings of a Kinesis stream."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from eventmesh.pulling import StreamOptions
from eventmesh.units import Duration
from eventmesh_connectors.aws import AwsOptions

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_ARN = re.compile(r"arn:aws[a-z-]*:kinesis:([a-z0-9-]+):\d{12}:stream/([a-zA-Z0-9_.-]{1,128})")


def _check_stream(text: str) -> str:
    if "/consumer/" in text:
        raise ValueError("this is the ARN of a consumer; give the stream's: it is polled")
    if not (_NAME.fullmatch(text) or _ARN.fullmatch(text)):
        raise ValueError(
            f"{text!r} is not a stream; write its name, or"
            " arn:aws:kinesis:<region>:<account>:stream/<name>"
        )
    return text


class KinesisOptions(AwsOptions, StreamOptions):
    """A Kinesis stream, polled."""

    short_form: ClassVar[str | None] = "stream"

    stream: Annotated[str, AfterValidator(_check_stream)] = Field(
        description="the stream's name or ARN"
    )
    poll_interval: Annotated[Duration, Field(ge=0.01, le=60)] = Field(
        default=1.0, description="how often a shard is read once all that is there was read"
    )
    records_per_read: int = Field(
        default=1000, ge=1, le=10_000, description="most records of one GetRecords, read ahead"
    )

    @property
    def resource(self) -> str:
        return self.stream

    @property
    def stream_name(self) -> str:
        """The stream's name, also where its ARN is given."""
        return self.stream.rpartition("/")[2]

    @property
    def stream_region(self) -> str | None:
        """The region to call: the setting's, else the ARN's."""
        found = _ARN.fullmatch(self.stream)
        return self.region or (found[1] if found else None)
