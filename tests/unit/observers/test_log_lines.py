"""What people and machines read."""

from __future__ import annotations

from datetime import datetime

import orjson
import pytest

from eventmesh import telemetry
from eventmesh.connectors import InvocationResult
from eventmesh.observers.log_lines import Format, LogLines

OK = InvocationResult("id-1", b"secret payload", duration_seconds=0.0123, max_memory_mb=61)
FAILED = InvocationResult(
    "id-1",
    b"{}",
    function_error="Unhandled",
    error_type="ValueError",
    error_message="line one\nline \x1b[31mtwo",
    duration_seconds=1.5,
)


def lines(
    log_format: Format, *events: telemetry.TelemetryEvent, secrets: tuple[str, ...] = ()
) -> list[str]:
    written: list[str] = []
    show = LogLines(
        log_format, written.extend, now=lambda: datetime(2026, 1, 2, 3, 4, 5), secrets=secrets
    )
    for event in events:
        show(event)
    return written


def ended(result: InvocationResult) -> telemetry.InvocationEnded:
    return telemetry.InvocationEnded("thumbnail", "Event", "thumbnail/s3:./uploads", 2, result)


def test_an_invocation_is_one_line() -> None:
    assert lines("human", ended(OK)) == [
        "03:04:05 thumbnail      s3:./uploads                 ok      12 ms  61 MB"
    ]


def test_a_failure_shows_the_error_with_control_characters_escaped() -> None:
    first, second = lines("human", ended(FAILED))
    assert "FAIL  1500 ms  attempt 2" in first
    assert second == r"         ValueError: line one\nline \x1b[31mtwo"


def test_handler_output_is_shown_without_the_platform_lines() -> None:
    start, end = b"START RequestId: id-1 Version: $LATEST\n", b"END RequestId: id-1\n"
    text = start + b"hello\n\x07bell\n" + end + b"REPORT RequestId: id-1\t\n"
    event = telemetry.LogText("f", "stream", "id-1", text)
    assert lines("human", event) == ["         hello", r"         \x07bell"]
    assert lines("lambda", event)[0] == "START RequestId: id-1 Version: $LATEST"
    assert [orjson.loads(line)["text"] for line in lines("json", event)][1] == "hello"


def test_json_lines_carry_every_field_but_the_payload() -> None:
    (line,) = lines("json", ended(OK))
    fields = orjson.loads(line)
    assert fields["event"] == "InvocationEnded"
    assert (fields["function"], fields["request_id"]) == ("thumbnail", "id-1")
    assert fields["duration_seconds"] == 0.0123
    assert "secret payload" not in line


@pytest.mark.parametrize("log_format", ["human", "json", "lambda"])
def test_secret_values_are_masked_everywhere(log_format: Format) -> None:
    secret = "hunter2hunter2"
    event = telemetry.LogText("f", "stream", "id", f"token={secret}\n".encode())
    failed = telemetry.SourceFailed("m", ValueError(f"refused {secret}"), None)
    for line in lines(log_format, event, failed, secrets=(secret, "short")):
        assert secret not in line
        assert "***" in line


def test_a_line_is_cut() -> None:
    event = telemetry.LogText("f", "stream", "id", b"x" * 100_000)
    assert len(lines("human", event)[0]) < 5000


def test_a_secret_at_the_cut_is_masked_first() -> None:
    secret = "hunter2hunter2"
    event = telemetry.LogText("f", "stream", "id", b"x" * 4090 + secret.encode())
    for log_format in ("human", "lambda", "json"):
        (line,) = lines(log_format, event, secrets=(secret,))
        assert "hunt" not in line


def test_quiet_shows_problems_only() -> None:
    written: list[str] = []
    show = LogLines("human", written.extend, now=datetime.now, only_problems=True)
    for event in (
        ended(OK),
        telemetry.LogText("f", "stream", "id", b"hello\n"),
        telemetry.SourceReady("m", "s3", "./uploads", "watching"),
        telemetry.EventsAccepted("f", "m", 1),
    ):
        show(event)
    assert written == []
    show(ended(FAILED))
    show(telemetry.SourceFailed("m", ValueError("away"), 2.0))
    assert len(written) == 3
    assert written[-1].endswith("m: away (again in 2 s)")


def test_a_dead_letter_is_found_from_any_directory() -> None:
    event = telemetry.EventFailed(
        "f", "2255ada5-170b-4d84", "RetriesExhausted", 3, "ValueError", "no", "directory ./x"
    )
    written: list[str] = []
    show = LogLines(
        "human",
        written.extend,
        now=lambda: datetime(2026, 1, 2, 3, 4, 5),
        file_option=" -f '/srv/my pictures/mappings.yaml'",
    )
    show(event)
    assert written == [
        "03:04:05 f              gave up after 3 attempts: RetriesExhausted",
        "         recorded in: directory ./x",
        "         look at it:  eventmesh dlq show 2255ada5 -f '/srv/my pictures/mappings.yaml'",
    ]


def test_seconds_are_short() -> None:
    event = telemetry.EventRetried("f", "id-1", 1, 0.0999775, "E", "m")
    assert lines("human", event)[0].endswith("attempt 1 failed, retry in 0.1 s  (id-1)")


def test_a_source_error_without_text_is_named() -> None:
    event = telemetry.SourceFailed("m", KeyError(), None)
    assert lines("human", event) == ["03:04:05 m: KeyError (stopped)"]
    assert orjson.loads(lines("json", event)[0])["error"] == "KeyError"


def test_a_batch_that_fails_and_one_that_is_given_up_are_told() -> None:
    retried = telemetry.BatchRetried("w/sqs:q", "", 10, 2, 1.5)
    given_up = telemetry.RecordsGivenUp("c/kinesis:s", "shard-0", 1, "RecordAgeExceeded", 3, "")
    assert lines("human", retried, given_up) == [
        "03:04:05 w/sqs:q: 10 records failed 2 times, again in 1.5 s",
        "03:04:05 c/kinesis:s shard-0: 1 records given up: RecordAgeExceeded",
        "         recorded in: nowhere: no on_failure is set",
    ]


@pytest.mark.parametrize("log_format", ["human", "json", "lambda"])
def test_what_only_metrics_count_makes_no_line(log_format: Format) -> None:
    read = telemetry.RecordsRead("w/sqs:q", "", 10, 0)
    invoked = telemetry.BatchInvoked("w/sqs:q", "", 10, 10, "size", 99, 1, "ok")
    progressed = telemetry.ShardProgressed("c/kinesis:s", "shard-0", "1", 0.1, 0)
    assert lines(log_format, read, invoked, progressed) == []
