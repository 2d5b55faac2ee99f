"""The settings of a Kafka source."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator

from eventmesh.pulling import StreamOptions
from eventmesh.units import Duration, Size

from .security import BrokerOptions, Texts

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_GROUP = re.compile(r"[A-Za-z0-9\-/*:_+=.@]{1,200}")


class KafkaOptions(BrokerOptions, StreamOptions):
    """Topics read as a member of a consumer group."""

    topics: Texts = Field(min_length=1, max_length=100, description="the topics to read, by name")
    group: str | None = Field(
        default=None, description="the consumer group; by default one of the mapping's own"
    )
    maximum_batching_window: Annotated[Duration, Field(ge=0, le=300)] = Field(
        default=0.5,
        validation_alias=AliasChoices("maximum_batching_window", "batch_window"),
        description="How long to gather records for a batch, 0 to 300s.",
    )
    event_source: Literal["self_managed", "msk"] = Field(
        default="self_managed", description="whose event shape: self-managed Kafka or Amazon MSK"
    )
    event_source_arn: str | None = Field(
        default=None, description="with msk: eventSourceArn of the event"
    )
    isolation_level: Literal["read_uncommitted", "read_committed"] = Field(
        default="read_uncommitted", description="whether records of open transactions are read"
    )
    session_timeout: Annotated[Duration, Field(ge=6, le=1800)] = Field(
        default=30.0, description="a member unheard of for so long loses its partitions, 6s to 30m"
    )
    rebalance_timeout: Annotated[Duration, Field(ge=1, le=30)] = Field(
        default=30.0,
        description="how long running batches may hold up a rebalance, 1s to 30s",
    )
    fetch_max_bytes: Annotated[Size, Field(ge=1024, le=1024**3)] = Field(
        default=50 * 1024**2, description="the most one broker sends at a time"
    )
    max_partition_fetch_bytes: Annotated[Size, Field(ge=1024, le=1024**3)] = Field(
        default=1024**2, description="the most it sends of one partition; one record always fits"
    )

    @field_validator("topics")
    @classmethod
    def _check_topics(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            check_topic(value)
        if len(set(values)) < len(values):
            raise ValueError("a topic is named twice")
        return values

    @field_validator("group")
    @classmethod
    def _check_group(cls, value: str | None) -> str | None:
        if value is not None and not _GROUP.fullmatch(value):
            raise ValueError(
                f"{value!r} is not a group name: 1 to 200 letters, digits and any of -/*:_+=.@"
            )
        return value

    @model_validator(mode="after")
    def _check_event_source(self) -> KafkaOptions:
        if self.event_source == "msk" and self.event_source_arn is None:
            raise ValueError(
                "event_source: msk needs event_source_arn, as in "
                "arn:aws:kafka:us-east-1:123456789012:cluster/orders/1a2b"
            )
        if self.event_source != "msk" and self.event_source_arn is not None:
            raise ValueError("event_source_arn is for event_source: msk only")
        if self.event_source_arn is not None and not self.event_source_arn.startswith("arn:"):
            raise ValueError("event_source_arn must begin with arn:")
        return self

    @property
    def resource(self) -> str:
        """The topics: `orders`, `orders,payments`."""
        return ",".join(self.topics)


def check_topic(value: str) -> None:
    """Raise ValueError, with a text fit for users, unless `value` can be a topic's name."""
    if _TOPIC.fullmatch(value) and value not in (".", ".."):
        return
    if "," in value:
        raise ValueError(f"{value!r}: write several topics as a list")
    raise ValueError(
        f"{value!r} is not a topic: 1 to 249 letters, digits, dots, dashes and underscores; "
        "patterns are not offered, list the topics"
    )
