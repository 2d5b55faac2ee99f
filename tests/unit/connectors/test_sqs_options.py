"""The settings of queues and topics, and how queues are named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from eventmesh_connectors.aws_access import AwsAccess, is_emulator
from eventmesh_connectors.queue_address import QueueAddress, parse_queue, queue_access
from eventmesh_connectors.sns import SnsDestinationOptions
from eventmesh_connectors.sqs import SqsDestinationOptions, SqsOptions
from eventmesh_connectors.sqs.source import asked_visibility


def problem(kind: Any = SqsOptions, **settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate({"queue": "orders"} | settings)
    return str(caught.value)


def test_the_short_form_is_the_queue_and_defaults_are_aws_s() -> None:
    options = SqsOptions.model_validate("orders")
    assert (options.queue, options.resource) == ("orders", "orders")
    assert (options.batch_size, options.maximum_batching_window) == (10, 0.0)
    assert options.visibility_timeout is None
    assert options.release_failed is False
    assert options.access == AwsAccess(None, None, None)


def test_large_batches_need_a_window_as_aws_says() -> None:
    text = (
        "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater"
        " than 10"
    )
    assert text in problem(batch_size=11)
    assert text in problem(batch_size=11, batch_window="500ms")
    assert SqsOptions(queue="q", batch_size=10_000, maximum_batching_window=1).batch_size == 10_000


def test_fifo_queues_have_small_batches_and_no_window() -> None:
    assert "at most 10 messages" in problem(queue="q.fifo", batch_size=11, batch_window=1)
    assert "no batching window" in problem(queue="q.fifo", batch_window="1s")
    assert SqsOptions(queue="q.fifo", batch_size=10).address.is_fifo


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("orders", QueueAddress("orders")),
        (
            "arn:aws:sqs:eu-west-1:123456789012:orders.fifo",
            QueueAddress("orders.fifo", account="123456789012", region="eu-west-1"),
        ),
        (
            "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
            QueueAddress(
                "orders",
                "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
                "123456789012",
                "eu-west-1",
            ),
        ),
        (
            "http://localhost:4566/000000000000/orders",
            QueueAddress(
                "orders",
                "http://localhost:4566/000000000000/orders",
                "000000000000",
                None,
                "http://localhost:4566",
            ),
        ),
        (
            "http://localhost:4566/queue/eu-west-1/000000000000/orders",
            QueueAddress(
                "orders",
                "http://localhost:4566/queue/eu-west-1/000000000000/orders",
                "000000000000",
                "eu-west-1",
                "http://localhost:4566",
            ),
        ),
    ],
)
def test_a_queue_is_a_name_an_arn_or_a_url(text: str, address: QueueAddress) -> None:
    assert parse_queue(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "a b", "x" * 81, "arn:aws:sns:us-east-1:123456789012:t", "arn:aws:sqs:::q",
     "https://example.com/q", "ftp://h/1/q", "orders.fifoo"],
)  # fmt: skip
def test_anything_else_is_no_queue(text: str) -> None:
    with pytest.raises(ValueError, match="queue"):
        parse_queue(text)


def test_arn_and_url_complete_what_is_not_set() -> None:
    address = parse_queue("http://localhost:4566/queue/eu-west-1/000000000000/orders")
    assert queue_access(AwsAccess(), address) == AwsAccess("http://localhost:4566", "eu-west-1")
    given = AwsAccess("http://other:1", "us-east-1", "p")
    assert queue_access(given, address) == given


def test_failures_go_to_standard_queues_and_topics_only() -> None:
    assert "FIFO" in problem(SqsDestinationOptions, queue="q.fifo")
    arn = "arn:aws:sns:us-east-1:123456789012:t.fifo"
    with pytest.raises(ValidationError, match="FIFO topic"):
        SnsDestinationOptions.model_validate(arn)
    with pytest.raises(ValidationError, match="is not a topic"):
        SnsDestinationOptions.model_validate("a b")
    assert SqsDestinationOptions.model_validate("dlq").resource == "dlq"
    topic = SnsDestinationOptions.model_validate("arn:aws:sns:eu-west-1:123456789012:t")
    assert topic.topic_access.region == "eu-west-1"


def test_messages_that_wait_for_a_window_stay_hidden_longer() -> None:
    def asked(own: int, **settings: Any) -> int | None:
        return asked_visibility(SqsOptions.model_validate({"queue": "q"} | settings), own)

    assert asked(30) is None
    assert asked(30, batch_window="10s") == 40
    assert asked(60, batch_window="10s") is None
    assert asked(30, visibility_timeout="2m") == 120
    assert "less than or equal to 43200" in problem(visibility_timeout="13h")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"endpoint_url": "localhost:4566"}, "is not an endpoint"),
        ({"endpoint_url": "http://u:p@host"}, "no credentials"),
        ({"region": "Ireland"}, "is not a region"),
        ({"profile": ""}, "at least 1 character"),
    ],
)
def test_settings_of_aws_are_checked(settings: dict[str, str], text: str) -> None:
    assert text in problem(**settings)


def test_the_endpoint_is_the_setting_s_then_the_environment_s() -> None:
    environ = {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_SQS": "http://sqs"}
    assert AwsAccess("http://own").endpoint_of("sqs", environ) == "http://own"
    assert AwsAccess().endpoint_of("sqs", environ) == "http://sqs"
    assert AwsAccess().endpoint_of("sns", environ) == "http://all"
    assert AwsAccess().endpoint_of("sns", {}) is None
    ignored = environ | {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    assert AwsAccess().endpoint_of("sqs", ignored) is None


@pytest.mark.parametrize(
    ("endpoint", "emulated"),
    [
        (None, False),
        ("https://sqs.eu-west-1.amazonaws.com", False),
        ("https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com", False),
        ("https://sqs.cn-north-1.amazonaws.com.cn", False),
        ("http://localhost:4566", True),
        ("http://amazonaws.com.example.org", True),
    ],
)
def test_what_is_not_aws_s_is_an_emulator(endpoint: str | None, emulated: bool) -> None:
    assert is_emulator(endpoint) is emulated
