"""S3 events as handlers see them (semantics 8.1)."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh_connectors.s3 import connector
from eventmesh_connectors.s3.catalogue import Catalogue, Change, ChangeKind, parse_position
from eventmesh_connectors.s3.events import EventWriter, format_time, wanted_kinds

NOW = 1_711_032_638.511
ENTRY = parse_position("2a-5-17becbd8f1c53fc0-0cc175b9c0f1b6a831c399e269772661")
WRITER = EventWriter(
    bucket_name='b"ü', directory=b"/srv/up", mapping="thumbnail-s3", region="eu-west-1"
)


def record(change: Change, catalogue: Catalogue | None = None) -> dict[str, Any]:
    (event,) = WRITER.write([change], frozenset(ChangeKind), catalogue or Catalogue(), NOW)
    (only,) = orjson.loads(event)["Records"]
    return dict(only)


def test_created() -> None:
    made = record(Change(b"in/a b+c.txt", ChangeKind.PUT, ENTRY))
    sequencer = f"{int(NOW * 1e9):016X}"
    owner = made["s3"]["bucket"].pop("ownerIdentity")
    made.pop("responseElements")
    assert made == {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventTime": "2024-03-21T14:50:38.511Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDAEVENTMESH00000000"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "thumbnail-s3",
            "bucket": {"name": 'b"ü', "arn": 'arn:aws:s3:::b"ü'},
            "object": {
                "key": "in/a+b%2Bc.txt",
                "size": 5,
                "eTag": "0cc175b9c0f1b6a831c399e269772661",
                "sequencer": sequencer,
            },
        },
        "eventmesh": {"path": "/srv/up/in/a b+c.txt"},
    }
    assert len(owner["principalId"]) == 14


def test_request_ids_differ() -> None:
    catalogue = Catalogue()
    change = Change(b"a", ChangeKind.PUT, ENTRY)
    ids = {record(change, catalogue)["responseElements"]["x-amz-request-id"] for _ in range(5)}
    assert len(ids) == 5
    assert all(len(one) == 16 for one in ids)


def test_removed_has_neither_size_nor_etag() -> None:
    made = record(Change(b"a", ChangeKind.DELETE, None))
    assert made["eventName"] == "ObjectRemoved:Delete"
    assert set(made["s3"]["object"]) == {"key", "sequencer"}


def test_path_that_is_no_text_is_given_as_bytes() -> None:
    made = record(Change(b"\xff", ChangeKind.COPY, ENTRY))
    assert made["s3"]["object"]["key"] == "%FF"
    assert made["eventmesh"] == {"pathBase64": base64.b64encode(b"/srv/up/\xff").decode()}


@given(st.binary(min_size=1))
def test_every_key_gives_json(key: bytes) -> None:
    assert record(Change(key.replace(b"/", b"_"), ChangeKind.PUT, ENTRY))["eventSource"] == "aws:s3"


def test_only_wanted_changes_give_events() -> None:
    changes = [Change(b"k", kind, ENTRY) for kind in ChangeKind]
    events = WRITER.write(changes, wanted_kinds(["s3:ObjectCreated:Copy"]), Catalogue(), NOW)
    assert [orjson.loads(event)["Records"][0]["eventName"] for event in events] == [
        "ObjectCreated:Copy"
    ]


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["s3:ObjectCreated:*"], {ChangeKind.PUT, ChangeKind.COPY}),
        (["s3:ObjectCreated:Put"], {ChangeKind.PUT}),
        (["s3:ObjectRemoved:*"], {ChangeKind.DELETE}),
        (
            ["s3:ObjectRemoved:Delete", "s3:ObjectCreated:*"],
            set(ChangeKind) - {ChangeKind.ADOPTED, ChangeKind.RESTAMPED},
        ),
        (["s3:ObjectTagging:*", "s3:LifecycleTransition"], set()),
    ],
)
def test_names_cover_changes(names: list[str], kinds: set[ChangeKind]) -> None:
    assert wanted_kinds(names) == kinds


@given(st.lists(st.floats(0, 4e9), min_size=2))
def test_sequencers_only_grow_also_when_the_clock_steps_back(times: list[float]) -> None:
    catalogue = Catalogue()
    given_out = [catalogue.next_sequencer(now) for now in times]
    assert given_out == sorted(set(given_out))


def test_times_have_milliseconds() -> None:
    assert format_time(0) == "1970-01-01T00:00:00.000Z"
    assert format_time(4_300_000_000.25) == "2106-04-06T12:26:40.250Z"


def test_samples_are_events() -> None:
    put = connector.sample_events["s3-put"]["Records"][0]
    assert put["s3"]["object"]["key"] == "pictures/happy+face.jpg"
    assert put["s3"]["object"]["size"] == 1024
    assert connector.sample_events["s3-delete"]["Records"][0]["eventName"] == "ObjectRemoved:Delete"
