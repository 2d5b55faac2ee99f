"""Payloads and their attributes as messages of SQS and SNS (semantics 2.2). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: what AWS sends beside a dead letter, and as which type
_TYPES = {"RequestID": "String", "ErrorCode": "Number", "ErrorMessage": "String"}
#: characters that XML, and so SQS, does not know
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPED = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}


def message_text(payload: bytes) -> str:
    """JSON as a message's text. The two characters SQS refuses are escaped: the same JSON."""
    return payload.decode(errors="replace").translate(_ESCAPED)


def message_attributes(attributes: Mapping[str, str]) -> dict[str, Any]:
    """The attributes of a dead letter as message attributes; empty and all other ones are left
    out."""
    converted = {}
    for name, kind in _TYPES.items():
        value = _FORBIDDEN.sub("\ufffd", attributes.get(name, ""))
        if value:
            converted[name] = {"DataType": kind, "StringValue": value}
    return converted
