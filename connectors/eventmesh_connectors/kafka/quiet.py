"""Keeps the client library's log readable: during an outage it repeats itself twenty times a
second."""

from __future__ import annotations

import logging

_INTERVAL_SECONDS = 30.0
_MOST_REMEMBERED = 256
_LOGGERS = (
    "aiokafka",
    "aiokafka.cluster",
    "aiokafka.conn",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.sender",
)


class Repeats(logging.Filter):
    """Lets each text through once in 30 seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        said_at = self._said_at.get(text)
        if said_at is not None and 0 <= record.created - said_at < _INTERVAL_SECONDS:
            return False
        if len(self._said_at) >= _MOST_REMEMBERED:
            self._said_at.clear()
        self._said_at[text] = record.created
        return True


_REPEATS = Repeats()


def quieten() -> None:
    """Install the filter. Calling it again changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_REPEATS)
