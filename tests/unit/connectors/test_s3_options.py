"""The settings of a directory as a bucket, and the keys they select."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from eventmesh_connectors.s3 import S3DestinationOptions, S3Options, connector
from eventmesh_connectors.s3.keys import KeyFilter, decode_key, encode_key, parse_filter


def options(**settings: Any) -> S3Options:
    return S3Options.model_validate({"bucket": "./uploads"} | settings)


def problem(**settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        options(**settings)
    return str(caught.value)


def test_defaults() -> None:
    given_options = S3Options.model_validate("./uploads")
    assert given_options == options()
    assert given_options.events == ("s3:ObjectCreated:*",)
    assert (given_options.prefix, given_options.suffix) == ((), ())
    assert given_options.name_in_events == "uploads"
    assert given_options.watch == "auto"
    assert (given_options.poll_interval, given_options.settle) == (1.0, 1.0)
    assert given_options.rescan_interval == 60.0
    assert given_options.starting_position == "trim_horizon"
    assert (given_options.create, given_options.recursive) == (True, True)


def test_path_is_taken_from_the_base_but_shown_as_written() -> None:
    resolved = options().resolved(Path("/srv/app"))
    assert (resolved.bucket, resolved.resource) == ("/srv/app/uploads", "./uploads")
    assert resolved.resolved(Path("/elsewhere")).resource == "./uploads"
    assert options(bucket="/data/in").resolved(Path("/srv")).bucket == "/data/in"
    assert options(bucket="~/in").resolved(Path("/srv")).bucket == str(Path.home() / "in")


@pytest.mark.parametrize(
    ("bucket", "name"), [("/data/in/", "in"), (".", "app"), ("../b", "b"), ("/", "bucket")]
)
def test_bucket_name_is_the_directory_s_own(bucket: str, name: str) -> None:
    assert options(bucket=bucket).resolved(Path("/srv/app")).name_in_events == name
    assert options(bucket=bucket, bucket_name="given").name_in_events == "given"


@pytest.mark.parametrize("bucket", ["https://x/y", "gs://photos"])
def test_other_storage_is_refused(bucket: str) -> None:
    assert "write a local directory such as ./uploads, or s3://name" in problem(bucket=bucket)


def test_events_are_one_name_or_several() -> None:
    names = ["s3:ObjectCreated:Put", "s3:ObjectRemoved:*", "s3:LifecycleTransition"]
    assert options(events=names).events == tuple(names)
    assert options(events="s3:ObjectRemoved:Delete").events == ("s3:ObjectRemoved:Delete",)


@pytest.mark.parametrize(
    ("events", "hint"),
    [
        ("ObjectCreated:*", "did you mean s3:ObjectCreated:*?"),
        ("s3:ObjectCreate:Put", "did you mean s3:ObjectCreated:Put?"),
        (["s3:ObjectRemoved:*", "s3:objectremoved:delete"], "did you mean s3:ObjectRemoved"),
        ("xyzzy", "the usual ones are s3:ObjectCreated:* and s3:ObjectRemoved:*"),
        ([], "name at least one event"),
    ],
)
def test_unknown_events_are_refused_with_a_hint(events: object, hint: str) -> None:
    assert hint in problem(events=events)


def test_wrong_values_are_refused() -> None:
    assert "write 'in/'" in problem(prefix="/in/")
    assert "longer than a key can be" in problem(suffix="x" * 1025)
    assert "greater than 0" in problem(poll_interval=0)
    assert "greater than 0" in problem(rescan_interval="0s")
    assert "'auto', 'inotify' or 'poll'" in problem(watch="kqueue")
    assert "NUL" in problem(bucket="a\0b")
    assert "at least 1 character" in problem(bucket="")


def test_schema_accepts_what_the_model_accepts() -> None:
    schema = Draft202012Validator(S3Options.model_json_schema())
    for settings in (
        {"bucket": "x", "suffix": [".jpg"], "prefix": "in/", "settle": "500ms"},
        {"bucket": "x", "events": "s3:ObjectCreated:*", "poll_interval": 2},
    ):
        schema.validate(settings)
    assert not schema.is_valid({"bucket": "x", "events": "s3:Nothing"})
    fields = S3Options.model_json_schema()["properties"]
    assert all(field.get("description") for field in fields.values())


def test_connector_is_a_source_with_samples() -> None:
    assert connector.source_options is S3Options
    assert connector.destination_options is S3DestinationOptions
    assert set(connector.sample_events) == {"s3-put", "s3-delete"}


def test_prefixes_and_suffixes_are_alternatives_and_case_matters() -> None:
    chosen = options(prefix=["in/", "neu/ä"], suffix=[".jpg", ".png"]).key_filter
    assert chosen.matches(b"in/a.jpg")
    assert chosen.matches("neu/äh.png".encode())
    assert not chosen.matches(b"in/a.JPG")
    assert not chosen.matches(b"In/a.jpg")
    assert not chosen.matches(b"out/in/a.jpg")
    assert options().key_filter.matches(b"\xff")


def test_depth() -> None:
    flat = options(recursive=False).key_filter
    assert flat.matches(b"a")
    assert not flat.matches(b"d/a")
    assert flat.may_hold(b"")
    assert not flat.may_hold(b"d/")


@given(st.lists(st.binary(max_size=4)), st.lists(st.binary(max_size=4)), st.booleans())
def test_filters_are_stored_and_read(
    prefixes: list[bytes], suffixes: list[bytes], recursive: bool
) -> None:
    one = KeyFilter(tuple(prefixes), tuple(suffixes), recursive)
    assert parse_filter(one.text()) == one


@pytest.mark.parametrize("text", ["", "{}", "[1,2,3]", "[[],[]]"])
def test_other_texts_are_no_filters(text: str) -> None:
    with pytest.raises(ValueError, match="Expecting value|not a stored filter"):
        parse_filter(text)


_PARTS = st.lists(st.sampled_from([b"a", b"ab", b"b"]), min_size=1, max_size=3)


@given(_PARTS, st.lists(st.binary(max_size=3) | _PARTS.map(b"/".join), max_size=2))
def test_no_directory_of_a_matching_key_is_passed_over(
    parts: list[bytes], prefixes: list[bytes]
) -> None:
    chosen, key = KeyFilter(tuple(prefixes)), b"/".join(parts)
    if chosen.matches(key):
        for depth in range(len(parts)):
            assert chosen.may_hold(b"".join(part + b"/" for part in parts[:depth]))


def test_directories_outside_the_prefix_are_passed_over() -> None:
    chosen = KeyFilter((b"in/2024/",))
    assert chosen.may_hold(b"in/")
    assert chosen.may_hold(b"in/2024/05/")
    assert not chosen.may_hold(b"in/2023/")
    assert not chosen.may_hold(b"node_modules/")


def test_keys_are_form_url_encoded() -> None:
    assert encode_key("in/a b+c ä\n\"'~.jpg".encode()) == "in/a+b%2Bc+%C3%A4%0A%22%27~.jpg"


@given(st.binary())
def test_encoded_keys_are_decoded(key: bytes) -> None:
    encoded = encode_key(key)
    assert decode_key(encoded) == key
    assert encoded.isascii()
    assert ":" not in encoded
