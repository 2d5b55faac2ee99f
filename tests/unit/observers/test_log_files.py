"""A log file for each function."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from eventmesh.connectors import InvocationResult
from eventmesh.observers import log_files
from eventmesh.observers.log_files import LogFiles, append_to, clean_text
from eventmesh.observers.secrets import mask_for
from eventmesh.telemetry import InvocationEnded, LogText


def text(function: str, written: bytes) -> LogText:
    return LogText(function, "stream", "id-1", written)


def test_every_function_has_its_own_file(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "logs"
    files = LogFiles(directory, mask_for(["hunter2hunter2"]))
    files(text("one", b"START RequestId: id-1\n"))
    files(text("two", b"hello \xff\n"))
    files(text("one", b"token hunter2hunter2\nbell \x07\n"))
    files(InvocationEnded("one", "Event", "api", 1, InvocationResult("id-1", b"{}")))
    files.close()
    assert {file.name for file in directory.iterdir()} == {"one.log", "two.log"}
    assert (directory / "one.log").read_text() == ("START RequestId: id-1\ntoken ***\nbell \\x07\n")
    assert (directory / "two.log").read_text() == "hello \ufffd\n"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "one.log").stat().st_mode & 0o777 == 0o600


def test_a_file_is_appended_to_and_may_be_moved_away(tmp_path: Path) -> None:
    for number in (b"1\n", b"2\n"):
        files = LogFiles(tmp_path, mask_for([]))
        files(text("f", number))
        files.close()
    assert (tmp_path / "f.log").read_text() == "1\n2\n"
    (tmp_path / "f.log").rename(tmp_path / "f.log.1")
    files = LogFiles(tmp_path, mask_for([]))
    files(text("f", b"3\n"))
    files.close()
    assert (tmp_path / "f.log").read_text() == "3\n"


def test_what_is_too_much_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "WAITING_BYTES", 10)
    files = LogFiles(tmp_path, mask_for([]))
    with files._changed:  # the writer waits
        files._texts["f"].append(b"x" * 20 + b"\n")
        files._waiting = 21
        files(text("f", b"lost\nlost too\n"))
        files._changed.notify()
    files.close()
    assert (tmp_path / "f.log").read_text() == (
        "x" * 20 + "\n(2 log lines dropped: the disk was too slow)\n"
    )


def test_a_disk_that_takes_nothing_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "f.log").mkdir()
    files = LogFiles(tmp_path, mask_for([]))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            files._append("f", [b"lost\n"], 0)
    files.close()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("log lines are lost: [Errno 21] Is a directory")


def test_no_symlink_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("untouched")
    (tmp_path / "f.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        append_to(tmp_path / "f.log", b"text")
    assert (tmp_path / "elsewhere").read_text() == "untouched"


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        LogFiles(tmp_path / "file" / "logs", mask_for([]))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"", ""),
        (b"a\n", "a\n"),
        (b"a", "a\n"),
        (b"a\n\nb\r\n", "a\n\nb\\r\n"),
        (b"x\x0by\n", "x\\x0by\n"),
    ],
)
def test_lines_stay_lines(written: bytes, expected: str) -> None:
    assert clean_text(written, mask_for([])) == expected


def test_appending_is_atomic_enough(tmp_path: Path) -> None:
    append_to(tmp_path / "f", b"x" * 3_000_000)
    assert os.path.getsize(tmp_path / "f") == 3_000_000
