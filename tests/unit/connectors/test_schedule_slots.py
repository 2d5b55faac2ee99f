"""When expressions fire: searching against a minute scanner, and changes of the clock."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from eventmesh_connectors.schedule.expression import Expression, parse_expression
from eventmesh_connectors.schedule.slots import Timetable, last_until, next_after

ZURICH = ZoneInfo("Europe/Zurich")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "text", "start", "expected"),
    [
        # Zurich, 29 March: 02:00-03:00 does not exist; 03:00 is 01:00 UTC
        (
            ZURICH,
            "cron(30 2 * * ? *)",
            "2026-03-28T12:00",
            ["2026-03-29T01:00", "2026-03-30T00:30"],
        ),
        (ZURICH, "cron(0 2 * * ? *)", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        (ZURICH, "cron(0 3 * * ? *)", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T01:00"]),
        (
            ZURICH,
            "cron(0/15 2 * * ? *)",
            "2026-03-29T00:50",
            ["2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T00:15"],
        ),
        (
            ZURICH,
            "cron(0 * * * ? *)",
            "2026-03-28T23:30",
            ["2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T02:00"],
        ),
        (
            ZURICH,
            "cron(59 1 * * ? *)",
            "2026-03-28T12:00",
            ["2026-03-29T00:59", "2026-03-29T23:59"],
        ),
        (ZURICH, "at(2026-03-29T02:30:00)", "2026-03-28T12:00", ["2026-03-29T01:00"]),
        # Zurich, 25 October: 02:00-03:00 comes twice; the first 02:00 is 00:00 UTC
        (
            ZURICH,
            "cron(30 2 * * ? *)",
            "2026-10-24T12:00",
            ["2026-10-25T00:30", "2026-10-26T01:30"],
        ),
        (ZURICH, "cron(0 3 * * ? *)", "2026-10-24T12:00", ["2026-10-25T02:00", "2026-10-26T02:00"]),
        (
            ZURICH,
            "cron(0 * * * ? *)",
            "2026-10-24T23:00",
            ["2026-10-25T00:00", "2026-10-25T02:00", "2026-10-25T03:00"],
        ),
        (ZURICH, "cron(0/30 2 * * ? *)", "2026-10-25T01:10", ["2026-10-26T01:00"]),
        (ZURICH, "at(2026-10-25T02:30:00)", "2026-10-24T12:00", ["2026-10-25T00:30"]),
        # New York, 8 March: 02:00-03:00 does not exist; 03:00 is 07:00 UTC
        (
            NEW_YORK,
            "cron(30 2 * * ? *)",
            "2026-03-07T12:00",
            ["2026-03-08T07:00", "2026-03-09T06:30"],
        ),
        (
            NEW_YORK,
            "cron(0 9 ? * MON-FRI *)",
            "2026-03-06T12:00",
            ["2026-03-06T14:00", "2026-03-09T13:00"],
        ),
        # New York, 1 November: 01:00-02:00 comes twice; the first 01:00 is 05:00 UTC
        (
            NEW_YORK,
            "cron(30 1 * * ? *)",
            "2026-10-31T12:00",
            ["2026-11-01T05:30", "2026-11-02T06:30"],
        ),
        (
            NEW_YORK,
            "cron(0/30 * * * ? *)",
            "2026-11-01T05:00",
            ["2026-11-01T05:30", "2026-11-01T07:00"],
        ),
        (NEW_YORK, "rate(1 day)", "2026-10-31T05:30", ["2026-11-01T05:30", "2026-11-02T05:30"]),
        # Lord Howe changes by half an hour: a gap 02:00-02:30, a repeat of 01:30-02:00
        (
            LORD_HOWE,
            "cron(15 2 * * ? *)",
            "2026-10-03T00:00",
            ["2026-10-03T15:30", "2026-10-04T15:15"],
        ),
        (
            LORD_HOWE,
            "cron(45 1 * * ? *)",
            "2026-04-04T00:00",
            ["2026-04-04T14:45", "2026-04-05T15:15"],
        ),
    ],
)
def test_changes_of_the_clock(zone: tzinfo, text: str, start: str, expected: list[str]) -> None:
    expression, instant = parse_expression(text), utc(start)
    for wanted in expected:
        slot = next_after(expression, instant, zone, utc(start))
        assert slot == utc(wanted)
        assert last_until(expression, slot, zone, utc(start)) == slot
        instant = slot


def test_in_the_second_pass_of_an_hour_all_of_the_first_has_fired() -> None:
    expression, second_pass = parse_expression("cron(* * * * ? *)"), utc("2026-10-25T01:10")
    assert last_until(expression, second_pass, ZURICH, EPOCH) == utc("2026-10-25T00:59")
    assert next_after(expression, second_pass, ZURICH, EPOCH) == utc("2026-10-25T02:00")


def test_a_day_that_a_zone_skipped_fires_when_the_next_begins() -> None:
    apia = ZoneInfo("Pacific/Apia")  # had no 30 December 2011
    slot = next_after(
        parse_expression("cron(0 12 30 12 ? 2011)"), utc("2011-12-29T00:00"), apia, EPOCH
    )
    assert slot == utc("2011-12-30T10:00")  # 31 December 00:00 there


def test_a_rate_counts_from_its_anchor() -> None:
    rate, anchor = parse_expression("rate(7 minutes)"), utc("2026-01-01T00:00:17")
    assert next_after(rate, anchor, UTC, anchor) == utc("2026-01-01T00:07:17")
    assert next_after(rate, utc("2026-01-01T00:07:16"), UTC, anchor) == utc("2026-01-01T00:07:17")
    assert next_after(rate, utc("2026-01-01T00:07:17"), UTC, anchor) == utc("2026-01-01T00:14:17")
    assert next_after(rate, utc("2025-12-31T00:00:00"), UTC, anchor) == anchor
    assert last_until(rate, utc("2026-01-01T00:14:16"), UTC, anchor) == utc("2026-01-01T00:07:17")
    assert last_until(rate, utc("2025-12-31T00:00:00"), UTC, anchor) is None


def test_bounds_are_inclusive() -> None:
    timetable = Timetable(
        parse_expression("cron(0 * * * ? *)"),
        UTC,
        EPOCH,
        start=utc("2026-01-01T05:00"),
        end=utc("2026-01-01T07:00"),
    )
    wanted = [utc("2026-01-01T05:00"), utc("2026-01-01T06:00"), utc("2026-01-01T07:00")]
    assert list(timetable.after(EPOCH)) == wanted
    assert timetable.last_until(utc("2027-01-01T00:00")) == wanted[-1]
    assert timetable.last_until(utc("2026-01-01T04:59")) is None


def test_a_rate_with_a_start_begins_there() -> None:
    timetable = Timetable(
        parse_expression("rate(5 minutes)"), UTC, EPOCH, start=utc("2026-01-01T05:02:30")
    )
    assert timetable.next_after(EPOCH) == utc("2026-01-01T05:02:30")
    assert timetable.next_after(utc("2026-01-01T05:02:30")) == utc("2026-01-01T05:07:30")


# --- against a scanner that knows the rules another way -------------------------------------------


@st.composite
def fields(draw: Any, low: int, high: int, names: tuple[str, ...] = ()) -> tuple[str, set[int]]:
    """One field's text and the values it stands for, spelled out."""
    values = st.integers(low, high)
    if draw(st.booleans()):
        return "*", set(range(low, high + 1))
    text, meant = [], set()
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["value", "range", "step", "stepped range"]))
        first, last = draw(values), draw(values)
        step = draw(st.integers(1, high)) if "step" in kind else 1
        run = [first]
        if kind == "step":
            run = list(range(first, high + 1))
        elif "range" in kind:
            while run[-1] != last:
                run.append(low if run[-1] == high else run[-1] + 1)
        meant.update(run[::step])
        shown = [names[n - low] if names and draw(st.booleans()) else str(n) for n in (first, last)]
        body = "-".join(shown) if "range" in kind else shown[0]
        text.append(f"{body}/{step}" if "step" in kind else body)
    return ",".join(text), meant


