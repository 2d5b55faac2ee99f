"""Webhook signatures (A8): genuine ones pass, everything else does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from eventmesh.messages import HttpRequest
from eventmesh_connectors.http.authentication import ApiKeys, WebhookGuard
from eventmesh_connectors.http.options import WebhookOptions
from eventmesh_connectors.http.webhooks import DeliveryMemory, find_challenge

NOW = 1_700_000_000
BODY = b'{"a": 1}\xff'
KEY = base64.b64encode(b"standard-key").decode()


def mac(key: str | bytes, content: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(key.encode() if isinstance(key, str) else key, content, algorithm).digest()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def guard(**settings: Any) -> WebhookGuard:
    return WebhookGuard(WebhookOptions.model_validate({"secret": "s", **settings}))


def fault(
    checked: WebhookGuard, headers: dict[str, str], now: float = NOW, body: bytes = BODY
) -> str | None:
    return checked.find_fault(HttpRequest("POST", "/", "", list(headers.items()), "", 0, body), now)


GITHUB = {
    "X-Hub-Signature-256": "sha256=" + mac("s", BODY).hex(),
    "X-GitHub-Delivery": "72d3162e",
}


def test_github_example_of_its_documentation() -> None:
    checked = guard(preset="github", secret="It's a Secret to Everybody")
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": "1"}
    assert fault(checked, headers, body=b"Hello, World!") is None
    assert fault(checked, headers, body=b"Hello, World?") == "wrong signature"


def test_github() -> None:
    checked = guard(preset="github")
    assert fault(checked, GITHUB) is None
    digest = mac("s", BODY).hex()
    wrong = [
        {"X-Hub-Signature-256": "sha1=" + mac("s", BODY, "sha1").hex()},
        {"X-Hub-Signature-256": digest},
        {"X-Hub-Signature-256": "sha256=" + digest.upper()},
        {"X-Hub-Signature-256": "sha256=" + digest + " "},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256=\xe9\ud800"},
        {"X-Hub-Signature-256": "sha256=" + mac("other", BODY).hex()},
    ]
    for headers in wrong:
        assert fault(checked, GITHUB | headers) == "wrong signature"
    assert fault(checked, {"X-GitHub-Delivery": "1"}) == "no header x-hub-signature-256"
    assert (
        fault(checked, {"X-Hub-Signature-256": "sha256=" + digest}) == "no header x-github-delivery"
    )


def test_several_secrets_are_valid_while_one_is_replaced() -> None:
    assert fault(guard(preset="github", secret=["new", "s"]), GITHUB) is None
    assert fault(guard(preset="github", secret=["new", "newer"]), GITHUB) == "wrong signature"


def stripe(timestamp: int | str, *signatures: str) -> dict[str, str]:
    return {"Stripe-Signature": ",".join([f"t={timestamp}", *(f"v1={s}" for s in signatures)])}


def test_stripe() -> None:
    checked = guard(preset="stripe")
    good = mac("s", b"%d." % NOW + BODY).hex()
    assert fault(checked, stripe(NOW, good)) is None
    assert fault(checked, stripe(NOW, "0" * 64, good)) is None
    assert fault(checked, stripe(NOW, good), NOW + 300) is None
    assert fault(checked, stripe(NOW, good), NOW + 301) == "signed too long ago, or in the future"
    assert fault(checked, stripe(NOW, good), NOW - 301) == "signed too long ago, or in the future"
    assert fault(checked, stripe(NOW + 1, good)) == "wrong signature"
    assert fault(checked, {"Stripe-Signature": f"t={NOW},v0={good}"}) == "wrong signature"
    for odd in (f"v1={good}", f"t=,v1={good}", f"t=-5,v1={good}", f"t=1e9,v1={good}",
                f"t={NOW},t={NOW},v1={good}", f"t=\u0661,v1={good}"):  # fmt: skip
        assert fault(checked, {"Stripe-Signature": odd}) == "no time of signing"
    many = stripe(NOW, *(["0" * 64] * 16), good)
    assert fault(checked, many) == "wrong signature"


def test_tolerance_is_a_setting() -> None:
    good = stripe(NOW, mac("s", b"%d." % NOW + BODY).hex())
    assert fault(guard(preset="stripe", tolerance="1h"), good, NOW + 3000) is None
    assert fault(guard(preset="stripe", tolerance=10), good, NOW + 11) is not None


def test_slack() -> None:
    checked = guard(preset="slack")
    good = {
        "X-Slack-Request-Timestamp": str(NOW),
        "X-Slack-Signature": "v0=" + mac("s", b"v0:%d:" % NOW + BODY).hex(),
    }
    assert fault(checked, good) is None
    assert fault(checked, good, NOW + 360) == "signed too long ago, or in the future"
    assert fault(checked, good | {"X-Slack-Request-Timestamp": str(NOW + 1)}) == "wrong signature"
    assert fault(checked, {"X-Slack-Signature": good["X-Slack-Signature"]}) == "no time of signing"


def test_standard_webhooks() -> None:
    content = b"msg_1.%d." % NOW + BODY
    good = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": "v1a,xxx v1," + b64(mac(b"standard-key", content)),
    }
    for secret in (f"whsec_{KEY}", KEY):
        checked = guard(preset="standard", secret=secret)
        assert fault(checked, good) is None
        assert fault(checked, good | {"webhook-id": "msg_2"}) == "wrong signature"
        assert fault(checked, good, NOW + 301) == "signed too long ago, or in the future"
        without = {name: value for name, value in good.items() if name != "webhook-id"}
        assert fault(checked, without) == "no header webhook-id"


def test_shopify() -> None:
    checked = guard(preset="shopify")
    assert fault(checked, {"X-Shopify-Hmac-Sha256": b64(mac("s", BODY))}) is None
    assert fault(checked, {"X-Shopify-Hmac-Sha256": mac("s", BODY).hex()}) == "wrong signature"


def test_generic() -> None:
    checked = guard(
        preset="generic",
        header="X-Sig",
        prefix="sha512:",
        encoding="base64",
        algorithm="sha512",
        template="{id}|{timestamp}|{body}|",
        timestamp_header="X-Time",
        id_header="X-Id",
    )
    content = b"7|%d|" % NOW + BODY + b"|"
    good = {
        "x-id": "7",
        "x-time": str(NOW),
        "x-sig": "sha512:" + b64(mac("s", content, "sha512")),
    }
    assert fault(checked, good) is None
    assert fault(checked, good | {"x-id": "8"}) == "wrong signature"
    assert fault(guard(preset="generic", header="h"), {"h": mac("s", BODY).hex()}) is None


def test_slack_challenge() -> None:
    assert find_challenge(b'{"type":"url_verification","challenge":"abc"}') == "abc"
    for body in (b'{"type":"url_verification"}', b'{"type":"x","challenge":"abc"}', b"{",
                 b'["url_verification"]', b'{"type":"url_verification","challenge":1}',
                 b'"url_verification" {'):  # fmt: skip
        assert find_challenge(body) is None


def test_deliveries_are_remembered_for_a_day_and_only_so_many() -> None:
    memory = DeliveryMemory(capacity=2)
    assert memory.take("a", NOW)
    assert not memory.take("a", NOW + 86_399)
    assert memory.take("a", NOW + 86_400)
    memory.forget("a")
    memory.forget("never seen")
    assert memory.take("a", NOW + 86_400)
    assert memory.take("b", NOW + 86_401)
    assert memory.take("c", NOW + 86_402)
    assert memory.take("a", NOW + 86_403)
    assert not memory.take("c", NOW + 86_404)
    assert memory.take("\ud800" * 9000, NOW + 86_405)


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ("alpha", True),
        ("beta", True),
        ("Alpha", False),
        ("alpha\n", False),
        ("alpha\0", False),
        ("alpha,beta", False),
        ("", False),
        (None, False),
        ("\ud800", False),
        (hashlib.sha256(b"alpha").hexdigest(), False),
    ],
)
def test_api_keys(given: str | None, allowed: bool) -> None:
    assert ApiKeys(["alpha", "beta"]).allow(given) is allowed
    assert not ApiKeys([])
