"""The examples, run by the real command on real files."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from io import BytesIO
from pathlib import Path

from PIL import Image

from tests.acceptance.conftest import MakeEngine
from tests.acceptance.engine import Engine, command, eventually

EXAMPLES = Path(__file__).parents[2] / "examples"
PIPELINE = EXAMPLES / "thumbnail_pipeline" / "mappings.yaml"


def picture(kind: str, size: tuple[int, int] = (800, 600)) -> bytes:
    data = BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(data, kind)
    return data.getvalue()


def pipeline(make_engine: MakeEngine, tmp_path: Path, **environ: str) -> Engine:
    places = {name: str(tmp_path / name.lower()) for name in ("UPLOADS", "THUMBS", "FAILED")}
    return make_engine(PIPELINE, {**places, "RETRY_DELAY": "50ms", **environ})


def rows(database: Path) -> list[tuple[str, str, int, int]]:
    if not database.exists():
        return []
    with closing(sqlite3.connect(database)) as connection:
        try:
            return connection.execute(
                "select name, source, width, height from thumbs order by 1"
            ).fetchall()
        except sqlite3.OperationalError:
            return []


def test_the_thumbnail_pipeline(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = pipeline(make_engine, tmp_path, REPORT_SCHEDULE="cron(* * * * ? *)").start()
    uploads, thumbs, failed = tmp_path / "uploads", tmp_path / "thumbs", tmp_path / "failed"
    (uploads / "photo one.jpg").write_bytes(picture("JPEG"))
    (uploads / "trip").mkdir()
    (uploads / "trip" / "map.png").write_bytes(picture("PNG", (300, 900)))
    (uploads / "IMG_1.JPG").write_bytes(picture("JPEG"))
    (uploads / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    (uploads / "notes.txt").write_text("no picture, no event")
    expected = [
        ("IMG_1.jpg", "IMG_1.JPG", 256, 192),
        ("photo one.jpg", "photo one.jpg", 256, 192),
        ("trip_map.jpg", "trip/map.png", 85, 256),
    ]
    eventually(lambda: rows(thumbs / "metadata.db") == expected)
    with Image.open(thumbs / "photo one.jpg") as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (256, 192))

    record = json.loads(eventually(lambda: sorted(failed.glob("*.json")))[0].read_text())
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"]["Records"][0]["s3"]["object"]["key"] == "broken.jpg"
    assert record["responsePayload"]["errorType"] == "UnidentifiedImageError"

    status, headers, body = engine.get("/thumbs/photo%20one.jpg")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert body == (thumbs / "photo one.jpg").read_bytes()
    assert engine.get("/thumbs/absent.jpg")[0] == 404
    listed = json.loads(engine.get("/thumbs")[2])
    assert [thumb["name"] for thumb in listed] == [name for name, *_ in expected]

    letters = command("dlq", "list", "--json", "-f", str(PIPELINE), env=engine.environ)
    assert json.loads(letters.stdout)["error_type"] == "UnidentifiedImageError"
    assert engine.stop() == 0


def test_files_that_arrive_while_down_are_not_missed(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = pipeline(make_engine, tmp_path).start()
    assert engine.stop() == 0
    (tmp_path / "uploads" / "late.png").write_bytes(picture("PNG", (40, 40)))
    engine.start()
    eventually(
        lambda: rows(tmp_path / "thumbs" / "metadata.db") == [("late.jpg", "late.png", 40, 40)]
    )


def test_hello_http(make_engine: MakeEngine) -> None:
    engine = make_engine(EXAMPLES / "hello_http" / "mappings.yaml").start()
    status, headers, body = engine.get("/hello/world")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body)["hello"] == "world"
    assert engine.stop() == 0


def test_cron_report(make_engine: MakeEngine, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    environ = {"REPORT": str(report), "WHEN": "cron(* * * * ? *)", "ZONE": "UTC"}
    file = EXAMPLES / "cron_report" / "mappings.yaml"
    engine = make_engine(file, environ).start()
    eventually(lambda: "next " in engine.log())
    called = command(
        "invoke",
        "report",
        "-f",
        str(file),
        "-e",
        "-",
        input='{"kind": "manual"}',
        env=engine.environ,
    )
    assert called.returncode == 0, called.stderr
    assert " manual report " in report.read_text()
    eventually(lambda: " daily report " in report.read_text(), 65)
    assert engine.stop() == 0
