"""Log lines and log streams (semantics 1.8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmesh.environments import logs
from eventmesh.environments.logs import LogStream, Report

START = b"START RequestId: id Version: 1\n"
END = b"END RequestId: id\n"


class Collected:
    """A log stream and what it handed on."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, bytes]] = []
        self.log = LogStream("stream", lambda *text: self.texts.append(text))


@pytest.fixture
def collected() -> Collected:
    return Collected()


def test_stream_name() -> None:
    name = logs.stream_name(1_700_000_000.0, "$LATEST", "0" * 32)
    assert name == "2023/11/14/[$LATEST]" + "0" * 32


def test_start_line() -> None:
    assert logs.start_line("id", "1") == START


def test_init_start_line() -> None:
    line = logs.init_start_line((3, 12, 7), "eu-west-1")
    assert line.startswith(b"INIT_START Runtime Version: python:3.12.v7\tRuntime Version ARN: ")
    assert line.split(b"::runtime:")[0].endswith(b"arn:aws:lambda:eu-west-1")
    assert len(line.split(b"::runtime:")[1]) == 65


def test_timeout_line() -> None:
    line = logs.timeout_line(1_700_000_000.25, "id", "Task timed out after 3.00 seconds")
    assert line == b"2023-11-14T22:13:20.250Z id Task timed out after 3.00 seconds\n"


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            Report("id", 0.00301, 128, 36, 0.1101),
            "Duration: 3.01 ms\tBilled Duration: 114 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 36 MB\tInit Duration: 110.10 ms\t\n",
        ),
        (
            Report("id", 0.00301, 128, 36),
            "Duration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 36 MB\t\n",
        ),
        (
            Report("id", 3.0, 128, 36, status="timeout"),
            "Duration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 36 MB\tStatus: timeout\n",
        ),
    ],
)
def test_report(report: Report, expected: str) -> None:
    assert report.lines().decode() == f"END RequestId: id\nREPORT RequestId: id\t{expected}"


def test_a_short_invocation_is_one_text(collected: Collected) -> None:
    log = collected.log
    log.begin("id", START)
    log.add(b"one\ntwo\n")
    tail = log.end(END)
    assert collected.texts == [("id", START + b"one\ntwo\n" + END)]
    assert tail == START + b"one\ntwo\n" + END


def test_an_unfinished_line_is_ended(collected: Collected) -> None:
    collected.log.begin("id", START)
    collected.log.add(b"unfinished")
    assert collected.log.end(END) == START + b"unfinished\n" + END


def test_flush_hands_on_whole_lines_only(collected: Collected) -> None:
    log = collected.log
    log.begin("id", START)
    log.add(b"one\ntw")
    log.flush()
    log.add(b"o\n")
    tail = log.end(END)
    assert collected.texts == [("id", START + b"one\n"), ("id", b"two\n" + END)]
    assert tail == START + b"one\ntwo\n" + END


def test_the_cap_counts_what_it_drops(collected: Collected) -> None:
    log = collected.log
    log.begin("id", START)
    log.add(b"x" * 262_143 + b"\n")
    log.add(b"more")
    log.add(b"and more")
    log.end(END)
    [(_, text)] = collected.texts
    assert text == (
        START
        + b"x" * 262_143
        + b"\n[eventmesh] 12 bytes of output dropped: "
        + b"the log of one invocation holds 262144 bytes\n"
        + END
    )


def test_the_next_invocation_has_a_whole_cap_again(collected: Collected) -> None:
    log = collected.log
    log.begin("id", START)
    log.add(b"x" * 300_000)
    log.end(END)
    log.begin("next", b"START\n")
    log.add(b"short\n")
    log.end()
    assert collected.texts[-1] == ("next", b"START\nshort\n")


def test_the_tail_is_the_last_4_kb(collected: Collected) -> None:
    log = collected.log
    log.begin("id", START)
    log.add(b"y" * 5000 + b"\n")
    log.flush()
    log.add(b"z\n")
    tail = log.end(END)
    assert len(tail) == 4096
    assert tail == (START + b"y" * 5000 + b"\nz\n" + END)[-4096:]


def test_output_between_invocations_belongs_to_none(collected: Collected) -> None:
    log = collected.log
    log.begin("id", START)
    log.end(END)
    log.add(b"background\nunfin")
    log.flush()
    log.begin("next", START)
    log.end()
    assert collected.texts[1:] == [("", b"background\n"), ("", b"unfin\n"), ("next", START)]


def test_nothing_is_handed_on_when_there_is_nothing(collected: Collected) -> None:
    collected.log.flush()
    assert collected.log.end() == b""
    assert collected.texts == []


@given(
    pieces=st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\r", b"\n")), max_size=20),
    flushes=st.sets(st.integers(0, 20)),
)
def test_no_byte_is_lost_however_it_is_flushed(pieces: list[bytes], flushes: set[int]) -> None:
    collected = Collected()
    collected.log.begin("id", START)
    for number, piece in enumerate(pieces):
        collected.log.add(piece)
        if number in flushes:
            collected.log.flush()
    tail = collected.log.end(END)
    output = b"".join(pieces)
    ending = b"" if not output or output.endswith(b"\n") else b"\n"
    whole = START + output + ending + END
    assert b"".join(text for _, text in collected.texts) == whole
    assert tail == whole[-4096:]
    assert all(text.endswith(b"\n") for _, text in collected.texts)
