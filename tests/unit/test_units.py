"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from eventmesh.units import Duration, Megabytes, Size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (30, 30.0),
        (0.5, 0.5),
        (0, 0.0),
        ("30", 30.0),
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1.5h", 5400.0),
        ("2d", 172800.0),
        (" 5 m ", 300.0),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    "value", ["", "s", "-1", "5 years", "1h30m", "5M", "1e3", "nan", None, True, [], "9" * 400, -1]
)
def test_no_durations(value: object) -> None:
    with pytest.raises(ValueError, match=r"not a duration|must be 0 or more"):
        parse_duration(value)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -0.1])
def test_no_finite_positive_number(value: float) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        parse_duration(value)
    with pytest.raises(ValueError, match="must be 0 or more"):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (512, 512),
        ("512", 512),
        ("64KB", 65536),
        ("6mb", 6 * 1024**2),
        ("1.5 GB", 1610612736),
        ("7B", 7),
    ],
)
def test_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "MB", "-1", "6TB", "6 MiB", None, False, {}])
def test_no_sizes(value: object) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "unit"), [("9" * 400, "B"), ("9" * 308 + "GB", "B"), (1e305, "GB")]
)
def test_endless_sizes_are_refused(value: object, unit: str) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        parse_size(value, unit=unit)


@pytest.mark.parametrize(
    ("value", "megabytes"), [(512, 512), ("512", 512), ("512MB", 512), ("1GB", 1024), ("1KB", 0)]
)
def test_megabytes(value: object, megabytes: int) -> None:
    assert TypeAdapter(Megabytes).validate_python(value) == megabytes


def test_fields_have_a_schema_for_numbers_and_text() -> None:
    for kind in (Duration, Size, Megabytes):
        schema = TypeAdapter(kind).json_schema()
        assert schema["anyOf"] == [{"type": "number", "minimum": 0}, {"type": "string"}]
        assert schema["description"]


@given(st.text(max_size=12) | st.floats() | st.integers())
def test_anything_is_read_or_refused(value: object) -> None:
    for parse in (parse_duration, parse_size):
        try:
            result = parse(value)
        except ValueError:
            result = 0
        assert 0 <= result < float("inf")
