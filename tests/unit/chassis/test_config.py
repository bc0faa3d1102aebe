"""Configuration is read once, typed, and refused with a sentence that names the variable and no secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.chassis.config import Address, ConfigError, ServiceConfig, owner_database_url, read


@dataclass(frozen=True, kw_only=True)
class OwnConfig(ServiceConfig):
    """A service's own."""

    master_key: bytes = field(metadata={"env": "BERTH_MASTER_KEY", "secret": True})
    strict: bool = field(default=False, metadata={"env": "BERTH_STRICT"})


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "BERTH_ENVIRONMENT": "local",
        "BERTH_LISTEN": "127.0.0.1:7110",
        "BERTH_DATABASE_URL": "postgresql://auth_app:hunter2@127.0.0.1/auth",
        "BERTH_WORKER_DATABASE_URL": "postgresql://auth_worker:hunter2@127.0.0.1/auth",
        "BERTH_TLS_CA": str(tmp_path / "ca.crt"),
        "BERTH_TLS_CERT": str(tmp_path / "auth.crt"),
        "BERTH_TLS_KEY": str(tmp_path / "auth.key"),
        "BERTH_PEERS": "auth=127.0.0.1:7110,127.0.0.1:7111;inventory=127.0.0.1:7120",
        "BERTH_MASTER_KEY": "aHVudGVyMg==",
    }


def test_it_is_typed(environment: dict[str, str]) -> None:
    config = read(OwnConfig, environment | {"BERTH_STRICT": "true", "BERTH_METRICS_LISTEN": "127.0.0.1:7210"})
    assert config.listen == Address("127.0.0.1", 7110)
    assert config.metrics_listen == Address("127.0.0.1", 7210)
    assert config.peers.endpoints["auth"] == (Address("127.0.0.1", 7110), Address("127.0.0.1", 7111))
    assert str(config.peers) == environment["BERTH_PEERS"]
    assert config.master_key == b"hunter2"
    assert config.strict is True
    assert config.log_level == "INFO"


def test_it_shows_no_secret(environment: dict[str, str]) -> None:
    assert "hunter2" not in repr(read(OwnConfig, environment))
    assert "7110" in repr(read(OwnConfig, environment))


@pytest.mark.parametrize("name", ["BERTH_LISTEN", "BERTH_DATABASE_URL", "BERTH_TLS_KEY", "BERTH_MASTER_KEY"])
def test_what_is_missing_is_named(environment: dict[str, str], name: str) -> None:
    del environment[name]
    with pytest.raises(ConfigError, match=f"^{name} is not set"):
        read(OwnConfig, environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BERTH_ENVIRONMENT", "staging"),
        ("BERTH_LISTEN", "7110"),
        ("BERTH_LISTEN", "localhost:99999"),
        ("BERTH_LISTEN", ":1"),
        ("BERTH_PEERS", "auth"),
        ("BERTH_PEERS", "auth=127.0.0.1:1;auth=127.0.0.1:2"),
        ("BERTH_PEERS", "auth=127.0.0.1"),
        ("BERTH_TLS_CA", "/does/not/exist/ca.crt"),
        ("BERTH_CLOCK_OFFSET_SECONDS", "soon"),
        ("BERTH_CLOCK_OFFSET_SECONDS", "1.5"),
        ("BERTH_DRAIN_SECONDS", "-1"),
        ("BERTH_STRICT", "yes"),
        ("BERTH_LOG_LEVEL", "LOUD"),
    ],
)
def test_what_is_wrong_is_named_and_shown(environment: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(OwnConfig, environment | {name: value})
    assert str(caught.value).startswith(name)
    assert repr(value) in str(caught.value)


def test_a_wrong_secret_is_named_and_not_shown(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(OwnConfig, environment | {"BERTH_MASTER_KEY": "hunter2!"})
    assert str(caught.value).startswith("BERTH_MASTER_KEY")
    assert "hunter2" not in str(caught.value)


def test_it_ends_the_process_with_its_sentence() -> None:
    assert issubclass(ConfigError, SystemExit)
    assert ConfigError("A sentence.").code == "A sentence."


def test_the_owner_is_known_to_migrations_only() -> None:
    with pytest.raises(ConfigError, match="BERTH_OWNER_DATABASE_URL"):
        owner_database_url({})
    assert owner_database_url({"BERTH_OWNER_DATABASE_URL": "postgresql://x"}) == "postgresql://x"