def weekday(day: date) -> int:
    return day.isoweekday() % 7 + 1


def month_days(day: date) -> list[date]:
    length = calendar.monthrange(day.year, day.month)[1]
    return [day.replace(day=number) for number in range(1, length + 1)]


def workdays(day: date) -> list[date]:
    return [other for other in month_days(day) if other.isoweekday() <= 5]


def is_nearest_workday(day: date, number: int) -> bool:
    if number > len(month_days(day)):
        return False
    return day == min(workdays(day), key=lambda other: abs(other.day - number))


def same_weekdays(day: date, number: int) -> list[date]:
    return [other for other in month_days(day) if weekday(other) == number]


@st.composite
def days(draw: Any) -> tuple[str, str, Any]:
    """Day of month, day of week, and whether a date matches."""
    number, nth = draw(st.integers(1, 31)), draw(st.integers(1, 5))
    on = draw(st.integers(1, 7))
    of_month, month_values = draw(fields(1, 31))
    names = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
    of_week, week_values = draw(fields(1, 7, names))
    return draw(
        st.sampled_from(
            [
                (of_month, "?", lambda day: day.day in month_values),
                ("L", "?", lambda day: day == month_days(day)[-1]),
                ("LW", "?", lambda day: day == workdays(day)[-1]),
                (f"{number}W", "?", lambda day: is_nearest_workday(day, number)),
                ("?", of_week, lambda day: weekday(day) in week_values),
                ("?", f"{on}L", lambda day: day == same_weekdays(day, on)[-1]),
                (
                    "?",
                    f"{names[on - 1]}#{nth}",
                    lambda day: [day] == same_weekdays(day, on)[nth - 1 : nth],
                ),
            ]
        )
    )


