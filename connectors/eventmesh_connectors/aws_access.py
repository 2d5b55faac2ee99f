"""How AWS, or an emulator of it, is reached: the settings every AWS connector has.

Apart from the clients, so that settings can be read where no client library is installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from eventmesh.connectors import Options

_AWS_HOST = re.compile(r"(.+\.)?(amazonaws\.com(\.cn)?|api\.aws|amazonaws\.eu)")
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")


def _check_endpoint(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is not an endpoint; write http://localhost:4566 or the like")
    if "@" in parts.netloc or parts.query:
        raise ValueError("an endpoint holds no credentials and no query")
    return text


def _check_region(text: str) -> str:
    if not _REGION.fullmatch(text):
        raise ValueError(f"{text!r} is not a region; write eu-central-1 or the like")
    return text


EndpointUrl = Annotated[str, AfterValidator(_check_endpoint)]
Region = Annotated[str, AfterValidator(_check_region)]


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """Where AWS is and whose credentials are used; None is what botocore finds by itself."""

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None

    def endpoint_of(self, service: str, environ: Mapping[str, str]) -> str | None:
        """The endpoint given by setting or environment; None means AWS's own.

        `AWS_ENDPOINT_URL_<SERVICE>` goes before `AWS_ENDPOINT_URL`.
        """
        if self.endpoint_url is not None:
            return self.endpoint_url
        if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
            return None
        own = environ.get(f"AWS_ENDPOINT_URL_{service.upper().replace(' ', '_')}")
        return own or environ.get("AWS_ENDPOINT_URL") or None


class AwsOptions(Options):
    """Where AWS is, and whose credentials are used."""

    endpoint_url: EndpointUrl | None = Field(
        default=None,
        description="where the service is, such as http://localhost:4566; otherwise"
        " AWS_ENDPOINT_URL_<SERVICE> or AWS_ENDPOINT_URL of the environment, then AWS",
    )
    region: Region | None = Field(
        default=None,
        description="AWS region; otherwise that of the ARN or URL, AWS_REGION, or the profile's",
    )
    profile: str | None = Field(
        default=None, min_length=1, description="profile of ~/.aws/config; otherwise AWS_PROFILE"
    )

    @property
    def access(self) -> AwsAccess:
        """These settings as one value."""
        return AwsAccess(self.endpoint_url, self.region, self.profile)


def is_emulator(endpoint_url: str | None) -> bool:
    """Whether an endpoint is not AWS's own: an emulator, or storage that speaks S3."""
    return endpoint_url is not None and not is_aws_host(urlsplit(endpoint_url).hostname or "")


def is_aws_host(host: str) -> bool:
    """Whether a host name belongs to AWS."""
    return _AWS_HOST.fullmatch(host.lower()) is not None
