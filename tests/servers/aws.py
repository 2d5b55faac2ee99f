"""The AWS emulators: LocalStack first, then MiniStack, moto and kinesalite as second opinions."""

from __future__ import annotations

from pathlib import Path

from tests.servers import probes
from tests.servers.cache import is_complete
from tests.servers.installers import (
    node_prefix,
    npm_ci,
    npm_entry,
    python_entry,
    python_environment,
    tool,
)
from tests.servers.recipe import LOOPBACK, Launch, Place, Recipe

LOCALSTACK = "4.8.1"  # the last one for Python 3.11; newer ones fail on it in SQS or DynamoDB
LOCALSTACK_PYTHON = "3.11"
KINESIS_LOCAL = "0.4.13"  # the one LocalStack 4.8.1 would fetch at the first Kinesis call
MINISTACK = "1.5.33"
MOTO = "5.2.5"
KINESALITE = "3.3.3"
TEST_KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
KINESALITE_MAIN = """
const [port, host] = [Number(process.argv[1]), process.argv[2]];
const settings = {createStreamMs: 50, deleteStreamMs: 50, updateStreamMs: 50, shardLimit: 100};
require('kinesalite')(settings).listen(port, host);
"""


def localstack_settings(port: int, advertised: int, root: Path) -> dict[str, str]:
    """LocalStack's variables: loopback only, no look-ups, no downloads, four services.

    Only the hypercorn gateway keeps to the host it is given; SERVICES keeps it from fetching
    DynamoDB and Lambda runtimes; FILESYSTEM_ROOT from writing to /var/lib where /.dockerenv is.
    """
    return {
        **TEST_KEYS,
        "SERVICES": "s3,sqs,sns,kinesis",
        "STRICT_SERVICE_LOADING": "1",
        "GATEWAY_SERVER": "hypercorn",
        "GATEWAY_LISTEN": f"{LOOPBACK}:{port}",
        "LOCALSTACK_HOST": f"localhost:{advertised}",
        "SQS_ENDPOINT_STRATEGY": "path",
        "KINESIS_LATENCY": "50",
        "FILESYSTEM_ROOT": str(root),
        "OVERRIDE_IN_DOCKER": "0",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DNS_ADDRESS": "0",
    }


def _install_localstack() -> Path:
    def add_kinesis(entry: Path) -> None:
        npm_ci("kinesis-local", entry / "kinesis-local" / KINESIS_LOCAL)

    return python_environment("localstack", LOCALSTACK, LOCALSTACK_PYTHON, add_kinesis)


def _launch_localstack(place: Place) -> Launch:
    root = place.directory / "root"
    packages = root / "var" / "lib" / "localstack" / "lib"
    packages.mkdir(parents=True, exist_ok=True)
    kinesis = packages / "kinesis-local"
    if not kinesis.is_symlink():
        kinesis.symlink_to(place.home / "kinesis-local")
    command = [str(place.home / "bin" / "python"), "-m", "localstack.runtime.main"]
    return Launch(command, localstack_settings(place.port, place.advertised, root))


def _launch_ministack(place: Place) -> Launch:
    settings = {
        **TEST_KEYS,
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(place.port),
        "MINISTACK_HOST": "localhost",
        "S3_DATA_DIR": str(place.directory / "s3"),
        "LOG_LEVEL": "WARNING",
    }
    return Launch([str(place.home / "bin" / "python"), "-m", "ministack"], settings)


def _launch_moto(place: Place) -> Launch:
    command = [str(place.home / "bin" / "moto_server"), "-H", LOOPBACK, "-p", str(place.port)]
    return Launch(command, TEST_KEYS)


def _launch_kinesalite(place: Place) -> Launch:
    node = tool("node", "apt-get install nodejs, or https://nodejs.org")
    command = [node, "--no-deprecation", "-e", KINESALITE_MAIN, str(place.port), LOOPBACK]
    return Launch(command, {"NODE_PATH": str(place.home / "node_modules")})


RECIPES = (
    Recipe(
        name="localstack",
        version=LOCALSTACK,
        purpose="S3 with notifications, SQS, SNS, Kinesis",
        variable="EVENTMESH_TEST_AWS_ENDPOINT",
        address="http://127.0.0.1:{port}",
        install=_install_localstack,
        installed=lambda: is_complete(python_entry("localstack", LOCALSTACK, LOCALSTACK_PYTHON)),
        launch=_launch_localstack,
        ready=lambda place: probes.http_answers(place.port, "/_localstack/health"),
    ),
    Recipe(
        name="ministack",
        version=MINISTACK,
        purpose="DynamoDB Streams; a second opinion on every AWS service",
        variable="EVENTMESH_TEST_MINISTACK_ENDPOINT",
        address="http://127.0.0.1:{port}",
        install=lambda: python_environment("ministack", MINISTACK),
        installed=lambda: is_complete(python_entry("ministack", MINISTACK)),
        launch=_launch_ministack,
        ready=lambda place: probes.http_answers(place.port, "/_localstack/health"),
    ),
    Recipe(
        name="moto",
        version=MOTO,
        purpose="DynamoDB Streams; a second opinion on every AWS service",
        variable="EVENTMESH_TEST_MOTO_ENDPOINT",
        address="http://127.0.0.1:{port}",
        install=lambda: python_environment("moto", MOTO),
        installed=lambda: is_complete(python_entry("moto", MOTO)),
        launch=_launch_moto,
        ready=lambda place: probes.http_answers(place.port, "/moto-api/data.json"),
    ),
    Recipe(
        name="kinesalite",
        version=KINESALITE,
        purpose="Kinesis, fast, with resharding",
        variable="EVENTMESH_TEST_KINESALITE_ENDPOINT",
        address="http://127.0.0.1:{port}",
        install=lambda: node_prefix("kinesalite", KINESALITE),
        installed=lambda: is_complete(npm_entry("kinesalite", KINESALITE)),
        launch=_launch_kinesalite,
        ready=lambda place: probes.http_answers(place.port, "/", range(200, 500)),
    ),
)
