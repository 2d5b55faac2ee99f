"""Every error eventmesh raises, one tree.

EventMeshError
├── ConfigError             mappings.yaml cannot be used; carries every problem found
├── ConnectorError
│   ├── ConnectorNotFound       no installed distribution offers the name
│   ├── ConnectorNotInstalled   the connector's client library is missing
│   └── ConnectorNameTaken      two distributions offer the same name
├── SourceError             the only signals a source sends up; anything else is a bug in the
connector
│   ├── SourceUnavailable       open it again later
│   ├── SourceExhausted         a finite source, or a closed shard, is read to its end
│   └── PositionExpired         the stored position is not readable any more
├── DestinationError        a destination did not take a payload; it is sent again later
├── StateError
│   ├── StateInUse              another engine runs on the same state directory
│   ├── StateCorrupt            the state file is damaged
│   └── StateFull               the disk took no more writes
├── InitializationError     an execution environment could not be started or its handler not loaded
└── InvocationError         refused before a handler ran; carries the Lambda API's name and status
    ├── ValidationFailed, InvalidParameterValue, InvalidRequestContent
    ├── AccessDenied, ResourceNotFound, RequestTooLarge, UnsupportedMediaType
    ├── TooManyRequests         throttled; carries the reason
    └── ServiceError            eventmesh itself failed or is stopping

A handler that fails is not an exception here: it is an `InvocationResult` with an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class EventMeshError(Exception):
    """Something in eventmesh went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a configuration file. `line` and `column` count from 1; 0 means the whole
    file."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    source_line: str = ""


class ConfigError(EventMeshError):
    """The configuration is invalid."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__(
            "; ".join(f"{p.file}:{p.line}:{p.column}: {p.message}" for p in self.problems)
        )


class ConnectorError(EventMeshError):
    """A connector cannot be used."""


class ConnectorNotFound(ConnectorError):
    """No installed distribution offers this connector."""


class ConnectorNotInstalled(ConnectorError):
    """The connector's client library is not installed."""


class ConnectorNameTaken(ConnectorError):
    """Two installed distributions offer a connector of the same name."""


class SourceError(EventMeshError):
    """A source reports something the engine must act on."""


class SourceUnavailable(SourceError):
    """The source cannot be reached now; the engine starts it again with back-off."""

    def __init__(
        self, message: str | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class SourceExhausted(SourceError):
    """The source is read to its end."""


class PositionExpired(SourceError):
    """The stored position is not readable any more; the starting position applies again."""


class DestinationError(EventMeshError):
    """A destination did not take the payload."""


class StateError(EventMeshError):
    """The state cannot be read or written."""


class StateInUse(StateError):
    """Another engine runs on this state directory."""


class StateCorrupt(StateError):
    """The state file is damaged."""


class StateFull(StateError):
    """The disk took no more writes; nothing was accepted."""


class InitializationError(EventMeshError):
    """An execution environment could not be started."""


class InvocationError(EventMeshError):
    """The invocation was refused before a handler ran."""

    code: ClassVar[str] = "ServiceException"
    status: ClassVar[int] = 500
    #: semantics 11.4: most exceptions spell the key `message`, some `Message`
    message_key: ClassVar[str] = "message"


class ResourceNotFound(InvocationError):
    """The function does not exist."""

    code, status, message_key = "ResourceNotFoundException", 404, "Message"


class ValidationFailed(InvocationError):
    """A field does not satisfy its constraint."""

    code, status = "ValidationException", 400


class AccessDenied(InvocationError):
    """The caller may not do this."""

    code, status, message_key = "AccessDeniedException", 403, "Message"


class InvalidParameterValue(InvocationError):
    """A parameter has a value that is not allowed."""

    code, status = "InvalidParameterValueException", 400


class InvalidRequestContent(InvocationError):
    """The event is not valid JSON."""

    code, status = "InvalidRequestContentException", 400


class RequestTooLarge(InvocationError):
    """The event is larger than the invocation type allows."""

    code, status = "RequestTooLargeException", 413


class UnsupportedMediaType(InvocationError):
    """The content type is not JSON."""

    code, status = "UnsupportedMediaTypeException", 415


class TooManyRequests(InvocationError):
    """Rate Exceeded."""

    code, status = "TooManyRequestsException", 429

    def __init__(self, reason: str) -> None:
        super().__init__("Rate Exceeded.")
        self.reason = reason


class ServiceError(InvocationError):
    """eventmesh could not process the request; try again."""

    code, status, message_key = "ServiceException", 500, "Message"
