"""A directory with a mappings.yaml, loaded against two connectors made for these tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from eventmesh.config.loader import LoadedConfig, load
from eventmesh.connectors import Connector, Options
from eventmesh.errors import ConfigError, ConnectorError, ConnectorNotFound, Problem
from eventmesh.units import Duration

Loading = Callable[..., LoadedConfig]
Failing = Callable[..., list[Problem]]


class Auth(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["none", "iam"] = Field(description="Who may call.")
    retries: int = Field(default=1, description="Attempts.")


class BucketOptions(Options):
    short_form: ClassVar[str | None] = "bucket"

    bucket: str = Field(description="A directory.")
    events: str | tuple[str, ...] = Field(default="s3:ObjectCreated:*", description="Which.")
    suffix: tuple[str, ...] = Field(default=(), description="Endings.")
    batch_size: int = Field(
        default=10,
        ge=1,
        le=10_000,
        validation_alias=AliasChoices("batch_size", "size"),
        description="Records a batch.",
    )
    window: Duration = Field(default=0.0, description="How long to collect.")
    ratio: float | None = Field(default=None, description="A number.")
    auth: Auth | None = Field(default=None, description="Authentication.")

    @property
    def resource(self) -> str:
        return self.bucket

    def resolved(self, base_directory: Path) -> BucketOptions:
        if self.bucket == "unresolvable":
            raise ValueError("this bucket cannot be")
        return self.model_copy(update={"bucket": str(base_directory / self.bucket)})


class NamedOptions(Options):
    """No short form, and a `name` of its own."""

    name: str = Field(description="A name of the connector's own.")
    mode: str = Field(default="", description="A text.")

    @property
    def resource(self) -> str:
        return self.name


CONNECTORS = {
    "s3": Connector("Files.", source_options=BucketOptions),
    "schedule": Connector("Time.", source_options=BucketOptions),
    "directory": Connector("Files.", destination_options=BucketOptions),
    "named": Connector("Names.", source_options=NamedOptions),
}


def options_for(name: str, role: str) -> type[Options]:
    if name == "mine.sources:connector":
        return BucketOptions
    if name not in CONNECTORS:
        raise ConnectorNotFound(f"there is no connector '{name}'")
    connector = CONNECTORS[name]
    options = connector.source_options if role == "source" else connector.destination_options
    if options is None:
        raise ConnectorError(f"connector '{name}' is no {role}")
    return options


@pytest.fixture
def loaded(tmp_path: Path) -> Loading:
    def loading(content: str | bytes, environ: Mapping[str, str] | None = None) -> LoadedConfig:
        path = tmp_path / "mappings.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load(path, environ=environ or {}, options_for=options_for)

    return loading


@pytest.fixture
def problems(loaded: Loading) -> Failing:
    def failing(content: str | bytes, environ: Mapping[str, str] | None = None) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            loaded(content, environ)
        return caught.value.problems

    return failing


@pytest.fixture
def problem(problems: Failing) -> Callable[..., Problem]:
    def failing(content: str | bytes, environ: Mapping[str, str] | None = None) -> Problem:
        found = problems(content, environ)
        assert len(found) == 1, found
        return found[0]

    return failing


@pytest.fixture
def event_problem(problem: Callable[..., Problem]) -> Callable[[str], Problem]:
    """The one problem of a function `f` with one event."""

    def failing(event: str) -> Problem:
        return problem("functions:\n  f:\n    handler: a.b\n    events:\n      - " + event)

    return failing
