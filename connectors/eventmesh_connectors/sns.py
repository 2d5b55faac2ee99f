"""Amazon SNS as a destination: each payload is published to a topic (semantics 2.2, 2.3)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from eventmesh.connectors import Connector
from eventmesh.errors import DestinationError
from eventmesh_connectors.aws import AwsAccess, AwsClient, AwsOptions, open_client, translated
from eventmesh_connectors.aws.faults import near_names
from eventmesh_connectors.aws.messages import message_attributes, message_text

_ARN = re.compile(r"arn:[a-z-]+:sns:([a-z0-9-]+):(\d{12}):([^:]+)")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}(\.fifo)?")
_MOST_PAGES = 100


def _check_topic(text: str) -> str:
    match = _ARN.fullmatch(text)
    name = match[3] if match else text
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{text!r} is not a topic; write its name or its ARN, such as"
            " arn:aws:sns:us-east-1:123456789012:failures"
        )
    if name.endswith(".fifo"):
        raise ValueError(
            f"{text!r} is a FIFO topic; AWS sends failures and results to standard topics only"
        )
    return text


class SnsDestinationOptions(AwsOptions):
    """A topic that payloads are published to."""

    short_form: ClassVar[str | None] = "topic"

    topic: Annotated[str, Field(min_length=1), AfterValidator(_check_topic)] = Field(
        description="the topic's name or ARN; a standard topic"
    )

    @property
    def resource(self) -> str:
        """The topic as it was written."""
        return self.topic

    @property
    def topic_access(self) -> AwsAccess:
        """How AWS is reached; an ARN tells the region."""
        match = _ARN.fullmatch(self.topic)
        return replace(self.access, region=self.region or (match[1] if match else None))


class SnsDestination:
    """Publishes payloads to a topic."""

    def __init__(self, options: SnsDestinationOptions) -> None:
        self._options = options
        self._opening = asyncio.Lock()
        self._client: AwsClient | None = None
        self._arn = ""

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        """Publish `payload`; returns once SNS has it. See `Destination`.

        `RequestID`, `ErrorCode` and `ErrorMessage` become message attributes (semantics 2.2).
        """
        client = await self._open()
        request: dict[str, Any] = {"TopicArn": self._arn, "Message": message_text(payload)}
        if converted := message_attributes(attributes):
            request["MessageAttributes"] = converted
        with translated(f"cannot publish to topic {self._options.topic}", DestinationError):
            await client.api.publish(**request)

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _open(self) -> AwsClient:
        async with self._opening:
            if self._client is None:
                self._client = await self._connect()
        return self._client

    async def _connect(self) -> AwsClient:
        doing = f"cannot find topic {self._options.topic}"
        with translated(doing, DestinationError):
            client = await open_client("sns", self._options.topic_access)
        try:
            with translated(doing, DestinationError):
                self._arn = await _find_topic(client, self._options.topic)
        except BaseException:
            await client.close()
            raise
        return client


async def _find_topic(client: AwsClient, topic: str) -> str:
    """The ARN of a topic named by ARN or name."""
    if topic.startswith("arn:"):
        return topic
    names: list[str] = []
    request: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        answer = await client.api.list_topics(**request)
        for one in answer.get("Topics") or ():
            arn = str(one["TopicArn"])
            names.append(arn.rpartition(":")[2])
            if names[-1] == topic:
                return arn
        if not (token := answer.get("NextToken")):
            break
        request = {"NextToken": token}
    raise DestinationError(
        f"there is no topic {topic} in {client.region} at {client.endpoint_url};"
        f" {near_names(topic, names, 'topics')}"
    )


connector = Connector(
    summary="Amazon SNS topics that payloads are published to",
    destination_options=SnsDestinationOptions,
    destination=SnsDestination,
)
