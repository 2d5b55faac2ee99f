"""Settings of the Kafka connector: defaults, mistakes with their texts, TLS and login."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from eventmesh_connectors.kafka import KafkaDestinationOptions, KafkaOptions
from eventmesh_connectors.kafka.problems import explain, explain_missing, explain_unreachable
from eventmesh_connectors.kafka.quiet import Repeats
from eventmesh_connectors.kafka.security import TlsOptions, build_client_settings
from eventmesh_connectors.kafka.source import default_group

SASL = {"mechanism": "PLAIN", "username": "u", "password": "hunter2"}
MINIMAL = {"brokers": ["localhost:9092"], "topics": ["orders"]}


def test_defaults_are_those_of_lambda() -> None:
    options = KafkaOptions(brokers="localhost:9092", topics="orders")
    assert (options.brokers, options.topics) == (("localhost:9092",), ("orders",))
    assert (options.batch_size, options.maximum_batching_window) == (100, 0.5)
    assert options.starting_position == "trim_horizon"
    assert (options.event_source, options.resource) == ("self_managed", "orders")
    assert KafkaOptions(**MINIMAL, batch_window="2s").maximum_batching_window == 2.0
    two = KafkaOptions(brokers="a:1", topics=["a", "b"], max_retries=3, fetch_max_bytes="1MB")
    assert (two.resource, two.maximum_retry_attempts, two.fetch_max_bytes) == ("a,b", 3, 1024**2)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"brokers": []}, "at least 1 item"),
        ({"brokers": "localhost"}, "'localhost' is not host:port, as in localhost:9092"),
        ({"brokers": "a:1,b:2"}, "write several brokers as a list"),
        ({"brokers": "kafka://a:1"}, "write host:port without kafka://"),
        ({"brokers": "a:70000"}, "70000 is not a port"),
        ({"brokers": "a b:1"}, "is not host:port"),
        ({"topics": []}, "at least 1 item"),
        ({"topics": "a,b"}, "write several topics as a list"),
        ({"topics": "orders.*"}, "patterns are not offered"),
        ({"topics": ".."}, "is not a topic"),
        ({"topics": ["a", "a"]}, "a topic is named twice"),
        ({"group": "my group"}, "is not a group name"),
        ({"event_source": "msk"}, "needs event_source_arn"),
        ({"event_source_arn": "arn:aws:kafka:x"}, "is for event_source: msk only"),
        ({"event_source": "msk", "event_source_arn": "orders"}, "must begin with arn:"),
        ({"starting_position": "at_timestamp"}, "goes with starting_position"),
        ({"session_timeout": "5s"}, "greater than or equal to 6"),
        ({"rebalance_timeout": "31s"}, "less than or equal to 30"),
        ({"sasl": {**SASL, "mechanism": "GSSAPI"}}, "PLAIN"),
        ({"brokers": "k:1", "sasl": SASL}, "set tls: true, or tls: false if that is meant"),
        ({"tls": {"key_file": "k.pem"}}, "key_file needs cert_file"),
        ({"tls": {"key_password": "x"}}, "key_password needs key_file"),
        ({"brookers": "a:1"}, "Extra inputs"),
    ],
)
def test_mistakes_are_explained(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        KafkaOptions(**(MINIMAL | settings))
    assert text in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_bare_text_is_no_source() -> None:
    with pytest.raises(ValidationError):
        KafkaOptions.model_validate("orders")


@pytest.mark.parametrize("broker", ["localhost:9092", "127.0.0.1:9092", "[::1]:9092"])
def test_a_password_may_be_sent_readable_on_this_machine(broker: str) -> None:
    KafkaOptions(brokers=broker, topics="t", sasl=SASL)


def test_the_destination_has_a_topic() -> None:
    options = KafkaDestinationOptions(brokers="a:1", topic="failures")
    assert options.resource == "failures"
    with pytest.raises(ValidationError, match="is not a topic"):
        KafkaDestinationOptions(brokers="a:1", topic="a/b")


# what the client is told


def test_plaintext() -> None:
    settings = build_client_settings(KafkaOptions(**MINIMAL))
    assert settings == {
        "bootstrap_servers": ["localhost:9092"],
        "security_protocol": "PLAINTEXT",
    }


def test_login_over_tls() -> None:
    options = KafkaOptions(**MINIMAL, tls=True, sasl=SASL | {"mechanism": "SCRAM-SHA-512"})
    settings = build_client_settings(options)
    context = settings.pop("ssl_context")
    assert settings == {
        "bootstrap_servers": ["localhost:9092"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "u",
        "sasl_plain_password": "hunter2",
    }
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert "hunter2" not in repr(options)


def test_brokers_prove_who_they_are_also_where_names_do_not_match() -> None:
    context = build_client_settings(KafkaOptions(**MINIMAL, tls={"check_hostname": False}))[
        "ssl_context"
    ]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)


def test_login_without_tls_must_be_said() -> None:
    options = KafkaOptions(brokers="k:1", topics="t", sasl=SASL, tls=False)
    assert build_client_settings(options)["security_protocol"] == "SASL_PLAINTEXT"


def test_files_are_taken_from_the_configurations_directory(tmp_path: Path) -> None:
    options = KafkaOptions(**MINIMAL, tls={"ca_file": "ca.pem", "cert_file": "/etc/own.pem"})
    tls = options.resolved(tmp_path).tls
    assert isinstance(tls, TlsOptions)
    assert (tls.ca_file, tls.cert_file, tls.key_file) == (
        tmp_path / "ca.pem",
        Path("/etc/own.pem"),
        None,
    )
    with pytest.raises(OSError, match="No such file"):
        build_client_settings(options.resolved(tmp_path))


# names and texts


def test_a_mapping_has_a_group_of_its_own() -> None:
    group = default_group("enrich: kafka/orders ü")
    assert group == default_group("enrich: kafka/orders ü")
    assert group.startswith("eventmesh-enrich-kafka-orders-")
    assert group != default_group("enrich: kafka/orders u")
    assert len(default_group("x" * 500)) <= 200


def test_near_topics_are_named() -> None:
    text = explain_missing({"oders", "zzz"}, {"orders", "payments"})
    assert text == (
        "topic 'oders' does not exist or may not be seen (did you mean orders?); "
        "topic 'zzz' does not exist or may not be seen"
    )


def test_hints() -> None:
    from aiokafka import errors

    assert "grant it READ on the group" in explain(errors.GroupAuthorizationFailedError("g"))
    assert explain(errors.UnknownError()) == "[Error -1] UnknownError"
    text = explain_unreachable(("a:1", "b:2"), errors.KafkaConnectionError("refused"))
    assert text.startswith("no broker answers at a:1, b:2 (hint: check host, port, tls and sasl")
    denied = explain_unreachable(("a:1",), errors.AuthenticationFailedError("no"))
    assert denied.startswith("a:1: AuthenticationFailedError")


def test_the_clients_log_does_not_repeat_itself() -> None:
    repeats = Repeats()

    def says(text: str, at: float) -> bool:
        record = logging.LogRecord("aiokafka", logging.ERROR, "", 1, "%s", (text,), None)
        record.created = at
        return repeats.filter(record)

    assert [says("down", 0), says("down", 29), says("other", 29), says("down", 30)] == [
        True,
        False,
        True,
        True,
    ]
    assert [says(str(n), 50) for n in range(300)] == [True] * 300
