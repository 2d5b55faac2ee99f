"""`on_failure` of an event: for queues and streams; push sources retry as their function."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from eventmesh.config.loader import load
from eventmesh.config.schema import json_schema
from eventmesh.connectors import Connector, Options
from eventmesh.errors import ConfigError
from eventmesh.pulling import QueueOptions


class Place(Options):
    short_form = "path"
    path: str = Field(description="where")

    @property
    def resource(self) -> str:
        return self.path


class Queue(QueueOptions):
    short_form = "queue"
    queue: str = Field(description="its name")

    @property
    def resource(self) -> str:
        return self.queue


CONNECTORS = {
    "queue": Connector("a queue", source_options=Queue),
    "bell": Connector("a push source", source_options=Place),
    "directory": Connector("a directory", destination_options=Place),
}


def options_for(name: str, role: str) -> type[Options]:
    found = getattr(CONNECTORS[name], f"{role}_options")
    assert found is not None
    return found


def write(tmp_path: Path, event: str) -> Path:
    (tmp_path / "app.py").touch()
    file = tmp_path / "mappings.yaml"
    file.write_text(f"functions:\n  f:\n    handler: app.f\n    events:\n      - {event}\n")
    return file


@pytest.mark.parametrize(
    "event",
    [
        "queue: {queue: orders, on_failure: {directory: ./bad}}",
        "{queue: orders, on_failure: {directory: ./bad}}",
    ],
)
def test_a_pull_mapping_carries_its_destination(tmp_path: Path, event: str) -> None:
    config = load(write(tmp_path, event), environ={}, options_for=options_for)
    (mapping,) = config.mappings
    assert mapping.on_failure is not None
    assert (mapping.on_failure.connector, mapping.on_failure.resource) == ("directory", "./bad")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("bell: {path: ./x, on_failure: {directory: ./bad}}", "retries are the function's"),
        ("queue: {queue: orders, on_failure: {directori: ./bad}}", "directori"),
    ],
)
def test_what_cannot_have_one_is_told(tmp_path: Path, event: str, message: str) -> None:
    def find(name: str, role: str) -> type[Options]:
        from eventmesh.errors import ConnectorNotFound

        if name not in CONNECTORS:
            raise ConnectorNotFound(f"there is no connector '{name}'")
        return options_for(name, role)

    with pytest.raises(ConfigError) as refused:
        load(write(tmp_path, event), environ={}, options_for=find)
    (problem,) = refused.value.problems
    assert message in problem.message
    assert problem.line == 5


def test_the_schema_knows_where_it_may_stand() -> None:
    schema = Draft202012Validator(json_schema(CONNECTORS))

    def is_valid(event: object) -> bool:
        return schema.is_valid({"functions": {"f": {"handler": "app.f", "events": [event]}}})

    assert is_valid({"queue": {"queue": "q", "on_failure": {"directory": "./bad"}}})
    assert not is_valid({"bell": {"path": "./x", "on_failure": {"directory": "./bad"}}})
