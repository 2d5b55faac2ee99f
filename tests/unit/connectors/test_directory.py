"""The directory destination."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from eventmesh.errors import DestinationError
from eventmesh_connectors.directory import (
    DirectoryDestination,
    DirectoryOptions,
    connector,
    file_stem,
)

ATTRIBUTES = {"RequestID": "6a1d-1", "DeliveryId": "6a1d-1-on_failure", "ErrorCode": "200"}


def destination(path: Path, **settings: object) -> DirectoryDestination:
    return DirectoryDestination(DirectoryOptions.model_validate({"path": str(path)} | settings))


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


async def test_payload_is_written_as_it_is(tmp_path: Path) -> None:
    await destination(tmp_path / "a/b").send(b'{"x": 1}', ATTRIBUTES)
    (name,) = names(tmp_path / "a/b")
    assert name == f"{file_stem(ATTRIBUTES)}.json"
    assert (tmp_path / "a/b" / name).read_bytes() == b'{"x": 1}'
    assert (tmp_path / "a/b" / name).stat().st_mode & 0o777 == 0o640


async def test_sent_again_is_the_same_file(tmp_path: Path) -> None:
    for _ in range(3):
        await destination(tmp_path).send(b"1", ATTRIBUTES)
    assert len(names(tmp_path)) == 1


async def test_other_deliveries_of_a_request_are_other_files(tmp_path: Path) -> None:
    one = destination(tmp_path)
    deliveries = [ATTRIBUTES | {"DeliveryId": f"6a1d-1-{n}"} for n in range(20)]
    await asyncio.gather(*(one.send(b"1", attributes) for attributes in deliveries))
    assert len(names(tmp_path)) == 20


async def test_attributes_when_asked_for(tmp_path: Path) -> None:
    await destination(tmp_path, attributes=True).send(b"1", ATTRIBUTES)
    stem = file_stem(ATTRIBUTES)
    assert names(tmp_path) == [f"{stem}.attributes.json", f"{stem}.json"]
    assert orjson.loads((tmp_path / f"{stem}.attributes.json").read_bytes()) == ATTRIBUTES


async def test_what_cannot_be_written_is_told_with_path_and_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DestinationError, match=rf"write {tmp_path}/file/.*: Not a directory"):
        await destination(tmp_path / "file").send(b"1", ATTRIBUTES)


async def test_nothing_half_written_stays(tmp_path: Path) -> None:
    (tmp_path / f"{file_stem(ATTRIBUTES)}.json").mkdir()
    with pytest.raises(DestinationError, match="Is a directory"):
        await destination(tmp_path).send(b"1", ATTRIBUTES)
    assert names(tmp_path) == [f"{file_stem(ATTRIBUTES)}.json"]


def test_name_starts_with_the_time_where_it_is_known() -> None:
    stem = file_stem(ATTRIBUTES | {"Timestamp": "2024-03-21T14:50:38.511Z"})
    assert stem.startswith("2024-03-21T145038511Z-6a1d-1-")


@given(st.dictionaries(st.sampled_from(["Timestamp", "RequestID", "DeliveryId"]), st.text()))
def test_no_attribute_leads_out_of_the_directory(attributes: dict[str, str]) -> None:
    stem = file_stem(attributes)
    assert stem.replace("-", "").replace("_", "").isalnum()
    assert len(stem) <= 160


def test_options(tmp_path: Path) -> None:
    options = DirectoryOptions.model_validate("./failed").resolved(tmp_path)
    assert (options.path, options.resource) == (str(tmp_path / "failed"), "./failed")
    assert options.resolved(Path("/elsewhere")).resource == "./failed"
    for wrong in ("", "s3://x", "a\0b"):
        with pytest.raises(ValidationError):
            DirectoryOptions.model_validate(wrong)


def test_connector_is_a_destination_only() -> None:
    assert connector.source is None
    assert connector.destination is DirectoryDestination
    assert connector.destination_options is DirectoryOptions
