"""AWS's grammar (semantics 8.3): what is taken, what is refused and in which words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from eventmesh_connectors.schedule.cron import CronExpression
from eventmesh_connectors.schedule.expression import (
    AtExpression,
    RateExpression,
    parse_expression,
)
from eventmesh_connectors.schedule.slots import next_after

FROM = datetime(2026, 11, 20, 12, tzinfo=UTC)  # a Friday


def upcoming(text: str, count: int, start: datetime = FROM) -> list[str]:
    expression = parse_expression(text)
    found, instant = [], start
    for _ in range(count):
        slot = next_after(expression, instant, UTC, start)
        if slot is None:
            break
        found.append(f"{slot:%a %Y-%m-%d %H:%M}")
        instant = slot
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "cron(0 6 ? * MON-FRI *)",
            ["Mon 2026-11-23 06:00", "Tue 2026-11-24 06:00", "Wed 2026-11-25 06:00"],
        ),
        (
            "cron(0 0 LW * ? *)",
            ["Mon 2026-11-30 00:00", "Thu 2026-12-31 00:00", "Fri 2027-01-29 00:00"],
        ),
        ("cron(0 0 1 1 ? 2027-2029/2)", ["Fri 2027-01-01 00:00", "Mon 2029-01-01 00:00"]),
        (
            "cron(0 0 29 2 ? *)",
            ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00", "Fri 2036-02-29 00:00"],
        ),
        (
            "cron(0 12 ? * SAT-SUN *)",
            ["Sat 2026-11-21 12:00", "Sun 2026-11-22 12:00", "Sat 2026-11-28 12:00"],
        ),
        ("cron(0 0 ? * 1 *)", ["Sun 2026-11-22 00:00", "Sun 2026-11-29 00:00"]),
        ("cron(0 9 ? * 2#1 *)", ["Mon 2026-12-07 09:00", "Mon 2027-01-04 09:00"]),
        ("cron(0 9 ? * FRI#5 *)", ["Fri 2027-01-29 09:00", "Fri 2027-04-30 09:00"]),
        ("cron(15 10 ? * 6L 2022-2026)", ["Fri 2026-11-27 10:15", "Fri 2026-12-25 10:15"]),
        ("cron(0 8 15W * ? *)", ["Tue 2026-12-15 08:00", "Fri 2027-01-15 08:00"]),
        ("cron(0 8 1W * ? 2027)", ["Fri 2027-01-01 08:00", "Mon 2027-02-01 08:00"]),
        ("cron(0 0 L * ? *)", ["Mon 2026-11-30 00:00", "Thu 2026-12-31 00:00"]),
        ("cron(0/20 22-1 * * ? *)", ["Fri 2026-11-20 22:00", "Fri 2026-11-20 22:20"]),
        (
            "cron(0 0 ? nov-jan/2 fri-mon *)",
            ["Sat 2026-11-21 00:00", "Sun 2026-11-22 00:00", "Mon 2026-11-23 00:00"],
        ),
        ("cron(5,10/30 13 * * ? *)", ["Fri 2026-11-20 13:05", "Fri 2026-11-20 13:10"]),
        ("cron(0 0 ? * L *)", ["Sat 2026-11-21 00:00", "Sat 2026-11-28 00:00"]),
        ("cron(59 23 31 12 ? 2199)", ["Tue 2199-12-31 23:59"]),
        ("rate(1 minute)", ["Fri 2026-11-20 12:01", "Fri 2026-11-20 12:02"]),
        ("rate(5 hours)", ["Fri 2026-11-20 17:00", "Fri 2026-11-20 22:00"]),
        ("at(2026-12-24T18:00:00)", ["Thu 2026-12-24 18:00"]),
    ],
)
def test_slots_of_an_expression(text: str, expected: list[str]) -> None:
    assert upcoming(text, len(expected)) == expected


def test_a_bounded_expression_ends() -> None:
    assert len(upcoming("cron(0 0 1 1 ? 2027-2029/2)", 9)) == 2
    assert len(upcoming("cron(59 23 31 12 ? 2199)", 9)) == 1
    assert len(upcoming("at(2026-12-24T18:00:00)", 9)) == 1
    assert upcoming("at(2026-11-20T12:00:00)", 9) == []


@pytest.mark.parametrize(
    ("day", "month", "year", "expected"),
    [
        (1, 8, 2026, 3),  # Saturday the 1st: not July
        (31, 5, 2026, 29),  # Sunday the 31st: not June
        (15, 8, 2026, 14),  # Saturday
        (16, 8, 2026, 17),  # Sunday
        (1, 11, 2026, 2),  # Sunday the 1st
        (31, 10, 2026, 30),  # Saturday the 31st
    ],
)
def test_the_nearest_weekday_stays_in_its_month(
    day: int, month: int, year: int, expected: int
) -> None:
    text = f"cron(0 0 {day}W {month} ? {year})"
    assert [slot[4:14] for slot in upcoming(text, 5, datetime(2026, 1, 1, tzinfo=UTC))] == [
        f"{year}-{month:02}-{expected:02}"
    ]


def test_a_nearest_weekday_that_a_month_has_not_skips_it() -> None:
    slots = upcoming("cron(0 0 31W 1-4 ? 2026)", 9, datetime(2026, 1, 1, tzinfo=UTC))
    assert slots == ["Fri 2026-01-30 00:00", "Tue 2026-03-31 00:00"]


def test_expressions_are_tidied() -> None:
    cron = parse_expression("  CRON( 0   6 ? * mon-Fri  * ) ")
    assert isinstance(cron, CronExpression)
    assert cron.text == "cron(0 6 ? * MON-FRI *)"
    assert parse_expression("rate( 2  Hours )") == RateExpression(
        "rate(2 hours)", timedelta(hours=2)
    )
    assert parse_expression("at(2026-12-24t18:00:00)") == AtExpression(
        "at(2026-12-24T18:00:00)", datetime(2026, 12, 24, 18)
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cron(60 * * * ? *)", "the minute '60' has 60, which is out of range; allowed is 0-59"),
        ("cron(0 24 * * ? *)", "the hour '24' has 24, which is out of range; allowed is 0-23"),
        ("cron(0 0 0 * ? *)", "the day of month '0' has 0, which is out of range"),
        ("cron(0 0 32W * ? *)", "the day of month '32W' has 32, which is out of range"),
        ("cron(0 0 1 13 ? *)", "the month '13' has 13, which is out of range; allowed is 1-12"),
        ("cron(0 0 1 MON ? *)", "the month 'MON' has 'MON', which is not a value"),
        ("cron(0 0 ? * 0 *)", "the day of week '0' has 0, which is out of range; allowed is 1-7"),
        ("cron(0 0 ? * 8L *)", "the day of week '8L' has 8, which is out of range"),
        ("cron(0 0 * * ? 1969)", "the year '1969' has 1969, which is out of range"),
        ("cron(0 0 * * ? 2200)", "allowed is 1970-2199"),
        ("cron(0 0 * * ? 2030-2028)", "has a range that runs backwards, 2030-2028"),
        ("cron(*/0 0 * * ? *)", "has '0' for a step, which must be 1 or more"),
        ("cron(5/ 0 * * ? *)", "has '' for a step"),
        ("cron(*/90 * * * ? *)", "has a step of 90, more than the field is long (every 90 minutes"),
        ("cron(1,,2 * * * ? *)", "has an empty value"),
        ("cron(-5 * * * ? *)", "has an empty value"),
        ("cron(1--5 * * * ? *)", "has '-5', which is not a value"),
        ("cron(\uff15 * * * ? *)", "which is not a value"),
        ("cron(? * * * ? *)", "the minute '?' cannot be ?, which only the two day fields may be"),
        ("cron(0 0 L-3 * ? *)", "the day of month 'L-3' has L or W together with something else"),
        ("cron(0 0 1W,15W * ? *)", "has L or W together with something else"),
        ("cron(0 0 W * ? *)", "has L or W together with something else"),
        ("cron(0 0 ? * 2#6 *)", "must have 1 to 5 after the #"),
        ("cron(0 0 ? * 2#1,3#2 *)", "must be a single weekday#number such as 2#1"),
        ("cron(0 0 * * * *)", "exactly one of them must be ?, so write * for the day of month and"),
        ("cron(0 0 * * MON *)", "so write ? for the day of month and MON for the day of week"),
        ("cron(0 0 13 * FRI *)", "are both set; exactly one of them must be ?"),
        ("cron(0 0 ? * ? *)", "are both ?; exactly one of them must be ?"),
        ("cron(0 0 31 2 ? *)", "cron(0 0 31 2 ? *) never fires: no month 2"),
        ("cron(0 0 31 4,6,9,11 ? *)", "never fires"),
        ("cron(0 0 29 2 ? 2027)", "never fires: no month 2 of the years 2027 has such a day"),
        ("cron(0 0 ? 2 MON#5 2026)", "never fires"),
        ("cron(0 12 * *)", "cron: 4 fields given, 6 are needed"),
        ("cron()", "cron: 0 fields given"),
        ("rate(5 minute)", "AWS takes the singular for 1 only, so write rate(5 minutes)"),
        ("rate(1 days)", "so write rate(1 day)"),
        ("rate(0 minutes)", "the number is 0; it must be 1 or more"),
        ("rate(-1 minutes)", "rate: '-1 minutes' given; allowed is a whole number"),
        ("rate(30 seconds)", "allowed is a whole number and minutes, hours or days"),
        ("rate(1.5 hours)", "rate: '1.5 hours' given"),
        ("rate(99999999 days)", "99999999 days is more than 100 years"),
        ("at(2026-02-30T00:00:00)", "at: '2026-02-30T00:00:00' is not a time: day is out of"),
        ("at(2026-12-24)", "at: '2026-12-24' given; allowed is yyyy-mm-ddThh:mm:ss"),
        ("at(2026-12-24T18:00:00Z)", "the time zone is the option timezone"),
        ("at(9999-12-31T23:59:59)", "at: the year 9999 given; allowed is 1970-2199"),
        ("every day", "'every day' is not a schedule expression; write cron("),
        ("x" * 257, "an expression has at most 256 characters"),
    ],
)
def test_refused_expressions_say_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=".") as error:
        parse_expression(text)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "suggested"),
    [
        ("* * * * *", "is written cron(* * * * ? *)"),
        ("0 6 * * 1-5", "is written cron(0 6 ? * MON-FRI *)"),
        ("cron(0 6 * * 0,6)", "is written cron(0 6 ? * SUN,SAT *)"),
        ("*/10 0 1 */2 *", "is written cron(*/10 0 1 */2 ? *)"),
        ("0 0 * * 1-7/2", "is written cron(0 0 ? * MON-SUN/2 *)"),
        ("0 0 13 * 5", "is written as two, cron(0 0 13 * ? *) and cron(0 0 ? * FRI *)"),
        ("0 6 ? * MON *", "write cron(0 6 ? * MON *)"),
        ("@Daily", "for @Daily write cron(0 0 * * ? *)"),
        ("5m", "for '5m' write rate(5 minutes)"),
        ("every 1 hour", "for 'every 1 hour' write rate(1 hour)"),
    ],
)
def test_what_was_probably_meant_is_suggested(text: str, suggested: str) -> None:
    with pytest.raises(ValueError, match=".") as error:
        parse_expression(text)
    assert str(error.value).endswith(suggested)
    written = suggested[suggested.index(next(k for k in ("cron(", "rate(") if k in suggested)) :]
    for expression in written.split(" and "):
        parse_expression(expression)


def test_a_wrong_unix_line_gets_no_wrong_suggestion() -> None:
    with pytest.raises(ValueError, match="5 fields given") as error:
        parse_expression("cron(0 6 * * 1-9)")
    assert "Unix" not in str(error.value)
