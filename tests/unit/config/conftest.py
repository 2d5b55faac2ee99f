"""A directory with a mappings.yaml, loaded against the connectors of these tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from config_subjects import options_for

from eventmesh.config.loader import LoadedConfig, load
from eventmesh.errors import ConfigError, Problem

Loading = Callable[..., LoadedConfig]
Failing = Callable[..., list[Problem]]


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
