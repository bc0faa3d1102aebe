"""Real Kafka for tests: one broker a session, fresh topics a test."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from infra.local import kafka as local
from infra.local import kafka_jars
from tests.databases import free_port

START_SECONDS = 60.0
_numbers = count(1)


@dataclass(slots=True)
class Broker:
    """A running Kafka that tests may stop and start."""

    directory: Path
    jars: list[Path]
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.directory / "kafka.log").open("ab") as log:
            self.process = subprocess.Popen(
                local.command(self.directory, self.jars), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        ends_at = time.monotonic() + START_SECONDS
        while (reason := local.refusal(self.bootstrap)) is not None:
            if self.process.poll() is not None or time.monotonic() > ends_at:
                raise RuntimeError(f"Kafka does not serve: {reason}")
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=START_SECONDS)

    def make_topics(self, topics: dict[str, int]) -> None:
        """Make topics with so many partitions each, empty ones also where others had left theirs."""
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        known = admin.list_topics(timeout=10).topics
        left = [name for name in topics if name in known]
        for gone in (admin.delete_topics(left) if left else {}).values():
            gone.result(timeout=10)
        ends_at = time.monotonic() + START_SECONDS
        while topics.keys() & admin.list_topics(timeout=10).topics.keys():  # the broker deletes in its own time
            if time.monotonic() > ends_at:
                raise RuntimeError("Kafka does not delete its topics.")
            time.sleep(0.05)
        for made in admin.create_topics([NewTopic(name, number) for name, number in topics.items()]).values():
            made.result(timeout=10)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """The session's Kafka."""
    directory = Path(tempfile.mkdtemp(prefix="berth-kafka-"))
    jars = kafka_jars.fetch(kafka_jars.cache_directory(), kafka_jars.locked(), print)
    broker = Broker(directory, jars, free_port())
    try:
        local.prepare(directory, jars, broker.port, free_port())
        broker.start()
        yield broker
    finally:
        broker.stop(signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def new_topic(kafka: Broker) -> Callable[[str], str]:
    """Make a fresh topic, and the dead-letter topic that a consumer of the given name uses for it."""

    def make(consumer: str, partitions: int = 3) -> str:
        topic = f"berth.test{next(_numbers)}.v1"
        kafka.make_topics({topic: partitions, f"{topic}.{consumer}.dlq": 1})
        return topic

    return make
