"""Real buckets: their settings, what a listing changes, the keys of payloads."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from eventmesh.errors import SourceUnavailable, StateFull
from eventmesh.testing import FakeClock
from eventmesh.testing.clock import settle
from eventmesh_connectors.s3 import S3DestinationOptions, S3Options, S3Source, connector
from eventmesh_connectors.s3 import bucket_listing as listing_module
from eventmesh_connectors.s3.bucket_catalogue import BucketCatalogue, load_bucket_catalogue
from eventmesh_connectors.s3.bucket_destination import object_key
from eventmesh_connectors.s3.bucket_events import BucketEventWriter, ListedObject
from eventmesh_connectors.s3.bucket_listing import BucketListingSource
from eventmesh_connectors.s3.bucket_names import parse_bucket
from eventmesh_connectors.s3.bucket_queue import BucketQueueSource
from eventmesh_connectors.s3.keys import KeyFilter
from tests.unit.connectors.fake_aws import FakeClient, Opening, client_error
from tests.unit.connectors.recording_bucket_target import (
    Announcements,
    RecordingBucketTarget,
    make_context,
)

MODIFIED = 1_711_032_638.511


def listed(key: str, etag: str = "e", size: int = 5, at: float = MODIFIED) -> ListedObject:
    return ListedObject(key.encode(), size, etag, at)


def problem(**settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        S3Options.model_validate({"bucket": "s3://photos"} | settings)
    return str(caught.value)


def test_a_real_bucket_is_followed_by_its_queue_or_by_listing() -> None:
    assert "needs either queue:" in problem()
    assert "needs either queue:" in problem(queue="q", list_interval="5s")
    assert "watch is for directories only" in problem(queue="q", watch="poll")
    assert "starting_position goes with list_interval" in problem(
        queue="q", starting_position="latest"
    )
    assert "greater than or equal to 1" in problem(list_interval="500ms")
    assert "write s3://photos and prefix:" in problem(bucket="s3://photos/in/", queue="q")
    assert "is not a bucket" in problem(bucket="s3://Photos", queue="q")
    with pytest.raises(ValidationError, match="queue is for real buckets only"):
        S3Options.model_validate({"bucket": "./uploads", "queue": "q"})


def test_the_source_fits_the_bucket() -> None:
    context = make_context(RecordingBucketTarget(), Announcements())
    assert connector.source is not None

    def built(**settings: Any) -> type:
        assert connector.source is not None
        return type(connector.source(S3Options.model_validate(settings), context))

    assert built(bucket="./uploads") is S3Source
    assert built(bucket="s3://photos", queue="q") is BucketQueueSource
    assert built(bucket="arn:aws:s3:::photos", list_interval=5) is BucketListingSource


def test_buckets_are_named_by_url_or_arn() -> None:
    assert parse_bucket("s3://photos/a/b") == ("photos", "a/b")
    assert parse_bucket("arn:aws:s3:::photos") == ("photos", "")
    for wrong in ("s3://", "s3://a_b", "arn:aws:s3:::photos/key", "photos"):
        with pytest.raises(ValueError, match="is not a bucket"):
            parse_bucket(wrong)
    with pytest.raises(ValidationError, match="use the destination directory"):
        S3DestinationOptions.model_validate("./failed")
    assert S3DestinationOptions.model_validate("s3://bkt/failed/").address == ("bkt", "failed/")


def test_an_event_has_the_shape_of_the_directory_s() -> None:
    writer = BucketEventWriter(bucket_name="photos", mapping="m", region="eu-west-1")
    event = json.loads(writer.created(listed("a b+é.txt"), 0x17BECF1E898C2900))
    record = event["Records"][0]
    assert record["s3"]["object"] == {
        "key": "a+b%2B%C3%A9.txt",
        "size": 5,
        "eTag": "e",
        "sequencer": "17BECF1E898C2900",
    }
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["eventTime"] == "2024-03-21T14:50:38.511Z"
    assert record["s3"]["bucket"]["arn"] == "arn:aws:s3:::photos"
    directory = connector.sample_events["s3-put"]["Records"][0]
    assert list(record) == [name for name in directory if name != "eventmesh"]
    assert list(record["s3"]) == list(directory["s3"])
    assert list(record["s3"]["object"]) == list(directory["s3"]["object"])
    assert list(record["s3"]["bucket"]) == list(directory["s3"]["bucket"])

    removed = json.loads(writer.removed(b"x", 1, MODIFIED))["Records"][0]
    assert removed["eventName"] == "ObjectRemoved:Delete"
    assert removed["s3"]["object"] == {"key": "x", "sequencer": "0000000000000001"}
    parts = json.loads(writer.created(listed("x", "abc-2"), 1))["Records"][0]
    assert parts["eventName"] == "ObjectCreated:CompleteMultipartUpload"


def test_a_catalogue_comes_back_from_its_positions() -> None:
    catalogue = BucketCatalogue(KeyFilter())
    page = [listed("a b"), listed("c", "e-2")]
    catalogue.next_sequencer(MODIFIED)
    stored = catalogue.positions(page) | catalogue.filter_position()
    catalogue.apply(page)
    loaded = load_bucket_catalogue({k: v for k, v in stored.items() if v}, KeyFilter())
    assert loaded.stamps == catalogue.stamps
    assert loaded.sequencer == catalogue.sequencer
    assert loaded.is_stored_filter_current
    assert loaded.changed(page) == []
    assert loaded.changed([listed("a b", size=6)]) == [listed("a b", size=6)]
    assert loaded.changed([listed("a b", at=MODIFIED + 1)]) == [listed("a b", at=MODIFIED + 1)]
    assert loaded.missing({b"c"}) == [b"a b"]
    assert load_bucket_catalogue({"a": "nonsense"}, KeyFilter()).unreadable == 1


class FakeBucket:
    """A bucket that is listed, two objects a page."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[str, float]] = {}
        self.requests: list[dict[str, Any]] = []
        self.error: Exception | None = None

    async def head_bucket(self, **request: Any) -> Any:
        if self.error is not None:
            raise self.error
        return {}

    async def list_buckets(self) -> Any:
        return {"Buckets": [{"Name": "photos"}]}

    async def list_objects_v2(self, **request: Any) -> Any:
        self.requests.append(request)
        start = int(request.get("ContinuationToken", 0))
        keys = sorted(self.objects)
        answer: dict[str, Any] = {
            "Contents": [
                {
                    "Key": key,
                    "Size": 5,
                    "ETag": f'"{self.objects[key][0]}"',
                    "LastModified": datetime.fromtimestamp(self.objects[key][1], UTC),
                }
                for key in keys[start : start + 2]
            ],
            "IsTruncated": start + 2 < len(keys),
        }
        return answer | ({"NextContinuationToken": str(start + 2)} if answer["IsTruncated"] else {})


