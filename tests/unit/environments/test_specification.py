"""What an environment is told (semantics 9.5)."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from eventmesh.environments.specification import (
    Sandbox,
    Surroundings,
    encode_specification,
    new_sandbox,
    variables,
)
from eventmesh.functions.function import Function

SANDBOX = Sandbox("ab" * 16, "2023/11/14/[$LATEST]" + "ab" * 16, Path("/state/tmp/ab"))


def function(**settings: object) -> Function:
    return Function("orders", "app.handler", Path("/code"), Path("/venv/bin/python"), **settings)  # type: ignore[arg-type]


def test_a_new_sandbox_has_a_name_of_its_own() -> None:
    first, second = (new_sandbox(function(), Path("/state"), 1_700_000_000.0) for _ in range(2))
    assert first.name != second.name
    assert first.stream == f"2023/11/14/[$LATEST]{first.name}"
    assert first.directory == Path("/state/tmp") / first.name[:12]


def test_only_chosen_variables_of_the_engine_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("LANG", "cs_CZ.UTF-8")
    found = variables(function(layers=(Path("/l1"), Path("/l2"))), SANDBOX, Surroundings({}))
    assert "SECRET" not in found
    assert found["PATH"] == "/venv/bin:/bin:/l2/bin:/l1/bin"
    assert (found["HOME"], found["LANG"]) == ("/home/me", "cs_CZ.UTF-8")


def test_who_wins() -> None:
    around = Surroundings({"A": "engine", "B": "engine", "AWS_REGION": "engine"})
    own = {"B": "function", "AWS_REGION": "function", "TZ": "function", "_HANDLER": "function"}
    found = variables(function(environment=own), SANDBOX, around)
    assert (found["A"], found["B"], found["TZ"]) == ("engine", "function", "function")
    assert (found["AWS_REGION"], found["_HANDLER"]) == ("us-east-1", "app.handler")


@pytest.mark.parametrize(
    ("provisioned", "expected"), [(False, "on-demand"), (True, "provisioned-concurrency")]
)
def test_initialization_type(provisioned: bool, expected: str) -> None:
    found = variables(function(), SANDBOX, Surroundings({}, provisioned=provisioned))
    assert found["AWS_LAMBDA_INITIALIZATION_TYPE"] == expected


def test_the_start_header() -> None:
    settings = function(memory_mb=256, ephemeral_storage_mb=1024, layers=(Path("/l"),))
    header = orjson.loads(encode_specification(settings, SANDBOX, Surroundings({}, True)))
    assert header.pop("environment") == variables(settings, SANDBOX, Surroundings({}, True))
    assert header == {
        "handler": "app.handler",
        "code_directory": "/code",
        "layers": ["/l"],
        "tmp_directory": "/state/tmp/ab",
        "private_tmp": True,
        "strict_json": False,
        "file_bytes": 1024 * 1024 * 1024,
        "data_bytes": (256 + 1024) * 1024 * 1024,
    }
