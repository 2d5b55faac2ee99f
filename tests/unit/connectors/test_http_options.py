"""The settings of the http connector: forms, defaults, mistakes, and secrets that stay secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from eventmesh_connectors.http import HttpDestinationOptions, HttpOptions, connector
from eventmesh_connectors.http.options import CorsOptions, WebhookOptions
from eventmesh_connectors.http.source import largest_body

HOOK = {"preset": "github", "secret": "s3cret-canary"}


def read(value: Any) -> HttpOptions:
    options = HttpOptions.model_validate(value)
    assert isinstance(options, HttpOptions)
    return options


@pytest.mark.parametrize(
    ("value", "resource"),
    [
        ("GET /thumbs/{name}", "GET /thumbs/{name}"),
        ("get  /x", "GET /x"),
        ("/x/{proxy+}", "ANY /x/{proxy+}"),
        ("ANY /", "ANY /"),
        ("$default", "$default"),
        ({"route": "POST /x"}, "POST /x"),
        ({"method": "POST", "path": "/x"}, "POST /x"),
        ({"path": "/x/"}, "ANY /x/"),
        ({"route": "POST /x", "method": "POST", "path": "/x"}, "POST /x"),
    ],
)
def test_forms_of_a_route(value: Any, resource: str) -> None:
    options = read(value)
    assert options.resource == resource
    assert read(options.model_dump()).resource == resource


@pytest.mark.parametrize(
    ("value", "format_"),
    [(2.0, "2.0"), (1.0, "1.0"), (2, "2.0"), (1, "1.0"), ("2.0", "2.0"), ("1", "1.0"),
     ("alb", "alb"), ("function_url", "function_url")],
)  # fmt: skip
def test_formats(value: Any, format_: str) -> None:
    assert read({"path": "/x", "format": value}).format == format_


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "a path is missing"),
        ({"method": "GET"}, "a path is missing"),
        ("GET thumbs", "must begin with /"),
        ("FETCH /x", "is not a method"),
        ("TRACE /x", "is not a method"),
        ("GET /a b", "is not a method"),
        ("GET /a?b=1", "is not a path segment"),
        ("GET /a//b", "is not a path segment"),
        ("GET /a/../b", "is not a path segment"),
        ("GET /{a}x", "is not a path segment"),
        ("GET /{}", "is not a path segment"),
        ("GET /{a+}/b", "must come last"),
        ("GET /{a}/{a}", "the same name"),
        ({"route": "GET /x", "path": "/y"}, "contradict"),
        ({"route": "GET /x", "method": "POST"}, "contradict"),
        ({"path": "/x", "format": 3}, "Input should be"),
        ({"path": "/x", "format": True}, "Input should be"),
        ({"path": "/x", "auth": "jwt"}, "Extra inputs"),
        ({"path": "/x", "api_keys": [""]}, "key 1 is empty"),
        ({"path": "/x", "api_keys": ["good", "two words"]}, "key 2 is empty"),
        ({"path": "/x", "api_keys": ["newline\n"]}, "key 1 is empty"),
        ({"path": "/x", "stage_variables": {"a": "b"}, "format": "alb"}, "stage_variables is for"),
        ({"path": "/x", "stage": "p", "format": "function_url"}, "stage is for format"),
        ({"path": "/x", "binary_media_types": "image/*"}, "binary_media_types is for format 1.0"),
        ({"path": "/x", "format": 1, "binary_media_types": "png"}, "is not a media type"),
        ({"path": "/x", "multi_value_headers": True}, "multi_value_headers is for format alb"),
        ({"path": "/x/{a}", "format": "function_url"}, "no path parameters"),
        ({"path": "$default", "method": "GET"}, "$default takes every method"),
        ({"path": "$default", "format": 1.0}, "$default takes every method"),
        ({"path": "/x", "invocation": "event", "maximum_body": "2MB"}, "at most 1MB"),
        ({"path": "/x", "invocation": "event", "timeout": 1}, "nobody waits"),
        ({"path": "/x", "timeout": 0}, "more than 0"),
        ({"path": "/x", "cors": {"allow_credentials": True}}, "origins by name"),
        ({"path": "/x", "cors": {"allow_origins": ["a\r\nb"]}}, "must be one word"),
        ({"path": "/x", "cors": "yes"}, "cors"),
        ({"path": "/x", "webhook": {"preset": "github"}}, "secret"),
        ({"path": "/x", "webhook": {"preset": "github", "secret": []}}, "at least 1 item"),
        ({"path": "/x", "webhook": {"preset": "github", "secret": ""}}, "secret is empty"),
        ({"path": "/x", "webhook": {"preset": "paypal", "secret": "x"}}, "Input should be"),
        ({"path": "/x", "webhook": {**HOOK, "header": "x"}}, "only for preset generic"),
        ({"path": "/x", "webhook": {**HOOK, "preset": "generic"}}, "needs header"),
        ({"path": "/x", "webhook": {**HOOK, "preset": "standard"}}, "whsec_ and base64"),
        (
            {"path": "/x", "webhook": {**HOOK, "preset": "generic", "header": "x",
                                       "template": "{timestamp}.{body}"}},
            "set timestamp_header",
        ),
        (
            {"path": "/x", "webhook": {**HOOK, "preset": "generic", "header": "x",
                                       "template": "{nonce}{body}"}},
            "template holds",
        ),
        (
            {"path": "/x", "webhook": {**HOOK, "preset": "generic", "header": "x",
                                       "timestamp_header": "t"}},
            "proves nothing",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_named_and_show_no_secret(value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        HttpOptions.model_validate(value)
    assert message in str(caught.value)
    assert "s3cret-canary" not in str(caught.value)


def test_secrets_are_never_shown() -> None:
    options = read({"path": "/x", "api_keys": ["key-canary"], "webhook": HOOK})
    destination = HttpDestinationOptions.model_validate(
        {"url": "https://a/b?token=1", "headers": {"Authorization": "canary"},
         "secret": "whsec_Y2FuYXJ5"}
    )  # fmt: skip
    shown = f"{options!r}{options}{options.model_dump_json()}{destination!r}{destination}"
    assert "canary" not in shown
    assert "whsec" not in shown


def test_one_text_stands_for_a_list() -> None:
    options = read({"path": "/x", "format": 1, "api_keys": "k", "binary_media_types": "Image/*"})
    assert [key.get_secret_value() for key in options.api_keys] == ["k"]
    assert options.binary_media_types == ("image/*",)


def test_cors_true_means_everybody() -> None:
    cors = read({"path": "/x", "cors": True}).cors
    assert cors is not None
    assert (cors.allow_origins, cors.allow_methods, cors.allow_headers) == (("*",),) * 3
    assert read({"path": "/x", "cors": False}).cors is None


@pytest.mark.parametrize(
    ("value", "largest"),
    [
        ({}, 10 * 1024**2),
        ({"format": 1.0}, 10 * 1024**2),
        ({"format": "function_url"}, 6 * 1024**2),
        ({"format": "alb"}, 1024**2),
        ({"invocation": "event"}, 1024**2),
        ({"maximum_body": "64KB"}, 64 * 1024),
        ({"maximum_body": 0}, 0),
        ({"invocation": "event", "maximum_body": "64KB"}, 64 * 1024),
    ],
)
def test_largest_body(value: Any, largest: int) -> None:
    assert largest_body(read({"path": "/x", **value})) == largest


@pytest.mark.parametrize(
    ("value", "routes"),
    [
        ("GET /x/{a}", [("GET", "/x/{a}")]),
        ("$default", [("ANY", "/{proxy+}")]),
        ({"path": "/", "format": "function_url"}, [("ANY", "/{proxy+}")]),
        (
            {"path": "/f", "format": "function_url"},
            [("ANY", "/f"), ("ANY", "/f/"), ("ANY", "/f/{proxy+}")],
        ),
    ],
)
def test_served_routes(value: Any, routes: list[tuple[str, str]]) -> None:
    assert list(read(value).served_routes) == routes


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ftp://a/b", "write an address"),
        ("a/b", "write an address"),
        ("http:///x", "write an address"),
        ("https://u:p@a/b", "no user and password"),
        ("https://a/b c", "percent-encode"),
        ("https://a/\r\nx: y", "percent-encode"),
        ("https://a:99999/", "Port"),
        ("https://a:0/", "0 is not a port"),
        ({"url": "https://a/", "headers": {"a b": "c"}}, "cannot be set"),
        ({"url": "https://a/", "headers": {"Host": "c"}}, "cannot be set"),
        ({"url": "https://a/", "headers": {"a": "b\r\nc"}}, "line break"),
        ({"url": "https://a/", "secret": "%"}, "whsec_ and base64"),
        ({"url": "https://a/", "timeout": 0}, "greater than 0"),
    ],
)
def test_mistakes_of_a_destination(value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        HttpDestinationOptions.model_validate(value)
    assert message in str(caught.value)


def test_a_destination_is_named_without_its_query() -> None:
    options = HttpDestinationOptions.model_validate("https://example.com:8443/hook?key=1")
    assert options.resource == "https://example.com:8443/hook"


def test_every_setting_is_described() -> None:
    for options in (connector.source_options, connector.destination_options):
        assert options is not None
        assert all(field.description for field in options.model_fields.values())
        assert options.model_json_schema()["additionalProperties"] is False


def test_sample_events() -> None:
    samples = connector.sample_events
    assert list(samples) == ["http-v2", "http-v1", "function-url", "alb"]
    assert samples["http-v2"]["pathParameters"] == {"name": "cat.jpg"}
    assert samples["http-v1"]["multiValueQueryStringParameters"] == {"size": ["64", "128"]}
    assert samples["function-url"]["queryStringParameters"] == {"size": "64,128"}
    assert samples["alb"]["queryStringParameters"] == {"size": "128"}


def test_the_page_lists_every_setting() -> None:
    page = (Path(__file__).parents[3] / "docs/connectors/http.md").read_text()
    models: list[type[BaseModel]] = [HttpOptions, CorsOptions, WebhookOptions]
    for model in (*models, HttpDestinationOptions):
        missing = [name for name in model.model_fields if f"\n| `{name}` |" not in page]
        assert missing == []
    assert json.dumps(connector.sample_events["http-v2"], indent=2) in page
