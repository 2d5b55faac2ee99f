"""What is asked of the services, where emulators cannot answer: pages of shards, ARNs, states."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from eventmesh.errors import PositionExpired, SourceUnavailable
from eventmesh.testing import FakeClock
from eventmesh_connectors.aws import AwsClient
from eventmesh_connectors.dynamodb.api import DynamoDbApi
from eventmesh_connectors.dynamodb.options import DynamoDbOptions
from eventmesh_connectors.kinesis.api import KinesisApi
from eventmesh_connectors.kinesis.options import KinesisOptions
from eventmesh_connectors.lineage import ListedShard
from eventmesh_connectors.shards import IteratorExpired, Start, Throttled
from tests.unit.connectors.recording_target import RecordingTarget, make_context

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
TABLE_STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-03-23T05:00:00.000"
CREATED = datetime(2026, 3, 23, 5, tzinfo=UTC)
RANGE = {"StartingSequenceNumber": "10"}
CLOSED = {**RANGE, "EndingSequenceNumber": "19"}


class Service:
    """Answers calls in order, by their names; keeps their arguments."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._answers = {
            name: list(given) if isinstance(given, list) else [given]
            for name, given in answers.items()
        }

    def __getattr__(self, name: str) -> Any:
        async def call(**arguments: Any) -> Any:
            self.asked.append((name, arguments))
            answers = self._answers[name]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


class Client(AwsClient):
    def __init__(self, service: Service, endpoint_url: str) -> None:
        self.api = service
        self.region = "eu-west-1"
        self.endpoint_url = endpoint_url

    async def close(self) -> None:
        pass


def refused(code: str) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "no"}}
    return ClientError(answer, "Call")


def summary(status: str = "ACTIVE") -> dict[str, Any]:
    return {
        "StreamDescriptionSummary": {
            "StreamARN": STREAM,
            "StreamStatus": status,
            "StreamCreationTimestamp": CREATED,
        },
        "ResponseMetadata": {"HTTPHeaders": {"date": "Mon, 23 Mar 2026 06:00:00 GMT"}},
    }


def kinesis(
    service: Service,
    clock: FakeClock,
    stream: str = "orders",
    endpoint: str = "https://kinesis.eu-west-1.amazonaws.com",
) -> KinesisApi:
    api = KinesisApi(KinesisOptions(stream=stream), make_context(RecordingTarget(), clock))
    api._client = Client(service, endpoint)
    api._stream = api._named(api._client)
    return api


def dynamodb(service: Service, clock: FakeClock, **options: Any) -> DynamoDbApi:
    api = DynamoDbApi(DynamoDbOptions(**options), make_context(RecordingTarget(), clock))
    client = Client(service, "https://dynamodb.us-east-1.amazonaws.com")
    api._clients = {"dynamodb": client, "dynamodbstreams": client}
    return api


async def test_kinesis_lists_all_pages_of_shards(clock: FakeClock) -> None:
    service = Service(
        describe_stream_summary=summary(),
        list_shards=[
            {
                "Shards": [{"ShardId": "a", "SequenceNumberRange": CLOSED}],
                "NextToken": "more",
            },
            {
                "Shards": [
                    {
                        "ShardId": "c",
                        "ParentShardId": "a",
                        "AdjacentParentShardId": "b",
                        "SequenceNumberRange": RANGE,
                    }
                ]
            },
        ],
    )
    listing = await kinesis(service, clock).list_shards()
    assert listing.shards == [
        ListedShard("a", (), "10", closed=True),
        ListedShard("c", ("a", "b"), "10"),
    ]
    assert (listing.arn, listing.created) == (STREAM, CREATED.timestamp())
    assert listing.listed_at == 1774245600.0
    assert service.asked == [
        ("describe_stream_summary", {"StreamName": "orders"}),
        ("list_shards", {"StreamName": "orders"}),
        ("list_shards", {"NextToken": "more"}),
    ]


@pytest.mark.parametrize(
    ("stream", "endpoint", "named"),
    [
        ("orders", "https://kinesis.eu-west-1.amazonaws.com", {"StreamName": "orders"}),
        (STREAM, "https://kinesis.eu-west-1.amazonaws.com", {"StreamARN": STREAM}),
        (STREAM, "http://127.0.0.1:4566", {"StreamName": "orders"}),
    ],
)
async def test_streams_are_named_as_the_endpoint_knows_them(
    clock: FakeClock, stream: str, endpoint: str, named: dict[str, str]
) -> None:
    service = Service(get_shard_iterator={"ShardIterator": "i"})
    api = kinesis(service, clock, stream, endpoint)
    await api.find_iterator("a", Start("AFTER_SEQUENCE_NUMBER", "7"))
    assert service.asked[0][1] == {
        **named,
        "ShardId": "a",
        "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        "StartingSequenceNumber": "7",
    }


