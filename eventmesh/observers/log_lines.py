"""Telemetry events as log lines: for people (`human`), for machines (`json`), or as Lambda writes
them (`lambda`).

Text from handlers and from outside is escaped, cut and cleared of secret values before it is shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal

import orjson

from eventmesh import telemetry
from eventmesh.connectors import InvocationResult
from eventmesh.observers.secrets import escape_controls, mask_for

Format = Literal["human", "json", "lambda"]
#: takes whole lines without their end; must not wait
WriteLines = Callable[[list[str]], None]

_PLATFORM = (
    b"START RequestId: ",
    b"END RequestId: ",
    b"REPORT RequestId: ",
    b"INIT_START ",
    b"INIT_REPORT ",
)
_LONGEST_LINE = 4096
_MARGIN = " " * 9
_PROBLEMS = (
    telemetry.SourceFailed,
    telemetry.InvocationThrottled,
    telemetry.EventRetried,
    telemetry.EventFailed,
    telemetry.DeliveryFailed,
    telemetry.BatchRetried,
    telemetry.RecordsGivenUp,
)


def printable(text: str) -> str:
    """`text` safe for a terminal and for one line of a log: control characters are shown as
    escapes."""
    return escape_controls(text)[:_LONGEST_LINE]


#: one or more a batch, beside the invocation's own line: metrics count them, no line tells them
_COUNTED_ONLY = (telemetry.RecordsRead, telemetry.BatchInvoked, telemetry.ShardProgressed)


class LogLines:
    """A telemetry subscriber. `now` gives the local time to print; with `only_problems` neither
    handlers' output nor invocations that went well are shown. `file_option` (such as
    ` -f /srv/mappings.yaml`) ends the commands that people are told to type."""

    def __init__(
        self,
        log_format: Format,
        write: WriteLines,
        *,
        now: Callable[[], datetime],
        secrets: Iterable[str] = (),
        only_problems: bool = False,
        file_option: str = "",
    ) -> None:
        self._write = write
        self._now = now
        self._mask = mask_for(secrets)
        self._only_problems = only_problems
        self._file_option = file_option
        renderers = {"human": self._human, "json": self._json, "lambda": self._lambda}
        self._render: Callable[[telemetry.TelemetryEvent], list[str]] = renderers[log_format]

    def __call__(self, event: telemetry.TelemetryEvent) -> None:
        if isinstance(event, _COUNTED_ONLY) or self._only_problems and not _is_problem(event):
            return
        lines = self._render(event)
        if lines:
            self._write(lines)

    def _shown(self, text: str) -> str:
        """Masked before it is cut, or a part of a secret could stay."""
        return printable(self._mask(text))

    def _lambda(self, event: telemetry.TelemetryEvent) -> list[str]:
        if isinstance(event, telemetry.LogText):
            text = event.text.decode(errors="replace")
            return [self._shown(line) for line in text.splitlines()]
        if isinstance(event, telemetry.InvocationEnded):
            return []
        return self._human(event)

    def _json(self, event: telemetry.TelemetryEvent) -> list[str]:
        stamp = self._now().astimezone().isoformat(timespec="milliseconds")
        fields = {"time": stamp, "event": type(event).__name__, **_plain_fields(event)}
        for name, value in fields.items():
            if isinstance(value, str):
                fields[name] = self._mask(value)[:_LONGEST_LINE]
        if isinstance(event, telemetry.LogText):
            texts = event.text.decode(errors="replace").splitlines()
            return [_dump(fields | {"text": self._mask(text)[:_LONGEST_LINE]}) for text in texts]
        return [_dump(fields)]

    def _human(self, event: telemetry.TelemetryEvent) -> list[str]:
        lines = _human_lines(event)
        if not lines:
            return []
        if isinstance(event, telemetry.EventFailed):
            show = f"eventmesh dlq show {event.request_id[:8]}{self._file_option}"
            lines.append(f"look at it:  {show}")
        first, *rest = [self._shown(line) for line in lines]
        if isinstance(event, telemetry.LogText):
            return [f"{_MARGIN}{line}" for line in (first, *rest)]
        return [f"{self._now():%H:%M:%S} {first}", *(f"{_MARGIN}{line}" for line in rest)]


def _is_problem(event: telemetry.TelemetryEvent) -> bool:
    if isinstance(event, telemetry.InvocationEnded):
        return event.result.function_error is not None
    return isinstance(event, _PROBLEMS)


def _dump(fields: dict[str, object]) -> str:
    return orjson.dumps(fields, default=str).decode()


def _plain_fields(event: telemetry.TelemetryEvent) -> dict[str, object]:
    """The event's fields as JSON values; an invocation's payload and log stay out of the log."""
    fields = {f.name: getattr(event, f.name) for f in dataclasses.fields(event)}
    fields.pop("text", None)
    if isinstance(event, telemetry.SourceFailed):
        fields["error"] = _error_text(event.error)
    result = fields.pop("result", None)
    if isinstance(result, InvocationResult):
        fields |= {
            "request_id": result.request_id,
            "error_type": result.error_type,
            "error_message": result.error_message,
            "duration_seconds": round(result.duration_seconds, 6),
            "init_seconds": result.init_seconds,
            "max_memory_mb": result.max_memory_mb,
        }
    return fields


def _human_lines(event: telemetry.TelemetryEvent) -> list[str]:
    """One headline and what belongs below it; [] for events people need not see."""
    match event:
        case telemetry.InvocationEnded():
            return _invocation(event)
        case telemetry.LogText(text=text):
            kept = [line for line in text.splitlines() if not line.startswith(_PLATFORM)]
            return [line.decode(errors="replace") for line in kept if line.strip()]
        case telemetry.EventRetried(function, request_id, attempts, delay):
            return [
                f"{function:<14} attempt {attempts} failed, retry in {delay:.3g} s  ({request_id})"
            ]
        case telemetry.EventFailed():
            return _gave_up(event)
        case telemetry.InvocationThrottled(function, _, reason):
            return [f"{function:<14} THROTTLED  {reason}"]
        case telemetry.BatchRetried(mapping, shard, records, attempts, delay):
            place = f"{mapping} {shard}".rstrip()
            tried = f"{records} records failed {attempts} times"
            return [f"{place}: {tried}, again in {delay:.3g} s"]
        case telemetry.RecordsGivenUp(mapping, shard, records, condition, _, sent_to):
            place, where = f"{mapping} {shard}".rstrip(), sent_to or "nowhere: no on_failure is set"
            return [f"{place}: {records} records given up: {condition}", f"recorded in: {where}"]
        case telemetry.SourceFailed(mapping, error, retry_seconds):
            again = "stopped" if retry_seconds is None else f"again in {retry_seconds:.3g} s"
            return [f"{mapping}: {_error_text(error)} ({again})"]
        case telemetry.SourceReady(mapping, _, _, detail):
            return [f"{mapping}: {detail}"]
        case telemetry.DeliveryFailed(function, destination, error, retry_seconds):
            again = f"again in {retry_seconds:.3g} s"
            return [f"{function:<14} {destination} not delivered: {error}; {again}"]
        case _:
            return []


def _error_text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _invocation(event: telemetry.InvocationEnded) -> list[str]:
    result = event.result
    took = f"{result.duration_seconds * 1000:.0f} ms"
    cold = f"  cold {result.init_seconds * 1000:.0f} ms" if result.init_seconds is not None else ""
    source = event.source.partition("/")[2] or event.source
    if result.function_error is None:
        return [
            f"{event.function:<14} {source:<28} ok   {took:>8}  {result.max_memory_mb} MB{cold}"
        ]
    return [
        f"{event.function:<14} {source:<28} FAIL {took:>8}  attempt {event.attempt}{cold}",
        f"{result.error_type}: {result.error_message or ''}",
    ]


def _gave_up(event: telemetry.EventFailed) -> list[str]:
    lines = [f"{event.function:<14} gave up after {event.attempts} attempts: {event.condition}"]
    if event.sent_to:
        lines.append(f"recorded in: {event.sent_to}")
    return lines
