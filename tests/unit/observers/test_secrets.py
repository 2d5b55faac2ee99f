"""No form of a secret is shown."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.observers.secrets import escape_controls, mask_for

TRICKY = 'pa"ss\\wo/rd é+\u2028 1'


@pytest.mark.parametrize(
    "written",
    [
        TRICKY,
        repr(TRICKY),
        ascii(TRICKY),
        json.dumps(TRICKY),
        json.dumps(TRICKY, ensure_ascii=False),
        escape_controls(TRICKY),
        urllib.parse.quote(TRICKY, safe=""),
        base64.b64encode(TRICKY.encode()).decode(),
    ],
)
def test_every_form_is_masked(written: str) -> None:
    shown = mask_for([TRICKY])(f"before {written} after")
    assert shown.strip("=\"' ").startswith("before ")
    assert "***" in shown
    assert "wo/rd" not in shown
    assert "pa" not in shown
    assert shown.endswith(" after")


def test_each_line_of_a_key_is_masked() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nshort\n-----END KEY-----\n"
    mask = mask_for([key])
    assert mask("line MIIEvQIBADANBg of it") == "line *** of it"
    assert mask(key) == "***"


def test_the_longest_value_is_masked_whole() -> None:
    assert mask_for(["password", "password123"])("password123 password") == "*** ***"


def test_short_values_are_no_secrets() -> None:
    assert mask_for(["short", ""])("a short text") == "a short text"
    assert mask_for([])("text") == "text"


@given(st.text(min_size=8), st.text(), st.text())
def test_a_plain_secret_never_comes_through(secret: str, before: str, after: str) -> None:
    shown = mask_for([secret])(f"{before}{secret}{after}")
    assert "***" in shown
    assert len(shown) <= len(before) + len(after) + len(secret)


def test_control_characters_are_shown_as_escapes() -> None:
    assert escape_controls("a\tb\r\n\x1b[31m\x85\u2028é") == "a\tb\\r\\n\\x1b[31m\\x85\\u2028é"
