"""What the environment may ask of `make up`, and what is refused with a sentence."""

from __future__ import annotations

import pytest

from infra.local import topology
from infra.local.settings import SettingsError, read

MESH = topology.read()


def test_without_wishes_everything_is_ours_and_durable() -> None:
    settings = read({"PATH": "/bin", "BERTH_LOCAL_KAFKA": ""}, MESH)
    assert (dict(settings.outside), settings.durable, settings.free_ports) == ({}, True, False)


def test_outside_parts_are_named() -> None:
    environment = {
        "BERTH_LOCAL_POSTGRES": "postgresql://root:pw@db.example:5432/postgres",
        "BERTH_LOCAL_KAFKA": "one.example:9092,two.example:9092",
        "BERTH_LOCAL_BOOKING": "127.0.0.1:9000",
        "BERTH_LOCAL_DURABLE": "0",
    }
    settings = read(environment, MESH)
    assert set(settings.outside) == {"postgres", "kafka", "booking"}
    assert settings.outside["kafka"] == "one.example:9092,two.example:9092"
    assert not settings.durable


def test_the_mock_cluster_can_be_asked_for() -> None:
    assert read({"BERTH_LOCAL_KAFKA": "mock"}, MESH).mock_kafka


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BERTH_LOCAL_POSTGRES", "db.example:5432", "takes a URL such as postgresql://"),
        ("BERTH_LOCAL_REDIS", "http://cache.example", "takes a URL such as redis://"),
        ("BERTH_LOCAL_KAFKA", "broker", "takes host:port"),
        ("BERTH_LOCAL_KAFKA", "a:1,b", "takes host:port"),
        ("BERTH_LOCAL_DURABLE", "yes", "takes 0 or 1"),
        ("BERTH_LOCAL_BOKING", "127.0.0.1:1", "names no part of the stack"),
    ],
)
def test_a_mistake_is_refused_by_its_variable(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} .*{says}"):
        read({name: value}, MESH)
