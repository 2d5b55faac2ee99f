"""How an SQS queue is named: by its name, its URL or its ARN. Pure; needs no client library."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from eventmesh_connectors.aws_access import AwsAccess, is_aws_host

_NAME = re.compile(r"(?=.{1,80}$)[A-Za-z0-9_-]+(\.fifo)?")
_ARN = re.compile(r"arn:[a-z-]+:sqs:([a-z0-9-]+):(\d{12}):([^:]+)")
_REGION_IN_HOST = re.compile(r"(?:sqs\.)?([a-z]{2,}(?:-[a-z]+)+-\d+)\.")
_ADVICE = "write a queue's name (orders), its URL or its ARN"


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """A queue as it was named; what the name does not tell is None."""

    name: str
    url: str | None = None
    account: str | None = None
    region: str | None = None
    endpoint_url: str | None = None

    @property
    def is_fifo(self) -> bool:
        """Whether it is a FIFO queue: their names end so."""
        return self.name.endswith(".fifo")


def parse_queue(text: str) -> QueueAddress:
    """The address that `text` (a name, URL or ARN) means. Raises ValueError fit for users.

    A URL whose host is not AWS's also names the endpoint.
    """
    if text.startswith("arn:"):
        match = _ARN.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{text!r} is not a queue's ARN; such as arn:aws:sqs:us-east-1:123456789012:orders"
            )
        return QueueAddress(_checked(match[3]), account=match[2], region=match[1])
    if "://" in text:
        return _parse_url(text)
    return QueueAddress(_checked(text))


def _parse_url(text: str) -> QueueAddress:
    parts = urlsplit(text)
    segments = [segment for segment in parts.path.split("/") if segment]
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or len(segments) < 2:
        raise ValueError(f"{text!r} is not a queue's URL; {_ADVICE}")
    region = match[1] if (match := _REGION_IN_HOST.match(host)) else None
    if len(segments) == 4 and segments[0] == "queue":  # an emulator's http://host/queue/region/...
        region = segments[1]
    endpoint = None if is_aws_host(host) else f"{parts.scheme}://{parts.netloc}"
    return QueueAddress(_checked(segments[-1]), text, segments[-2], region, endpoint)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a queue's name: up to 80 letters, digits, - and _ ; {_ADVICE}"
        )
    return name


def queue_access(access: AwsAccess, address: QueueAddress) -> AwsAccess:
    """`access`, completed by what the queue's ARN or URL tells."""
    return replace(
        access,
        endpoint_url=access.endpoint_url or address.endpoint_url,
        region=access.region or address.region,
    )


def _check_queue(text: str) -> str:
    parse_queue(text)
    return text


#: a queue's name, URL or ARN, as a setting
QueueName = Annotated[str, Field(min_length=1), AfterValidator(_check_queue)]
