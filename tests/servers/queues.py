"""RabbitMQ and ActiveMQ, from their Debian packages, as this user and with nothing of /etc."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.servers import probes
from tests.servers.installers import debian_package, tool
from tests.servers.processes import dying_with_parent
from tests.servers.recipe import LOOPBACK, Launch, Place, Recipe

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
ACTIVEMQ = Path("/usr/share/activemq")
ACTIVEMQ_JAR = ACTIVEMQ / "bin" / "activemq.jar"


def rabbitmq_configuration(port: int) -> str:
    return (
        f"listeners.tcp.1 = {LOOPBACK}:{port}\n"
        f"distribution.listener.interface = {LOOPBACK}\n"
        "log.console = true\n"
        "log.console.level = info\n"
        "disk_free_limit.absolute = 50MB\n"
    )


def rabbitmq_settings(directory: Path, amqp: int, distribution: int, epmd: int) -> dict[str, str]:
    """RabbitMQ's variables: a node, a port mapper and a cookie of its own, all on loopback.

    RUNNING_UNDER_SYSTEMD makes the start script become the server, so that signals reach it.
    """
    return {
        "HOME": str(directory),
        "RUNNING_UNDER_SYSTEMD": "true",
        "RABBITMQ_CONF_ENV_FILE": str(directory / "no-environment.conf"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "no-advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_NODENAME": f"eventmesh{amqp}@localhost",
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_DIST_PORT": str(distribution),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} -setcookie eventmesh"
        ),
    }


def _launch_rabbitmq(place: Place) -> Launch:
    """epmd runs in the foreground beside the server, else Erlang starts one that outlives it."""
    amqp, distribution, epmd = place.ports
    for name in ("mnesia", "log"):
        (place.directory / name).mkdir(exist_ok=True)
    (place.directory / "enabled_plugins").write_text("[].\n")
    (place.directory / "rabbitmq.conf").write_text(rabbitmq_configuration(amqp))
    mapper = shlex.join(dying_with_parent([tool("epmd", "apt-get install erlang-base")]))
    script = f"{mapper} & exec {RABBITMQ}"
    settings = rabbitmq_settings(place.directory, amqp, distribution, epmd)
    return Launch(["/bin/sh", "-c", script], settings)


def activemq_configuration(data: Path, port: int) -> str:
    """activemq.xml: one broker, STOMP on loopback, messages on disk, no management port."""
    return f"""<beans xmlns="http://www.springframework.org/schema/beans"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans
    http://www.springframework.org/schema/beans/spring-beans.xsd
    http://activemq.apache.org/schema/core
    http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="eventmesh"
    dataDirectory="{data}" useJmx="false" schedulerSupport="true">
    <persistenceAdapter><kahaDB directory="{data}/kahadb"/></persistenceAdapter>
    <systemUsage><systemUsage>
      <memoryUsage><memoryUsage limit="64 mb"/></memoryUsage>
      <storeUsage><storeUsage limit="512 mb"/></storeUsage>
      <tempUsage><tempUsage limit="64 mb"/></tempUsage>
    </systemUsage></systemUsage>
    <transportConnectors>
      <transportConnector name="stomp" uri="stomp://{LOOPBACK}:{port}"/>
    </transportConnectors>
  </broker>
</beans>
"""


def _launch_activemq(place: Place) -> Launch:
    conf, data, temporary = (place.directory / name for name in ("conf", "data", "tmp"))
    for directory in (conf, data, temporary):
        directory.mkdir(exist_ok=True)
    (conf / "activemq.xml").write_text(activemq_configuration(data, place.port))
    (conf / "log4j.properties").write_text(
        "log4j.rootLogger=WARN, console\n"
        "log4j.appender.console=org.apache.log4j.ConsoleAppender\n"
        "log4j.appender.console.layout=org.apache.log4j.PatternLayout\n"
        "log4j.appender.console.layout.ConversionPattern=%d %p %c: %m%n\n"
    )
    options = {
        "activemq.home": ACTIVEMQ,
        "activemq.base": place.directory,
        "activemq.conf": conf,
        "activemq.data": data,
        "java.io.tmpdir": temporary,
        "activemq.classpath": f"{conf}:{ACTIVEMQ}/lib/",
    }
    java = tool("java", "apt-get install default-jre-headless")
    jvm = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    opens = ["--add-opens", "java.base/java.lang=ALL-UNNAMED"]
    flags = [f"-D{key}={value}" for key, value in options.items()]
    start = ["-jar", str(ACTIVEMQ_JAR), "start", f"xbean:file:{conf}/activemq.xml"]
    return Launch([java, *jvm, *opens, *flags, *start])


RECIPES = (
    Recipe(
        name="rabbitmq",
        version="debian",
        purpose="RabbitMQ over AMQP 0-9-1",
        variable="EVENTMESH_TEST_RABBITMQ_URL",
        address="amqp://guest:guest@127.0.0.1:{port}/",
        install=lambda: debian_package("rabbitmq-server", RABBITMQ),
        installed=RABBITMQ.exists,
        launch=_launch_rabbitmq,
        ready=lambda place: probes.amqp_answers(place.port),
        ports=3,
        start_seconds=90.0,
    ),
    Recipe(
        name="activemq",
        version="debian",
        purpose="ActiveMQ Classic over STOMP",
        variable="EVENTMESH_TEST_ACTIVEMQ_ADDRESS",
        address="127.0.0.1:{port}",
        install=lambda: debian_package("activemq", ACTIVEMQ_JAR),
        installed=ACTIVEMQ_JAR.exists,
        launch=_launch_activemq,
        ready=lambda place: probes.stomp_answers(place.port),
    ),
)