async def test_kinesis_starts_at_times(clock: FakeClock) -> None:
    service = Service(get_shard_iterator={"ShardIterator": "i"})
    iterator = await kinesis(service, clock).find_iterator("a", Start("AT_TIMESTAMP", at=5.5))
    assert service.asked[0][1]["Timestamp"] == 5.5
    assert (iterator.token, iterator.found_at) == ("i", clock.now())


async def test_a_stream_being_deleted_is_unavailable(clock: FakeClock) -> None:
    service = Service(describe_stream_summary=summary("DELETING"), list_shards={"Shards": []})
    with pytest.raises(SourceUnavailable, match="kinesis stream orders is being deleted"):
        await kinesis(service, clock).list_shards()


@pytest.mark.parametrize(
    ("behind", "count", "is_behind"), [(0, 1, False), (5, 1, True), (0, 2, True), (None, 1, False)]
)
async def test_kinesis_is_behind_by_its_word_or_when_a_page_is_full(
    clock: FakeClock, behind: int | None, count: int, is_behind: bool
) -> None:
    record = {
        "SequenceNumber": "1",
        "PartitionKey": "k",
        "Data": "",
        "ApproximateArrivalTimestamp": 1.0,
    }
    answer: dict[str, Any] = {"Records": [record] * count, "NextShardIterator": "j"}
    if behind is not None:
        answer["MillisBehindLatest"] = behind
    service = Service(get_records=answer)
    page = await kinesis(service, clock).get_records("a", "i", 2)
    assert (page.is_behind, page.next_token, len(page.records)) == (is_behind, "j", count)
    assert service.asked == [("get_records", {"ShardIterator": "i", "Limit": 2})]


async def test_refusals_of_kinesis(clock: FakeClock) -> None:
    api = kinesis(
        Service(
            get_records=refused("InvalidArgumentException"),
            get_shard_iterator=refused("InvalidArgumentException"),
            describe_stream_summary=refused("LimitExceededException"),
        ),
        clock,
    )
    with pytest.raises(IteratorExpired):
        await api.get_records("a", "i", 2)
    with pytest.raises(PositionExpired):
        await api.find_iterator("a", Start("AFTER_SEQUENCE_NUMBER", "7"))
    with pytest.raises(SourceUnavailable, match="shard a: InvalidArgumentException"):
        await api.find_iterator("a", Start("AT_TIMESTAMP", at=9e9))
    with pytest.raises(Throttled):
        await api.list_shards()


async def test_dynamodb_lists_all_pages_of_shards(clock: FakeClock) -> None:
    described = {"CreationRequestDateTime": CREATED}
    child = {"ShardId": "b", "ParentShardId": "a", "SequenceNumberRange": RANGE}
    service = Service(
        describe_table={"Table": {"LatestStreamArn": TABLE_STREAM}},
        describe_stream=[
            {
                "StreamDescription": {
                    **described,
                    "Shards": [{"ShardId": "a", "SequenceNumberRange": CLOSED}],
                    "LastEvaluatedShardId": "a",
                }
            },
            {"StreamDescription": {**described, "Shards": [child]}},
        ],
    )
    listing = await dynamodb(service, clock, table="orders").list_shards()
    assert listing.shards == [
        ListedShard("a", (), "10", closed=True),
        ListedShard("b", ("a",), "10"),
    ]
    assert (listing.arn, listing.created) == (TABLE_STREAM, CREATED.timestamp())
    assert [name for name, _ in service.asked] == ["describe_table"] + ["describe_stream"] * 2
    assert service.asked[-1][1] == {"StreamArn": TABLE_STREAM, "ExclusiveStartShardId": "a"}


@pytest.mark.parametrize(
    ("start", "asked"),
    [
        (Start("TRIM_HORIZON"), {"ShardIteratorType": "TRIM_HORIZON"}),
        (Start("LATEST"), {"ShardIteratorType": "LATEST"}),
        (Start("AT_TIMESTAMP", at=5.0), {"ShardIteratorType": "TRIM_HORIZON"}),
        (
            Start("AFTER_SEQUENCE_NUMBER", "7"),
            {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "7"},
        ),
    ],
)
async def test_dynamodb_starts(clock: FakeClock, start: Start, asked: dict[str, str]) -> None:
    service = Service(
        describe_stream={"StreamDescription": {"Shards": []}},
        get_shard_iterator={"ShardIterator": "i"},
    )
    api = dynamodb(service, clock, stream_arn=TABLE_STREAM)
    await api.list_shards()
    await api.find_iterator("a", start)
    assert service.asked[-1][1] == {"StreamArn": TABLE_STREAM, "ShardId": "a", **asked}


async def test_a_dynamodb_stream_that_is_gone(clock: FakeClock) -> None:
    service = Service(describe_stream=refused("ResourceNotFoundException"))
    with pytest.raises(SourceUnavailable, match=f"Stream not found: {TABLE_STREAM}"):
        await dynamodb(service, clock, stream_arn=TABLE_STREAM).list_shards()