@st.composite
def crons(draw: Any) -> tuple[Expression, Any]:
    minute, minutes = draw(fields(0, 59))
    hour, hours = draw(fields(0, 23))
    of_month, of_week, is_day = draw(days())
    month, months = draw(fields(1, 12, tuple(n.upper() for n in calendar.month_abbr[1:])))
    text = f"cron({minute} {hour} {of_month} {month} {of_week} *)"

    def scan(instant: datetime) -> datetime | None:
        """Minute by minute over the next year, leaving out days that do not match."""
        start = instant.replace(second=0, microsecond=0)
        for offset in range(367):
            day = (start + timedelta(days=offset)).date()
            if day.month not in months or not is_day(day):
                continue
            for number in range(1440):
                if number // 60 in hours and number % 60 in minutes:
                    slot = datetime(*day.timetuple()[:3], number // 60, number % 60, tzinfo=UTC)
                    if slot > instant:
                        return slot
        return None

    try:
        return parse_expression(text), scan
    except ValueError as error:
        if "never fires" not in str(error):
            raise
        reject()


instants = st.datetimes(
    datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)
) | st.sampled_from([utc("2027-12-31T23:59:59"), utc("2028-02-28T23:59"), utc("2026-02-28T23:00")])


@settings(max_examples=150, deadline=None)
@given(crons(), instants)
def test_searching_finds_what_a_minute_scanner_finds(
    cron: tuple[Expression, Any], instant: datetime
) -> None:
    expression, scan = cron
    for _ in range(3):
        expected = scan(instant)
        found = next_after(expression, instant, UTC, EPOCH)
        if expected is None:
            assert found is None or found - instant > timedelta(days=366)
            return
        assert found == expected
        instant = found


around_changes = st.builds(
    lambda change, seconds: change + timedelta(seconds=seconds),
    st.sampled_from(
        [
            utc(f"2026-{text}")
            for text in ("03-29T01:00", "10-25T01:00", "03-08T07:00", "11-01T06:00")
        ]
    ),
    st.integers(-10_000, 10_000),
)


@settings(max_examples=150, deadline=None)
@given(crons(), around_changes | instants, st.sampled_from([UTC, ZURICH, NEW_YORK, LORD_HOWE]))
def test_next_and_last_agree_and_time_only_moves_on(
    cron: tuple[Expression, Any], instant: datetime, zone: tzinfo
) -> None:
    expression, _ = cron
    last = last_until(expression, instant, zone, EPOCH)
    first = next_after(expression, instant, zone, EPOCH)
    if last is not None:
        assert last <= instant
        assert next_after(expression, last, zone, EPOCH) == first
        assert next_after(expression, last - timedelta(microseconds=1), zone, EPOCH) == last
    if first is not None:
        assert first > instant
        assert last_until(expression, first, zone, EPOCH) == first
        assert last_until(expression, first - timedelta(microseconds=1), zone, EPOCH) == last
