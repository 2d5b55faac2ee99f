from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eventmesh import failpoints

PASSING = """
from eventmesh.failpoints import reach
for n in range(1, 4):
    reach("before_settle")
    print(n, flush=True)
    reach("after_settle")
"""


def run_with(value: str | None) -> tuple[int, str, str]:
    environ = {} if value is None else {failpoints.VARIABLE: value}
    ended = subprocess.run(
        [sys.executable, "-c", PASSING], env=environ, capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize(
    ("value", "code", "passed"),
    [
        (None, 0, "1\n2\n3\n"),
        ("before_settle", -signal.SIGKILL, ""),
        ("before_settle:3", -signal.SIGKILL, "1\n2\n"),
        ("after_settle:2", -signal.SIGKILL, "1\n2\n"),
        ("before_settle:4", 0, "1\n2\n3\n"),
    ],
)
def test_the_nth_passage_is_the_end(value: str | None, code: int, passed: str) -> None:
    assert run_with(value)[:2] == (code, passed)


@pytest.mark.parametrize("value", ["nowhere:1", "before_settle:x", "before_settle:-1"])
def test_what_is_no_point_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="write NAME:N, with one of after_fetch"):
        failpoints.parse(value)


def test_every_point_is_somewhere_in_the_engine() -> None:
    root = Path(failpoints.__file__).parent
    text = "\n".join(file.read_text() for file in root.rglob("*.py"))
    for name in failpoints.POINTS:
        assert f'reach("{name}")' in text, name