class Bench:
    def __init__(self, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self.bucket = FakeBucket()
        self.target = RecordingBucketTarget()
        self.said = Announcements()
        self.client = FakeClient(self.bucket)
        monkeypatch.setattr(listing_module, "open_client", Opening(self.client))

    def put(self, *keys: str, etag: str = "e") -> None:
        self.bucket.objects |= dict.fromkeys(keys, (etag, MODIFIED))

    async def follow(self, seconds: float = 0.0, **settings: Any) -> None:
        """Run the source for a while."""
        options = {"bucket": "s3://photos", "list_interval": "10s"} | settings
        context = make_context(self.target, self.said, self.clock)
        source = BucketListingSource(S3Options.model_validate(options), context)
        running = asyncio.ensure_future(source.run(self.target))
        await settle(60)
        await self.clock.advance(seconds)
        await settle(60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


@pytest.fixture
def bench(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(clock, monkeypatch)


ALL = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]


async def test_a_listing_delivers_what_is_new_changed_and_gone(bench: Bench) -> None:
    bench.put("a", "b", "c")
    await bench.follow(events=ALL)
    assert bench.target.seen() == [("ObjectCreated:Put", key) for key in "abc"]
    assert bench.said == ["listing every 10s (3 objects)"]
    bench.put("b", etag="other")
    bench.put("d", etag="d-2")
    del bench.bucket.objects["a"]
    bench.target.events.clear()
    await bench.follow(events=ALL)  # also after a restart
    assert bench.target.seen() == [
        ("ObjectCreated:Put", "b"),
        ("ObjectCreated:CompleteMultipartUpload", "d"),
        ("ObjectRemoved:Delete", "a"),
    ]
    assert bench.target.keys() == {"b", "c", "d"}
    sequencers = bench.target.sequencers()
    assert sequencers == sorted(sequencers)
    bench.target.events.clear()
    await bench.follow(35.0, events=ALL)
    assert bench.target.seen() == []
    assert bench.client.closed == 3


async def test_a_bucket_is_listed_again_and_again(bench: Bench) -> None:
    await bench.follow(35.0)
    assert len(bench.bucket.requests) == 4
    assert bench.bucket.requests[0] == {"Bucket": "photos", "MaxKeys": 1000}


async def test_latest_only_notes_what_was_there(bench: Bench) -> None:
    bench.put("in/a", "in/b", "out/c")
    settings = {"starting_position": "latest", "prefix": "in/"}
    await bench.follow(**settings)
    assert bench.target.seen() == []
    assert bench.bucket.requests[0]["Prefix"] == "in/"
    bench.put("in/d")
    bench.put("in/a", etag="other")
    await bench.follow(**settings)
    assert bench.target.seen() == [("ObjectCreated:Put", "in/a"), ("ObjectCreated:Put", "in/d")]
    bench.target.events.clear()
    await bench.follow(starting_position="latest")  # a wider filter: known, not new
    assert bench.target.seen() == []
    assert "out/c" in bench.target.keys()


async def test_events_not_wanted_are_catalogued_all_the_same(bench: Bench) -> None:
    bench.put("a")
    await bench.follow(events=["s3:ObjectRemoved:*"])
    assert bench.target.seen() == []
    await bench.follow(events=ALL)
    assert bench.target.seen() == []


async def test_a_full_state_is_waited_for(bench: Bench) -> None:
    bench.put("a")
    bench.target.failures = [StateFull("disk full")]
    await bench.follow(1.0)
    assert bench.target.seen() == [("ObjectCreated:Put", "a")]


async def test_a_missing_bucket_names_its_neighbours(bench: Bench) -> None:
    bench.bucket.error = client_error("404", "HeadBucket")
    options = S3Options.model_validate({"bucket": "s3://photo", "list_interval": 10})
    source = BucketListingSource(options, make_context(bench.target, bench.said, bench.clock))
    with pytest.raises(SourceUnavailable, match="did you mean 'photos'"):
        await source.run(bench.target)
    assert bench.client.closed == 1


def failure(arn: str = "arn:aws:lambda:us-east-1:000000000000:function:thumb:$LATEST") -> bytes:
    record = {"timestamp": "2024-03-21T14:50:38.511Z", "requestContext": {"functionArn": arn}}
    return json.dumps(record).encode()


def test_keys_are_lambda_s_and_the_same_for_the_same_delivery() -> None:
    delivery = {"RequestID": "r", "DeliveryId": "d"}
    key = object_key(failure(), delivery, 0.0)
    head, _, name = key.rpartition("2024-03-21T14.50.38-")
    assert head == "aws/lambda/async/thumb/2024/03/21/"
    assert len(name) == 36
    assert object_key(failure(), delivery, 99.0) == key
    assert object_key(failure(), {"DeliveryId": "e"}, 0.0) != key


def test_keys_of_mappings_name_mapping_and_shard() -> None:
    attributes = {"DeliveryId": "d", "Mapping": "m", "Shard": "shardId-000000000000"}
    key = object_key(failure(), attributes, 0.0)
    assert key.startswith("aws/lambda/m/shardId-000000000000/2024/03/21/2024-03-21T14.50.38-")
    assert object_key(failure(), attributes | {"Shard": ""}, 0.0).startswith("aws/lambda/m/2024/")


def test_keys_stay_below_their_folder_whatever_they_are_made_of() -> None:
    key = object_key(failure(), {"DeliveryId": "d", "Mapping": "../../a b", "Shard": "x/y"}, 0.0)
    assert key.startswith("aws/lambda/..-..-a-b-")
    assert len(key.split("/")) == 8
    letter = object_key(b'{"any": "event"}', {"DeliveryId": "d"}, 0.0)
    assert letter.startswith("aws/lambda/async/dead-letters/")
