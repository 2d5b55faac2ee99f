"""Topics of a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from eventmesh.errors import DestinationError
from eventmesh_connectors.sns import SnsDestination, SnsDestinationOptions
from tests.connectors.aws_bench import called, new_name

AWSClient = Callable[[str], Any]


def destination(aws: dict[str, str], topic: str) -> SnsDestination:
    settings = {
        "topic": topic,
        "endpoint_url": aws.get("endpoint_url"),
        "region": aws["region_name"],
    }
    return SnsDestination(SnsDestinationOptions.model_validate(settings))


@pytest.mark.parametrize("form", ["name", "arn"])
async def test_a_payload_is_published(
    aws: dict[str, str], aws_client: AWSClient, form: str
) -> None:
    sns, sqs = aws_client("sns"), aws_client("sqs")
    name = new_name("topic")
    topic = (await called(sns.create_topic, Name=name))["TopicArn"]
    queue = (await called(sqs.create_queue, QueueName=new_name("q")))["QueueUrl"]
    attributes = await called(sqs.get_queue_attributes, QueueUrl=queue, AttributeNames=["QueueArn"])
    arn = attributes["Attributes"]["QueueArn"]
    await called(sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sender = destination(aws, {"name": name, "arn": topic}[form])
    await sender.send(b'{"a":1}', {"RequestID": "r", "ErrorCode": "200", "DeliveryId": "d"})
    await sender.close()
    answer = await called(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=10)
    body = json.loads(answer["Messages"][0]["Body"])
    assert body["Message"] == '{"a":1}'
    assert body["TopicArn"] == topic
    assert body["MessageAttributes"] == {
        "RequestID": {"Type": "String", "Value": "r"},
        "ErrorCode": {"Type": "Number", "Value": "200"},
    }
    await called(sns.delete_topic, TopicArn=topic)
    await called(sqs.delete_queue, QueueUrl=queue)


async def test_a_missing_topic_names_its_neighbours(
    aws: dict[str, str], aws_client: AWSClient
) -> None:
    sns = aws_client("sns")
    name = new_name("topic")
    topic = (await called(sns.create_topic, Name=name))["TopicArn"]
    sender = destination(aws, name[:-1])
    with pytest.raises(DestinationError, match=f"did you mean .*'{name}'"):
        await sender.send(b"{}", {})
    await sender.close()
    gone = destination(aws, topic)
    await called(sns.delete_topic, TopicArn=topic)
    with pytest.raises(DestinationError, match="cannot publish to topic arn:"):
        await gone.send(b"{}", {})
    await gone.close()
