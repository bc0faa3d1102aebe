"""What each service process is told, and which ports the stack wishes for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from infra.local import kafka, parts, postgres, topology
from infra.local.instance import Instance
from infra.local.settings import Settings
from infra.local.stack import Stack, wishes

MESH = topology.read()


def _stack(settings: Settings | None = None, **environment: str) -> Stack:
    chosen = settings or Settings()
    names = [*postgres.roles(MESH), "postgres", "redis", "BERTH_MASTER_KEY", "BERTH_STRIPE_API_KEY"]
    return Stack(
        topology=MESH,
        settings=chosen,
        instance=Instance(Path("/stack")),
        ports={name: port for name, port in wishes(MESH, chosen).items() if port},
        secrets={name: f"secret of {name}" for name in [*names, "BERTH_STRIPE_WEBHOOK_SECRET"]},
        environment=environment,
    )


def test_a_service_is_told_its_own_addresses_and_roles() -> None:
    told = _stack().service_environment(MESH.services["booking"])
    assert told["BERTH_LISTEN"] == "127.0.0.1:7130"
    assert told["BERTH_METRICS_LISTEN"] == "127.0.0.1:7230"
    assert told["BERTH_DATABASE_URL"] == "postgresql://booking_app:secret%20of%20booking_app@127.0.0.1:7432/booking"
    assert told["BERTH_WORKER_DATABASE_URL"].startswith("postgresql://booking_worker:")
    assert told["BERTH_PEERS"] == "auth=127.0.0.1:7110;inventory=127.0.0.1:7120;payment=127.0.0.1:7140"
    assert told["BERTH_TLS_CERT"] == "/stack/tls/booking.crt"
    assert told["BERTH_KAFKA"] == "127.0.0.1:7092"


def test_the_gateway_finds_serving_at_its_start_what_it_calls() -> None:
    gateway = next(part for part in parts.plan(_stack(), lambda _: None).parts if part.name == "gateway")
    assert set(gateway.after) == {"auth", "inventory", "booking", "payment", "notification"}


def test_what_no_booking_waits_for_gives_way() -> None:
    plan = parts.plan(_stack(), lambda _: None).parts
    commands = {part.name: part.run().command for part in plan if part.run and part.name in {*MESH.services, "mail"}}
    assert {name for name, command in commands.items() if "--background" in command} == {"notification", "mail"}
    assert "--background" not in kafka.command(Path("/kafka"), [])  # starved, it loses its own heartbeats


def test_only_migrate_is_told_the_owner() -> None:
    stack, booking = _stack(), MESH.services["booking"]
    assert "BERTH_OWNER_DATABASE_URL" not in stack.service_environment(booking)
    assert "booking_owner" in stack.migration_environment(booking)["BERTH_OWNER_DATABASE_URL"]


def test_secrets_go_only_to_the_service_that_names_them() -> None:
    stack = _stack()
    assert stack.service_environment(MESH.services["auth"])["BERTH_MASTER_KEY"] == "secret of BERTH_MASTER_KEY"
    for name in ("inventory", "booking", "payment", "notification"):
        told = stack.service_environment(MESH.services[name])
        assert "BERTH_MASTER_KEY" not in told
        assert not [value for value in told.values() if "_app" in value and f"{name}_app" not in value]


def test_the_topologys_own_variables_are_filled_in() -> None:
    stack = _stack()
    assert stack.service_environment(MESH.services["payment"])["BERTH_STRIPE_API_BASE"] == "http://127.0.0.1:7420"
    assert stack.service_environment(MESH.services["notification"])["BERTH_SMTP_PORT"] == "7425"


def test_of_the_developers_environment_only_named_variables_pass() -> None:
    told = _stack(BERTH_LOG_LEVEL="DEBUG", AWS_SECRET_ACCESS_KEY="x").service_environment(MESH.services["auth"])
    assert told["BERTH_LOG_LEVEL"] == "DEBUG"
    assert "AWS_SECRET_ACCESS_KEY" not in told


def test_a_second_worker_has_its_own_ports_and_everybody_knows_both() -> None:
    two = replace(MESH.services["auth"], workers=2)
    mesh = replace(MESH, services={**MESH.services, "auth": two})
    stack = replace(_stack(), topology=mesh, ports={k: v for k, v in wishes(mesh, Settings()).items() if v})
    assert stack.service_environment(two, 1)["BERTH_LISTEN"] == "127.0.0.1:7111"
    assert stack.service_environment(MESH.services["payment"])["BERTH_PEERS"] == "auth=127.0.0.1:7110,127.0.0.1:7111"


def test_an_outside_part_wishes_no_port_and_its_address_is_used() -> None:
    outside = {"kafka": "broker.example:9092", "mail": "mail.example:25", "booking": "127.0.0.1:9000"}
    stack = _stack(Settings(outside=outside))
    assert not {name for name in stack.ports if name.split(".")[0] in outside}
    told = stack.service_environment(MESH.services["notification"])
    assert told["BERTH_KAFKA"] == "broker.example:9092"
    assert told["BERTH_SMTP_HOST"] == "mail.example"
    assert "booking=127.0.0.1:9000" in told["BERTH_PEERS"]


def test_an_outside_postgres_keeps_its_host_and_gets_our_roles() -> None:
    stack = _stack(Settings(outside={"postgres": "postgresql://root:pw@db.example:6000/postgres"}))
    assert (
        stack.database_url("auditor", "booking") == "postgresql://auditor:secret%20of%20auditor@db.example:6000/booking"
    )
    assert stack.server.superuser("booking") == "postgresql://root:pw@db.example:6000/booking"


@pytest.mark.parametrize("free", [False, True])
def test_tests_take_any_port(free: bool) -> None:
    wanted = wishes(MESH, Settings(free_ports=free))
    assert (set(wanted.values()) == {None}) is free
    assert {"gateway", "gateway.admin", "postgres", "mail.smtp", "booking", "booking.metrics"} <= set(wanted)
