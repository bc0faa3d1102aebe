"""The fallback where Kafka's jars cannot be had: librdkafka's mock cluster, in memory; no substitute for the broker.

`python -m infra.local.mock_kafka FILE` writes the address it chose into the file and serves until it is stopped.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from confluent_kafka import Producer

from infra.local.kafka import PARTITIONS


def main(file: Path) -> None:
    """Serves until SIGTERM; the cluster lives inside the producer that asked for it."""
    producer = Producer({"test.mock.num.brokers": 1, "topic.metadata.refresh.interval.ms": -1})
    brokers = producer.list_topics(timeout=5).brokers.values()
    address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    staged = file.with_suffix(".new")
    staged.write_text(address)
    staged.rename(file)
    print(f"mock cluster on {address}: in memory, {PARTITIONS} partitions are not honoured", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(Path(sys.argv[1]))
