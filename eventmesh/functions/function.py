"""A function as a value. It changes only by being replaced in the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

LATEST = "$LATEST"
Isolation = Literal["process", "inline"]


@dataclass(frozen=True, slots=True)
class DestinationReference:
    """A destination by connector name, with its validated options (a connector's `Options`, or a
    function's name)."""

    connector: str
    options: Any
    resource: str


@dataclass(frozen=True, slots=True)
class AsyncInvokeConfig:
    """How asynchronous invocations of a function are retried and where they end (semantics
    2.1-2.3)."""

    maximum_retry_attempts: int = 2
    maximum_event_age_seconds: float = 21600.0
    on_success: DestinationReference | None = None
    on_failure: DestinationReference | None = None
    dead_letter_queue: DestinationReference | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """Configuration of one function version, ready to run. Paths are absolute. Defaults are AWS's
    (semantics 9.1)."""

    name: str
    handler: str
    code_directory: Path
    #: the interpreter that runs the handler; its site-packages are the handler's dependencies
    python: Path
    version: str = LATEST
    timeout_seconds: float = 3.0
    memory_mb: int = 128
    ephemeral_storage_mb: int = 512
    environment: Mapping[str, str] = field(default_factory=dict)
    #: unpacked layer directories, lowest precedence first (semantics 9.5)
    layers: tuple[Path, ...] = ()
    reserved_concurrency: int | None = None
    provisioned_concurrency: int = 0
    isolation: Isolation = "process"
    region: str = "us-east-1"
    account_id: str = "000000000000"
    asynchronous: AsyncInvokeConfig = field(default_factory=AsyncInvokeConfig)
    #: refuse results that are not strict JSON (NaN, Infinity); AWS lets them through
    strict_json: bool = False

    @property
    def arn(self) -> str:
        """The unqualified ARN."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.name}"

    @property
    def qualified_arn(self) -> str:
        return f"{self.arn}:{self.version}"
