"""A burst of files into a watched directory: every one delivered, exactly once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from benchmarks.engine import Engine, wait_until, workspace
from benchmarks.figures import Findings, Goal
from benchmarks.peers import PeerMissing, python

ROUNDS = 5
FILES = 20_000
BARE_LOOP = "bare inotify loop"
_METRIC = "eventmesh_async_events_received_total"
_SCRIPTS = Path(__file__).parent
_PATIENCE_SECONDS = 60.0
_HANDLER = """import os
file = os.open(os.environ["KEYS"], os.O_WRONLY | os.O_APPEND)
def handler(event, context):
    for record in event["Records"]:
        os.write(file, record["s3"]["object"]["key"].encode() + b"\\n")
"""


def run() -> Findings:
    """Rounds of eventmesh and the bare loop; each with a new directory, eventmesh new as well."""
    findings = Findings()
    wrong = 0
    delivered: list[float] = []
    accepted: list[float] = []
    writers: list[float] = []
    counted: list[float] = []
    # all removed at the end: ext4 is slow to make files right after many were removed
    with workspace() as directory:
        for number in range(ROUNDS):
            ours, theirs = directory / f"ours-{number}", directory / f"theirs-{number}"
            ours.mkdir()
            theirs.mkdir()
            writer, last_accepted, last_delivered, oddities = _through_eventmesh(ours)
            writers.append(writer)
            accepted.append(last_accepted)
            delivered.append(last_delivered)
            wrong += oddities
            counted += _through_loop(theirs, findings)
    loop_rates = [FILES / seconds for seconds in counted]
    add, peer = findings.add, BARE_LOOP
    rates = [FILES / seconds for seconds in delivered]
    add(f"burst of {FILES:,} files", "files/s", rates, peer=peer, theirs=loop_rates)
    add("until the last was accepted", "s", accepted, peer=peer, theirs=counted)
    add("until the last was delivered", "s", delivered, peer=peer, theirs=counted)
    add("lost or delivered twice", "files", [float(wrong)], Goal("median", "==", 0))
    findings.notes.append(
        f"handler isolation: process; times count from the first file; writing them took"
        f" {min(writers):.1f}-{max(writers):.1f} s beside eventmesh (a third process on the same"
        " cores); acceptance is read off /metrics every 0.1 s"
    )
    return findings


def _through_eventmesh(directory: Path) -> tuple[float, float, float, int]:
    """Seconds for writing, until the last was accepted and delivered; keys lost or doubled."""
    keys, inbox = directory / "keys", directory / "inbox"
    keys.touch()
    inbox.mkdir()
    (directory / "app.py").write_text(_HANDLER)
    function = {"handler": "app.handler", "env": {"KEYS": str(keys)}, "timeout": 10}
    source = {"s3": {"bucket": str(inbox)}}
    with Engine(directory, {"functions": {"f": {**function, "events": [source]}}}) as engine:
        wait_until(lambda: engine.metric("eventmesh_source_up") == 1, "the source's start")
        times: list[float] = []
        watching = threading.Thread(target=_watch_acceptance, args=(engine, times), daemon=True)
        watching.start()
        began, written = _write(inbox)
        size = FILES * len("f-00000.txt\n")
        wait_until(
            lambda: keys.stat().st_size >= size, "the last delivery", _PATIENCE_SECONDS, 0.005
        )
        ended = time.monotonic()
        watching.join(_PATIENCE_SECONDS)
        time.sleep(0.5)  # for a second delivery to show
    found = Counter(keys.read_text().split())
    oddities = abs(FILES - len(found)) + sum(count - 1 for count in found.values())
    return written - began, times[0] - began, ended - began, oddities


def _watch_acceptance(engine: Engine, times: list[float]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while engine.metric(_METRIC) < FILES and time.monotonic() < deadline:
        time.sleep(0.1)
    times.append(time.monotonic())


def _write(inbox: Path) -> tuple[float, float]:
    """Write the files from a process of its own; when the first was begun and the last closed."""
    command = [sys.executable, str(_SCRIPTS / "burst_writer.py"), str(inbox), str(FILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    began, ended = map(float, done.stdout.split())
    return began, ended


def _through_loop(directory: Path, findings: Findings) -> list[float]:
    """Seconds until the bare loop has counted all; [] when it cannot or did not."""
    try:
        command = [str(python()), str(_SCRIPTS / "bare_inotify.py"), str(directory), str(FILES)]
    except PeerMissing as error:
        _note(findings, f"{BARE_LOOP} skipped: {error}")
        return []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as loop:
        assert loop.stdout is not None
        loop.stdout.readline()  # it watches
        began, _ = _write(directory)
        ended, count = loop.stdout.readline().split()
    if int(count) < FILES:
        _note(
            findings, f"{BARE_LOOP} saw {int(count):,} files only once: the kernel's queue ran over"
        )
        return []
    return [float(ended) - began]


def _note(findings: Findings, text: str) -> None:
    if text not in findings.notes:
        findings.notes.append(text)
