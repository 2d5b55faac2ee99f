"""The JSON Schema accepts what the loader accepts, and refuses typos."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from config_subjects import CONNECTORS, FULL

from eventmesh.config.model import MappingsFile
from eventmesh.config.schema import json_schema

SAMPLE = """\
functions:
  thumbnail:
    handler: thumbnail.handler
    timeout: 30s
    memory: 512
    env: {SIZE: "${THUMB_SIZE:-256}"}
    events:
      - s3: {bucket: ./uploads, events: "s3:ObjectCreated:*", suffix: [.jpg, .png]}
  report: {handler: report.handler, events: [{schedule: cron(0 6 ? * MON-FRI *)}]}
server: {http: "127.0.0.1:8080"}
state: ./.eventmesh
"""


def read(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema(CONNECTORS)


@pytest.fixture(scope="module")
def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("text", [SAMPLE, FULL, "{}", "server: {http: false}"])
def test_good_files_validate(validator, text: str) -> None:
    assert [e.message for e in validator.iter_errors(read(text))] == []


def test_the_sample_loads_too(loaded) -> None:
    assert len(loaded(SAMPLE).mappings) == 2


def test_the_full_file_loads_too(tmp_path: Path, loaded) -> None:
    (tmp_path / "svc").mkdir()
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer.ZIP").write_bytes(b"PK")
    os.symlink(sys.executable, tmp_path / "svc/python")
    assert len(loaded(FULL, {"TOKEN": "t"}).mappings) == 6


@pytest.mark.parametrize(
    ("good", "typo"),
    [
        ("handler: thumbnail.handler", "handle: thumbnail.handler"),
        ("timeout: 30s", "timeuot: 30s"),
        ("memory: 512", "memory: [512]"),
        ("- s3:", "- s4:"),
        ("bucket:", "buckte:"),
        ("suffix: [.jpg, .png]", "suffix: .jpg"),
        ("suffix: [.jpg, .png]", "batch_size: 0"),
        ("suffix: [.jpg, .png]", "auth: {type: imam}"),
        ("suffix: [.jpg, .png]", "enabled: 'no'"),
        ("server:", "serber:"),
        ('http: "127.0.0.1:8080"', "http: true"),
        ("state: ./.eventmesh", "concurrency: 0"),
        ("state: ./.eventmesh", "version: 2"),
        ("schedule: cron(0 6 ? * MON-FRI *)", "named: short"),
    ],
)
def test_typos_do_not(validator, problems, good: str, typo: str) -> None:
    text = SAMPLE.replace(good, typo)
    assert text != SAMPLE
    assert not validator.is_valid(read(text))
    assert len(problems(text)) >= 1


@pytest.mark.parametrize(
    "text",
    [
        "concurrency: ${C:-5}",
        "logs: {format: '${F}'}",
        "account_id: 123456789012",
        "functions: {f: {handler: a.b, strict_json: '${S}', events: [{s3: {bucket: b, size: 3}}]}}",
        "functions: {f: {handler: a.b, events: [{s3: b, name: n, enabled: '${E:-true}'}]}}",
        "functions: {f: {handler: a.b, on_failure: {directory: ./x}}}",
        "functions: {f: {handler: a.b, max_retries: 1, max_event_age: 5m}}",
    ],
)
def test_variables_spellings_and_short_forms(validator, text: str) -> None:
    assert [e.message for e in validator.iter_errors(read(text))] == []


def test_every_setting_is_described(schema: dict[str, Any]) -> None:
    described = {"MappingsFile": schema, **schema["$defs"]}
    missing = [
        f"{name}.{key}"
        for name, definition in described.items()
        for key, rule in definition.get("properties", {}).items()
        if not rule.get("description")
    ]
    assert missing == []
    assert set(schema["properties"]) == set(MappingsFile.model_fields)


def test_connectors_are_in_it_by_role(schema: dict[str, Any]) -> None:
    names = set(schema["$defs"])
    assert {"s3-source", "schedule-source", "named-source", "directory-destination"} <= names
    assert "directory-source" not in names
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_mesh_without_connectors() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema({}))
