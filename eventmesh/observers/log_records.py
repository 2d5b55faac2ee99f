"""The engine's own `logging` records, in the form of the other lines."""

from __future__ import annotations

import logging

import orjson

from eventmesh.observers.log_lines import Format, printable
from eventmesh.observers.secrets import Mask


class HumanFormatter(logging.Formatter):
    """`12:03:41 WARNING text`, the traceback indented below."""

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        stamp = self.formatTime(record, "%H:%M:%S")
        level = "" if record.levelno <= logging.INFO else f"{record.levelname} "
        lines = [f"{stamp} {level}{printable(self._mask(record.getMessage()))}"]
        if record.exc_info:
            trace = self._mask(self.formatException(record.exc_info))
            lines += [f"         {printable(line)}" for line in trace.splitlines()]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a record."""

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "event": "Log",
            "level": record.levelname,
            "logger": record.name,
            "text": self._mask(record.getMessage()),
        }
        if record.exc_info:
            fields["traceback"] = self._mask(self.formatException(record.exc_info))
        return orjson.dumps(fields, default=str).decode()


def formatter_for(log_format: Format, mask: Mask) -> logging.Formatter:
    """The formatter that goes with the lines of `log_format`; `mask` takes secrets out."""
    return JsonFormatter(mask) if log_format == "json" else HumanFormatter(mask)
