"""The settings of a schedule, the event it makes, and the words it announces itself with."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from eventmesh_connectors.schedule import ScheduleOptions, connector
from eventmesh_connectors.schedule.announcement import describe_duration, describe_next
from eventmesh_connectors.schedule.events import EventWriter, read_instant, rule_arn, write_instant

MONDAY = "cron(0 6 ? * MON *)"


def test_a_bare_string_is_the_expression_and_defaults_are_these() -> None:
    options = ScheduleOptions.model_validate("cron(0 6 ? * mon *)")
    assert options.expression == (MONDAY,)
    assert options.resource == MONDAY
    assert options.timezone == "UTC"
    assert options.missed_runs == "one"
    assert options.maximum_missed_runs == 100
    assert options.flexible_time_window == 0
    assert options.input_json is None


def test_every_setting_has_a_description() -> None:
    properties = ScheduleOptions.model_json_schema()["properties"]
    assert set(properties) == set(ScheduleOptions.model_fields)
    assert all(shape["description"] for shape in properties.values())


def test_the_resource_names_the_zone_where_it_is_not_utc() -> None:
    options = ScheduleOptions(expression=[MONDAY, "rate(1 hour)"], timezone="Europe/Zurich")
    assert options.resource == f"{MONDAY}, rate(1 hour) Europe/Zurich"
    assert ScheduleOptions(expression=MONDAY, timezone="Etc/UTC").resource == MONDAY


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timezone": "Mars/Base"}, "unknown time zone 'Mars/Base'; use an IANA name such as"),
        ({"timezone": "Europe/Zurik"}, "did you mean Europe/Zurich"),
        ({"timezone": "zurich"}, "did you mean Europe/Zurich?"),
        ({"timezone": "New York"}, "did you mean America/New_York?"),
        ({"timezone": "../../etc/passwd"}, "unknown time zone '../../etc/passwd'"),
        ({"timezone": "Europe"}, "unknown time zone 'Europe'"),
        ({"timezone": ""}, "unknown time zone ''"),
        ({"expression": []}, "0 expressions given; allowed is 1 to 100"),
        ({"expression": ["rate(1 hour)"] * 2}, "rate(1 hour) is given twice"),
        ({"expression": ["rate(1 hour)", "rate(2 hour)"]}, "so write rate(2 hours)"),
        ({"missed_runs": "some"}, "Input should be 'none', 'one' or 'all'"),
        ({"maximum_missed_runs": 0}, "greater than or equal to 1"),
        ({"maximum_missed_runs": 10_001}, "less than or equal to 10000"),
        ({"flexible_time_window": "2d"}, "a flexible time window is a day (1d) at most"),
        ({"start_date": 5}, "not a time; write it as 2026-12-24T18:00:00"),
        ({"start_date": "soon"}, "valid datetime"),
        ({"start_date": "2026-01-02", "end_date": "2026-01-02"}, "must be after start_date"),
        (
            {"expression": "at(2026-12-24T18:00:00)", "end_date": "2026-12-24T17:59:59"},
            "at(2026-12-24T18:00:00) never fires between start_date and end_date",
        ),
        (
            {"start_date": "2026-11-24", "end_date": "2026-11-29"},
            "never fires between start_date and end_date",
        ),
        ({"input": float("nan")}, "input cannot be written as JSON"),
        ({"input": {"a": object()}}, "a object is not a JSON value"),
        ({"input": "x" * 2**20}, "input is 1048578 bytes of JSON; an event has at most 1048576"),
        ({"catch_up": "one"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_say_why(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        ScheduleOptions(**{"expression": MONDAY, **settings})
    assert words in str(error.value)


def test_times_without_an_offset_are_in_the_schedules_zone() -> None:
    options = ScheduleOptions(
        expression="rate(1 day)",
        timezone="Europe/Zurich",
        start_date="2026-07-01T09:00:00.25",
        end_date="2026-07-03T09:00:00Z",
    )
    timetable = options.timetable("rate(1 day)", datetime(2026, 1, 1, tzinfo=UTC))
    assert timetable.start == datetime(2026, 7, 1, 7, tzinfo=UTC)
    assert timetable.end == datetime(2026, 7, 3, 9, tzinfo=UTC)
    assert ScheduleOptions(expression=MONDAY, end_date=date(2027, 1, 1)).end_date == datetime(
        2027, 1, 1
    )


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, b"null"),
        ({"kind": "full", "n": [1, 2.5, True]}, b'{"kind":"full","n":[1,2.5,true]}'),
        ("\u00e4", '"\u00e4"'.encode()),
        ({"since": date(2026, 1, 2)}, b'{"since":"2026-01-02"}'),
    ],
)
def test_input_is_any_json(value: Any, encoded: bytes) -> None:
    assert ScheduleOptions(expression=MONDAY, input=value).input_json == encoded


def test_the_event_is_eventbridges() -> None:
    arn = rule_arn(
        region="eu-west-1",
        account_id="123456789012",
        function="report",
        mapping="nightly",
        expression=MONDAY,
    )
    assert re.fullmatch(r"arn:aws:events:eu-west-1:123456789012:rule/report-[0-9a-f]{8}", arn)
    writer = EventWriter(arn, region="eu-west-1", account_id="123456789012")
    slot = datetime(2026, 11, 23, 6, tzinfo=UTC)
    event = json.loads(writer.write(slot))
    identifier = event.pop("id")
    assert uuid.UUID(identifier).version == 4
    assert json.loads(writer.write(slot))["id"] != identifier
    assert event == {
        "version": "0",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": "2026-11-23T06:00:00Z",
        "region": "eu-west-1",
        "resources": [arn],
        "detail": {},
    }


def test_a_rule_name_fits_and_differs_by_expression() -> None:
    def arn(expression: str) -> str:
        return rule_arn(
            region="r", account_id="1", function="f" * 64, mapping="m", expression=expression
        )

    assert len(arn(MONDAY).partition("rule/")[2]) == 64
    assert arn(MONDAY) == arn(MONDAY)
    assert arn(MONDAY) != arn("rate(1 hour)")


def test_the_sample_is_an_event() -> None:
    sample = connector.sample_events["schedule"]
    assert sample["detail-type"] == "Scheduled Event"
    assert sample["time"] == "2026-03-23T06:00:00Z"


def test_positions_read_back_what_was_written() -> None:
    instant = datetime(2026, 11, 23, 6, 0, 1, tzinfo=UTC)
    assert write_instant(instant) == "2026-11-23T06:00:01Z"
    assert read_instant("2026-11-23T06:00:01Z") == instant
    with pytest.raises(ValueError, match="has no time zone"):
        read_instant("2026-11-23T06:00:01")


NOW = datetime(2026, 11, 20, 19, 0, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("moment", "zone", "words"),
    [
        (datetime(2026, 11, 23, 6, tzinfo=UTC), "UTC", "next Mon 06:00 (in 2 d 11 h)"),
        (datetime(2026, 11, 23, 6, tzinfo=UTC), "Asia/Tokyo", "next Mon 15:00 (in 2 d 11 h)"),
        (datetime(2026, 11, 20, 19, 5, tzinfo=UTC), "UTC", "next Fri 19:05 (in 5 min)"),
        (datetime(2026, 11, 20, 19, 0, 17, tzinfo=UTC), "UTC", "next Fri 19:00:17 (in 17 s)"),
        (datetime(2026, 11, 27, 19, tzinfo=UTC), "UTC", "next 2026-11-27 19:00 (in 7 d)"),
        (NOW - timedelta(minutes=1), "UTC", "next Fri 18:59 (in 0 s)"),
        (None, "UTC", "never fires again"),
    ],
)
def test_the_next_fire_in_words(moment: datetime | None, zone: str, words: str) -> None:
    assert describe_next(moment, NOW, ZoneInfo(zone)) == words


def test_durations_in_words() -> None:
    assert describe_duration(timedelta(hours=3, minutes=4, seconds=59)) == "3 h 4 min"
    assert describe_duration(timedelta(minutes=1, seconds=30)) == "1 min 30 s"
    assert describe_duration(timedelta(days=400, minutes=4)) == "400 d"
