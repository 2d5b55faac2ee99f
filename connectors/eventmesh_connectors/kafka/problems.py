"""What went wrong, in words that say what to do next. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from .client import KafkaConnectionError, KafkaError

_HINTS = {
    "AuthenticationFailedError": "check sasl: mechanism, username and password",
    "TopicAuthorizationFailedError": "the user may not read the topic: grant it READ and DESCRIBE",
    "GroupAuthorizationFailedError": "the user may not use the group: grant it READ on the group",
    "InconsistentGroupProtocolError": (
        "other members of the group share partitions out in another way; give the mapping a group "
        "of its own"
    ),
    "InvalidSessionTimeoutError": (
        "session_timeout is outside the brokers' group.min/max.session.timeout.ms"
    ),
    "UnsupportedCodecError": "pip install 'eventmesh[kafka]' brings the compression codecs",
}
_MOST_SHOWN = 3


def explain(error: KafkaError) -> str:
    """The error's text and what to do about it."""
    name = type(error).__name__
    text = " ".join(str(error).split()) or name
    text = text if name in text else f"{name}: {text}"
    hint = _HINTS.get(name)
    return f"{text} (hint: {hint})" if hint else text


def explain_unreachable(brokers: Sequence[str], error: Exception) -> str:
    """No broker of the configuration could be asked."""
    shown = ", ".join(brokers)
    if not isinstance(error, KafkaConnectionError) and isinstance(error, KafkaError):
        return f"{shown}: {explain(error)}"
    return (
        f"no broker answers at {shown} (hint: check host, port, tls and sasl; the log line "
        "'Unable connect to' says why)"
    )


def explain_silence(brokers: Sequence[str], seconds: float) -> str:
    """A broker answered once, and then those it told us of did not."""
    return (
        f"the brokers behind {', '.join(brokers)} did not answer for {seconds:g} s (hint: clients "
        "go on to the addresses in the brokers' advertised.listeners; those must be reachable from "
        "here)"
    )


def explain_missing(missing: Collection[str], existing: Collection[str]) -> str:
    """Topics that do not exist, and what they may have been meant to be."""
    parts = []
    for topic in sorted(missing):
        near = difflib.get_close_matches(topic, existing, _MOST_SHOWN, 0.6)
        meant = f" (did you mean {' or '.join(near)}?)" if near else ""
        parts.append(f"topic {topic!r} does not exist or may not be seen{meant}")
    return "; ".join(parts)
