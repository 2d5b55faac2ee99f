"""The settings of RabbitMQ's source and destination."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from eventmesh_connectors.rabbitmq import RabbitMqDestinationOptions, RabbitMqOptions
from eventmesh_connectors.rabbitmq.acknowledgements import count_covered
from eventmesh_connectors.rabbitmq.addresses import parse_address


def options(**settings: Any) -> RabbitMqOptions:
    return RabbitMqOptions.model_validate({"queue": "orders", **settings})


def test_a_bare_string_is_the_queue() -> None:
    short = RabbitMqOptions.model_validate("orders")
    assert short.queue == "orders"
    assert (short.batch_size, short.maximum_batching_window) == (100, 0.5)
    assert short.prefetch_count == 200
    assert short.address.shown == "localhost:5672"
    assert RabbitMqDestinationOptions.model_validate("dead").queue == "dead"


@pytest.mark.parametrize(
    ("settings", "prefetch"),
    [
        ({"batch_size": 1}, 2),
        ({"batch_size": 10, "maximum_concurrency": 1}, 20),
        ({"batch_size": 10, "maximum_concurrency": 5}, 60),
        ({"batch_size": 10_000, "maximum_concurrency": 50}, 65_535),
        ({"batch_size": 10, "prefetch": 3}, 3),
    ],
)
def test_prefetch_is_a_batch_more_than_runs(settings: dict[str, Any], prefetch: int) -> None:
    assert options(**settings).prefetch_count == prefetch


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"queue": ""}, "at least 1 character"),
        ({"queue": "q" * 256}, "at most 255"),
        ({"url": "http://u:hunter2@h/"}, "write an address such as amqp://"),
        ({"url": "amqp://"}, "write an address such as amqp://"),
        ({"url": "amqp://u:hunter2@h:port/"}, "not an address"),
        ({"prefetch": 0}, "greater than or equal to 1"),
        ({"prefetch": 65_536}, "less than or equal to 65535"),
        ({"dead_letter_exchange": "dlx"}, "dead_letter_exchange only means something with declare"),
        ({"declare": True, "dead_letter_routing_key": "k"}, "goes with dead_letter_exchange"),
        ({"batch_window": 301}, "less than or equal to 300"),
    ],
)
def test_mistakes_are_explained_without_the_password(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        options(**settings)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give either queue or exchange"),
        ({"queue": "q", "exchange": "e"}, "give either queue or exchange"),
        ({"queue": "q", "routing_key": "k"}, "routing_key goes with exchange"),
    ],
)
def test_a_destination_has_one_target(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RabbitMqDestinationOptions.model_validate(settings)


def test_what_a_queue_is_declared_with() -> None:
    settings = {"declare": True, "queue_type": "quorum", "dead_letter_exchange": ""}
    made = options(**settings, dead_letter_routing_key="dead")
    assert made.queue_arguments == {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
    }
    assert options(declare=True).queue_arguments == {}


def test_resources_name_brokers_that_are_not_the_usual_one() -> None:
    url = "amqps://u:hunter2@mq.example/prod"
    assert options().resource == "orders"
    assert options(url=url).resource == "orders@mq.example:5671/prod"
    assert options(virtual_host="v").resource == "orders@localhost:5672/v"
    assert "hunter2" not in repr(options(url=url)) + repr(options(url=url).address)
    to = {"exchange": "events", "routing_key": "a.b"}
    assert RabbitMqDestinationOptions.model_validate(to).resource == "events/a.b"


@pytest.mark.parametrize(
    ("url", "virtual_host", "found", "path"),
    [
        ("amqp://h", None, "/", "/%2F"),
        ("amqp://h/", None, "/", "/%2F"),
        ("amqp://h/%2F", None, "/", "/%2F"),
        ("amqp://h/prod", None, "prod", "/prod"),
        ("amqp://h/a%2Fb", None, "a/b", "/a%2Fb"),
        ("amqp://h/prod", "other", "other", "/other"),
        ("amqp://h/prod", "ü x", "ü x", "/%C3%BC%20x"),
    ],
)
def test_virtual_hosts(url: str, virtual_host: str | None, found: str, path: str) -> None:
    address = parse_address(url, virtual_host)
    assert address.virtual_host == found
    assert address.url == f"amqp://h:5672{path}?heartbeat=8"


def test_the_urls_own_query_wins() -> None:
    address = parse_address("amqps://u:p%40@h:1/v?heartbeat=30&cafile=/ca.pem")
    assert address.url == "amqps://u:p%40@h:1/v?heartbeat=30&cafile=/ca.pem"


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)))
def test_one_acknowledgement_never_covers_what_has_not_succeeded(
    outstanding: set[int], succeeded: set[int]
) -> None:
    tags = sorted(outstanding)
    count = count_covered(tags, succeeded)
    assert set(tags[:count]) <= succeeded
    assert count == len(tags) or tags[count] not in succeeded
