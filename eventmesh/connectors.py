"""The connector contract: all that a connector may know of its host, and all that its host knows
of it.

A push source calls us: `run(target)` until cancelled. It either waits for the answer
(`target.invoke`) or hands
events to the durable asynchronous queue (`target.enqueue`), together with the positions it must
remember. A destination
takes one payload at a time. Neither knows a handler, a queue or a retry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from logging import Logger
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, model_validator

from eventmesh.clock import Clock
from eventmesh.messages import HttpRoutes


class Options(BaseModel):
    """The settings of a source or destination: names, defaults, docs and validation in one place.

    Every field carries a `description`. `short_form` names the field that a bare string stands for
    (`- s3: ./uploads`); None refuses bare strings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    short_form: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, value: Any) -> Any:
        if isinstance(value, str) and cls.short_form is not None:
            return {cls.short_form: value}
        return value

    @property
    def resource(self) -> str:
        """What is read or written, as a person would name it: `./uploads`, `GET /thumbs/{name}`.

        Together with function and connector it names the mapping, and so its stored positions.
        """
        raise NotImplementedError

    @property
    def served_routes(self) -> Sequence[tuple[str, str]]:
        """Methods and path patterns the source will serve on the one HTTP server, for checking."""
        return ()

    def resolved(self, base_directory: Path) -> Options:
        """These options with relative paths taken from `base_directory` (where mappings.yaml
        lies)."""
        return self


@dataclass(slots=True)
class InvocationResult:
    """What came of one synchronous invocation; never changed. `payload` is JSON: the handler's
    result or the
    error object.

    `function_error` is None on success, else `Unhandled` (semantics 1.2).
    `error_type` is the error object's type: `Sandbox.Timedout`, `Runtime.ExitError`, `ValueError`
    and so on.
    """

    request_id: str
    payload: bytes
    executed_version: str = "$LATEST"
    function_error: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    #: the last 4 KB of the invocation's log, START line first when it fits
    log_tail: bytes = b""
    duration_seconds: float = 0.0
    init_seconds: float | None = None
    max_memory_mb: int = 0


class Target(Protocol):
    """The function behind a mapping, as its push source sees it."""

    async def invoke(self, event: bytes) -> InvocationResult:
        """Run the handler with `event` (JSON) and wait for it. May be called concurrently; may be
        cancelled.

        Raises InvocationError when refused before a handler ran (throttled, too large, stopping).
        """
        ...

    async def enqueue(
        self,
        events: Sequence[bytes],
        positions: Mapping[str, str | None] | None = None,
        *,
        synced: bool = False,
    ) -> Sequence[str]:
        """Store events for asynchronous invocation and the source's new positions, in one
        transaction.

        A position of None forgets the key. `synced` waits until the disk has it: needed only where
        someone outside is
        told so (a 202). Returns the request ids, in order, once committed. `events` may be empty.
        Raises StateFull or ServiceError; then nothing was stored.
        """
        ...


class Positions(Protocol):
    """What a source remembered with `Target.enqueue`, to be read when it starts."""

    async def load(self) -> dict[str, str]:
        """All keys and positions of this mapping. Waits for the store."""
        ...


class Announce(Protocol):
    def __call__(self, detail: str) -> None:
        """Say that the source is ready, and how: `inotify, watching (12 files, 0 new)`. Never
        waits."""
        ...


@dataclass(frozen=True, slots=True)
class SourceContext:
    """All that a source may know of its host."""

    mapping: str
    clock: Clock
    log: Logger
    positions: Positions
    routes: HttpRoutes
    announce: Announce
    region: str = "us-east-1"
    account_id: str = "000000000000"
    function_name: str = ""


class PushSource(Protocol):
    """Calls us. Built as `SourceClass(options, context)` with resolved options; building opens
    nothing."""

    async def run(self, target: Target) -> None:
        """Watch, listen or tick until cancelled; announce once ready.

        Raises SourceUnavailable to be run again later with back-off. Any other exception is a bug:
        the mapping stops
        with its traceback, its neighbours go on. On cancellation it stops taking in and returns
        promptly.
        """
        ...


class Destination(Protocol):
    """Takes payloads: records of asynchronous invocations and dead letters. Built as
    `DestinationClass(options)`."""

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        """Deliver `payload` (JSON); return only once the destination has it for good.

        `attributes` are short texts that travel beside it (`RequestID`, `ErrorCode`, ...;
        `DeliveryId` is the same
        when a delivery is repeated). May wait; may be called concurrently; may be cancelled.
        Raises DestinationError when it was not taken: it is sent again later.
        """
        ...

    async def close(self) -> None:
        """Release what `send` opened. Called once, after the last send."""
        ...


class DestinationFactory(Protocol):
    def __call__(self, options: Any) -> Destination: ...


@dataclass(frozen=True, slots=True)
class Connector:
    """What an entry point of group `eventmesh.connectors` resolves to: a source, a destination or
    both."""

    summary: str
    source_options: type[Options] | None = None
    #: builds a push source, or a queue or stream of `eventmesh.pulling`
    source: Callable[[Any, SourceContext], Any] | None = None
    destination_options: type[Options] | None = None
    destination: DestinationFactory | None = None
    #: a small event as the handler sees it, for `eventmesh generate-event` and the docs; kind ->
    #: JSON-able value
    sample_events: Mapping[str, Any] = field(default_factory=dict)
