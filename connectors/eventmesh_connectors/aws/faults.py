"""What errors of botocore and its HTTP client mean, in words that say what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from eventmesh.errors import EventMeshError, SourceUnavailable

_THROTTLED = frozenset({
    "BandwidthLimitExceeded", "LimitExceededException", "OverLimit", "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled",
    "RequestThrottledException", "SlowDown", "ThrottledException", "Throttling",
    "ThrottlingException", "TooManyRequestsException", "KMS.ThrottlingException",
})  # fmt: skip
_REFUSED_CREDENTIALS = frozenset({
    "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidAccessKeyId",
    "InvalidClientTokenId", "InvalidSecurity", "SignatureDoesNotMatch",
    "UnrecognizedClientException",
})  # fmt: skip
_MISSING = frozenset({
    "AWS.SimpleQueueService.NonExistentQueue", "NoSuchBucket", "NotFound", "NotFoundException",
    "QueueDoesNotExist", "ResourceNotFoundException",
})  # fmt: skip
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "403"})

_NO_CREDENTIALS = (
    "no AWS credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or profile: to one"
    " of ~/.aws/config; for a local emulator set AWS_ENDPOINT_URL (or endpoint_url:), which needs"
    " no credentials"
)
_THROTTLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong, for people. `missing` says that the thing asked for does not exist."""

    text: str
    retry_after_seconds: float | None = None
    missing: bool = False


#: errors that mean "not now"; whatever else botocore raises is a mistake in how it was called
_CREDENTIALS = (
    botocore.NoCredentialsError,
    botocore.PartialCredentialsError,
    botocore.CredentialRetrievalError,
    botocore.NoAuthTokenError,
    botocore.TokenRetrievalError,
    botocore.SSOError,
)
_CONNECTION = (
    botocore.HTTPClientError,
    botocore.ConnectionError,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
)


def explain(error: Exception) -> Fault | None:
    """What `error` means; None when it is none of AWS's, so a bug. Never waits."""
    if isinstance(error, botocore.ClientError):
        return _explain_answer(error)
    if isinstance(error, botocore.ProfileNotFound):
        return Fault(f"{error}; profiles are in ~/.aws/config and ~/.aws/credentials")
    if isinstance(error, botocore.NoCredentialsError):
        return Fault(_NO_CREDENTIALS)
    if isinstance(error, _CREDENTIALS):
        return Fault(f"AWS credentials cannot be used: {error}")
    if isinstance(error, botocore.NoRegionError):
        return Fault("no AWS region given; set region: or AWS_REGION")
    if isinstance(error, _CONNECTION):
        return Fault(f"no connection: {str(error) or type(error).__name__}")
    if isinstance(error, (ResponseParserError, botocore.ConfigParseError)):
        return Fault(str(error))
    return None


def _explain_answer(error: Any) -> Fault:
    answer = error.response.get("Error", {})
    code, message = str(answer.get("Code", "")), str(answer.get("Message", ""))
    text = f"{code}: {message}" if message else code
    if code in _THROTTLED:
        return Fault(f"throttled ({text})", _THROTTLE_SECONDS)
    if code in _REFUSED_CREDENTIALS:
        return Fault(f"AWS does not take the credentials ({text}); check profile: and region:")
    if code in _DENIED:
        return Fault(f"not allowed to call {error.operation_name} ({text})")
    return Fault(text, missing=code in _MISSING or code.startswith("NoSuch"))


@contextmanager
def translated(doing: str, raised: type[EventMeshError] = SourceUnavailable) -> Iterator[None]:
    """Turn errors of AWS into `raised` (SourceUnavailable or DestinationError): `<doing>: ...`."""
    try:
        yield
    except Exception as error:
        fault = explain(error)
        if fault is None:
            raise
        raise build_error(doing, fault, raised) from error


def build_error(
    doing: str, fault: Fault, raised: type[EventMeshError] = SourceUnavailable
) -> EventMeshError:
    """The error that goes up for `fault`."""
    if issubclass(raised, SourceUnavailable):
        return raised(f"{doing}: {fault.text}", fault.retry_after_seconds)
    return raised(f"{doing}: {fault.text}")


def near_names(name: str, names: Iterable[str], what: str) -> str:
    """A hint naming what exists: `did you mean 'orders'?`; `what` is the plural of the things."""
    known = sorted(names)
    if near := difflib.get_close_matches(name, known, n=3, cutoff=0.5):
        return "did you mean " + " or ".join(f"'{one}'" for one in near) + "?"
    if known:
        more = ", ..." if len(known) > 5 else ""
        return f"there are the {what} {', '.join(known[:5])}{more}"
    return f"there are no {what}"
