"""The settings of a schedule."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from eventmesh.connectors import Options
from eventmesh.units import Duration

from .due import MissedRuns
from .events import encode_input
from .expression import RateExpression, parse_expression
from .slots import Timetable, to_instant
from .zones import find_zone

#: AWS's flexible time window is a day at most
_LONGEST_WINDOW_SECONDS = 86_400.0
_MOST_EXPRESSIONS = 100
_BEGINNING = datetime(1969, 12, 31, tzinfo=UTC)


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _check_expressions(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(texts) <= _MOST_EXPRESSIONS:
        raise ValueError(f"{len(texts)} expressions given; allowed is 1 to {_MOST_EXPRESSIONS}")
    tidied = tuple(parse_expression(text).text for text in texts)
    for text in tidied:
        if tidied.count(text) > 1:
            raise ValueError(f"{text} is given twice")
    return tidied


def _check_zone(name: str) -> str:
    find_zone(name)
    return name


def _check_time(value: Any) -> Any:
    if isinstance(value, (str, date)):
        return value
    raise ValueError("not a time; write it as 2026-12-24T18:00:00 or 2026-12-24T18:00:00Z")


def _check_window(seconds: float) -> float:
    if seconds > _LONGEST_WINDOW_SECONDS:
        raise ValueError("a flexible time window is a day (1d) at most")
    return seconds


Expressions = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    AfterValidator(_check_expressions),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Time = Annotated[datetime, BeforeValidator(_check_time)]


class ScheduleOptions(Options):
    """When a function runs by the clock. Expressions are AWS's."""

    short_form: ClassVar[str | None] = "expression"

    expression: Expressions = Field(
        description="cron(min hour day-of-month month day-of-week year), rate(n unit) or"
        " at(yyyy-mm-ddThh:mm:ss); a list fires at each"
    )
    timezone: Annotated[str, AfterValidator(_check_zone)] = Field(
        default="UTC", description="IANA time zone that cron, at, start_date and end_date are in"
    )
    input: Any = Field(
        default=None, description="any JSON value; where it is given, it replaces the event"
    )
    missed_runs: MissedRuns = Field(
        default="one",
        description="what becomes of fire times that passed while the engine was down:"
        " none, one (the newest) or all",
    )
    maximum_missed_runs: int = Field(
        default=100, ge=1, le=10_000, description="the most missed runs that `all` makes up for"
    )
    start_date: Time | None = Field(
        default=None, description="first time it may fire; a rate counts from here"
    )
    end_date: Time | None = Field(default=None, description="last time it may fire")
    flexible_time_window: Annotated[Duration, AfterValidator(_check_window)] = Field(
        default=0.0,
        description="fire each time somewhere within this long after it, always at the same place",
    )

    @property
    def resource(self) -> str:
        text = ", ".join(self.expression)
        return text if self.zone is UTC else f"{text} {self.timezone}"

    @property
    def zone(self) -> tzinfo:
        return find_zone(self.timezone)

    @property
    def input_json(self) -> bytes | None:
        """The event as given by `input`, None where the setting is absent."""
        return encode_input(self.input) if "input" in self.model_fields_set else None

    def timetable(self, text: str, anchor: datetime) -> Timetable:
        """When the expression `text` fires. `anchor` is where a rate counts from."""
        return Timetable(
            parse_expression(text),
            self.zone,
            anchor,
            self._instant(self.start_date),
            self._instant(self.end_date),
        )

    def _instant(self, time: datetime | None) -> datetime | None:
        if time is None:
            return None
        # slots are stored in whole seconds
        time = time.replace(microsecond=0)
        return to_instant(time, self.zone) if time.tzinfo is None else time.astimezone(UTC)

    @model_validator(mode="after")
    def _check_input(self) -> ScheduleOptions:
        try:
            _ = self.input_json
        except ValueError as error:
            raise ValueError(f"input {error}") from None
        return self

    @model_validator(mode="after")
    def _check_bounds(self) -> ScheduleOptions:
        start, end = self._instant(self.start_date), self._instant(self.end_date)
        if start and end and end <= start:
            raise ValueError("end_date must be after start_date")
        for text in self.expression if start or end else ():
            timetable = self.timetable(text, _BEGINNING)
            if isinstance(timetable.expression, RateExpression):
                continue
            if timetable.next_after(_BEGINNING) is None:
                raise ValueError(f"{text} never fires between start_date and end_date")
        return self
