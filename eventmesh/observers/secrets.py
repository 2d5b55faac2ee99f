"""Keeps secret values out of everything eventmesh writes."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator

#: a shorter value is no secret, and masking it would garble every line
MIN_LENGTH = 8
MASK = "***"
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")

#: gives a text without the secret values in it
Mask = Callable[[str], str]


def escape_controls(text: str) -> str:
    """`text` with control characters, line ends included, as escapes; tabs stay."""
    return _UNPRINTABLE.sub(lambda m: m[0].encode("unicode_escape").decode(), text)


def mask_for(secrets: Iterable[str]) -> Mask:
    """A function that puts `***` for each of these values, in whatever form it is written: plain,
    as JSON or Python writes it, percent-encoded, base64; of several lines, for each line."""
    forms = {form for secret in secrets for form in _forms(secret) if len(form) >= MIN_LENGTH}
    if not forms:
        return lambda text: text
    longest_first = sorted(forms, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(MASK, text)


def _forms(secret: str) -> Iterator[str]:
    if len(secret) < MIN_LENGTH:
        return
    raw = secret.encode("utf-8", "surrogatepass")
    yield from (base64.b64encode(raw).decode().rstrip("="), urllib.parse.quote(raw, safe=""))
    for part in (secret, *secret.splitlines()):
        yield from (part, escape_controls(part), repr(part)[1:-1], ascii(part)[1:-1])
        yield from (json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1])
