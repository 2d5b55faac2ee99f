"""Notifications of a real bucket as records, however they came (semantics 8.1, 8.2)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eventmesh_connectors.s3.bucket_notifications import (
    NotificationFilter,
    read_records,
    wanted_names,
)
from eventmesh_connectors.s3.keys import KeyFilter


def record(key: str = "a+b.txt", name: str = "ObjectCreated:Put", bucket: str = "b") -> Any:
    return {
        "eventName": name,
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 5}},
    }


def from_sns(message: Any) -> dict[str, Any]:
    return {"Type": "Notification", "TopicArn": "arn:t", "Message": json.dumps(message)}


def from_eventbridge(detail_type: str = "Object Created", **detail: Any) -> dict[str, Any]:
    return {
        "version": "0",
        "source": "aws.s3",
        "detail-type": detail_type,
        "account": "123456789012",
        "time": "2024-03-21T14:50:38Z",
        "region": "eu-west-1",
        "detail": {
            "version": "0",
            "bucket": {"name": "b"},
            "object": {"key": "a b+é.txt", "size": 5, "etag": "e", "sequencer": "0055"},
            "request-id": "R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": "PutObject",
            **detail,
        },
    }


def test_s3_s_own_message_is_taken_as_it_is() -> None:
    body = {"Records": [record(), record("x")]}
    assert read_records(json.loads(json.dumps(body))) == body["Records"]


def test_sns_is_unwrapped() -> None:
    assert read_records(from_sns({"Records": [record()]})) == [record()]
    found = read_records(from_sns(from_eventbridge()))
    assert found is not None
    assert found[0]["eventName"] == "ObjectCreated:Put"


def test_the_test_message_holds_no_records() -> None:
    test_message = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}
    assert read_records(test_message) == []
    assert read_records(from_sns(test_message)) == []


def test_eventbridge_becomes_s3_s_record() -> None:
    assert read_records(from_eventbridge()) == [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "eu-west-1",
            "eventTime": "2024-03-21T14:50:38.000Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "AWS:123456789012"},
            "requestParameters": {"sourceIPAddress": "1.2.3.4"},
            "responseElements": {"x-amz-request-id": "R", "x-amz-id-2": ""},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "EventBridge",
                "bucket": {
                    "name": "b",
                    "ownerIdentity": {"principalId": "123456789012"},
                    "arn": "arn:aws:s3:::b",
                },
                "object": {
                    "key": "a+b%2B%C3%A9.txt",
                    "size": 5,
                    "eTag": "e",
                    "sequencer": "0055",
                },
            },
        }
    ]


@pytest.mark.parametrize(
    ("detail_type", "detail", "name"),
    [
        ("Object Created", {"reason": "CopyObject"}, "ObjectCreated:Copy"),
        ("Object Created", {"reason": "POST Object"}, "ObjectCreated:Post"),
        (
            "Object Created",
            {"reason": "CompleteMultipartUpload"},
            "ObjectCreated:CompleteMultipartUpload",
        ),
        ("Object Deleted", {"reason": "DeleteObject"}, "ObjectRemoved:Delete"),
        (
            "Object Deleted",
            {"reason": "DeleteObject", "deletion-type": "Delete Marker Created"},
            "ObjectRemoved:DeleteMarkerCreated",
        ),
        ("Object Deleted", {"reason": "Lifecycle Expiration"}, "LifecycleExpiration:Delete"),
        ("Object Restore Completed", {}, "ObjectRestore:Completed"),
        ("Object Tags Added", {}, "ObjectTagging:Put"),
    ],
)
def test_eventbridge_s_kinds_have_s3_s_names(
    detail_type: str, detail: dict[str, str], name: str
) -> None:
    found = read_records(from_eventbridge(detail_type, **detail))
    assert found is not None
    assert found[0]["eventName"] == name
    gone = name.startswith(("ObjectRemoved", "LifecycleExpiration"))
    assert ("eTag" in found[0]["s3"]["object"]) is not gone


@pytest.mark.parametrize(
    "body",
    [
        "text",
        None,
        [],
        {},
        {"Records": []},
        {"Records": [{"eventSource": "aws:sqs"}]},
        {"Records": ["x"]},
        {"Records": [{"eventName": "x", "s3": {"bucket": {"name": "b"}, "object": {"key": 5}}}]},
        {"Type": "Notification", "Message": "not json"},
        {"Type": "Notification", "Message": 5},
        {"source": "aws.s3", "detail-type": "Object Created", "detail": {}},
        {"source": "aws.ec2", "detail-type": "Object Created", "detail": {}},
        from_sns(from_sns(from_sns({"Records": [record()]}))),
    ],
)
def test_anything_else_is_no_notification(body: Any) -> None:
    assert read_records(body) is None


def test_other_makers_keys_and_names_are_brought_into_s3_s_form() -> None:
    found = read_records({"Records": [record("in%2Fa%20b%2B%C3%A9.txt", "s3:ObjectCreated:Put")]})
    assert found is not None
    assert found[0]["s3"]["object"]["key"] == "in/a+b%2B%C3%A9.txt"
    assert found[0]["eventName"] == "ObjectCreated:Put"


def test_names_are_exact_or_a_family() -> None:
    wanted = wanted_names(("s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"))
    assert wanted("ObjectCreated:CompleteMultipartUpload")
    assert wanted("ObjectRemoved:Delete")
    assert not wanted("ObjectRemoved:DeleteMarkerCreated")
    assert not wanted_names(("s3:LifecycleTransition",))("ObjectCreated:Put")


def test_filters_select_records_by_decoded_key_one_an_event() -> None:
    notifications = NotificationFilter(
        "b", ("s3:ObjectCreated:*",), KeyFilter((b"in/",), (b".txt",))
    )
    records = [
        record("in/a+b.txt"),
        record("out/a.txt"),
        record("in/x.jpg"),
        record("in/c.txt", "ObjectRemoved:Delete"),
        record("in%2Fd.txt"),
    ]
    events = [json.loads(event) for event in notifications.events(records)]
    assert [event["Records"][0]["s3"]["object"]["key"] for event in events] == [
        "in/a+b.txt",
        "in%2Fd.txt",
    ]
    assert all(len(event["Records"]) == 1 for event in events)
    assert notifications.foreign_bucket(records) is None
    assert notifications.foreign_bucket([record(bucket="other")]) == "other"
