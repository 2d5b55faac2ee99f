"""What a plain scalar means: YAML 1.2's true and false, decimal numbers, null; all else is text.

YAML 1.1's surprises stay what a person wrote: `no`, `on`, `010`, `12:30:00` and dates are text.
"""

from __future__ import annotations

import math
import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
#: longer digits are no number anyone means, and slow to convert
_MAX_NUMBER_LENGTH = 100


def resolve_scalar(text: str) -> Scalar:
    """The value of a plain scalar. A leading zero (`010`) and an overflow (`1e999`) stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789" or len(text) > _MAX_NUMBER_LENGTH:
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
