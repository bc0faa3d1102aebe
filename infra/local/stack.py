"""One stack as planned: which port, address and secret everything gets, and the environment of each service process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.local import pki, postgres, settings
from infra.local.instance import REDIS_PASSWORD, STRIPE_API_KEY, Instance
from infra.local.settings import Settings
from infra.local.topology import ROOT, Service, Topology

_HOST = "127.0.0.1"
# What a developer may set for every service by setting it for `make up`.
_PASSED_ON = ("BERTH_LOG_LEVEL", "BERTH_OTLP_ENDPOINT", "BERTH_CLOCK_OFFSET_SECONDS", "PATH", "HOME", "LANG", "TZ")


def wishes(topology: Topology, settings: Settings) -> dict[str, int | None]:
    """The port that every listener would like, by the listener's name; None where any will do."""
    parts, gateway = topology.parts, topology.gateway
    own = {
        "gateway": gateway.port,
        "gateway.admin": gateway.admin_port,
        "postgres": parts.postgres_port,
        "redis": parts.redis_port,
        "kafka": parts.kafka_port,
        "kafka.controller": parts.kafka_controller_port,
        "stripe": parts.stripe_port,
        "mail.smtp": parts.smtp_port,
        "mail": parts.mail_port,
    }
    for service in topology.services.values():
        for worker in range(service.workers):
            own[worker_name(service, worker)] = service.port + worker
            own[f"{worker_name(service, worker)}.metrics"] = service.metrics_port + worker
    wanted = {name: port for name, port in own.items() if name.split(".")[0] not in settings.outside}
    return dict.fromkeys(wanted) if settings.free_ports else dict(wanted)


def worker_name(service: Service, worker: int) -> str:
    """`booking` for the first process of a service, `booking-2` for the second."""
    return service.name if worker == 0 else f"{service.name}-{worker + 1}"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Everything that is decided before the first process starts."""

    topology: Topology
    settings: Settings
    instance: Instance
    ports: Mapping[str, int]
    secrets: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def gateway_url(self) -> str:
        """Where REST, gRPC and gRPC-Web are served."""
        return f"http://{_HOST}:{self.ports['gateway']}"

    @property
    def admin_url(self) -> str:
        """Envoy's own page."""
        return f"http://{_HOST}:{self.ports['gateway.admin']}"

    @property
    def stripe_url(self) -> str:
        """The provider's API."""
        return self.settings.outside.get("stripe") or f"http://{_HOST}:{self.ports['stripe']}"

    @property
    def stripe_publishable_key(self) -> str:
        """The key that a browser pays with: public by its nature, and derived as the provider double derives it."""
        return self.secrets[STRIPE_API_KEY].replace("sk_", "pk_", 1)

    @property
    def webhook_url(self) -> str:
        """Where the provider double posts its events: through the gateway, as the provider would."""
        return f"{self.gateway_url}/api/v1/webhooks/stripe"

    @property
    def smtp(self) -> str:
        """host:port that takes mail."""
        return self.settings.outside.get("mail") or f"{_HOST}:{self.ports['mail.smtp']}"

    @property
    def mail_url(self) -> str | None:
        """The catcher's page; an outside mail server has none."""
        return None if "mail" in self.settings.outside else f"http://{_HOST}:{self.ports['mail']}"

    @property
    def redis_url(self) -> str:
        """The cache."""
        own = f"redis://:{self.secrets[REDIS_PASSWORD]}@{_HOST}:{self.ports.get('redis', 0)}/0"
        return self.settings.outside.get("redis") or own

    @property
    def cluster(self) -> postgres.Cluster:
        """Our own PostgreSQL."""
        password = self.secrets[postgres.SUPERUSER]
        return postgres.Cluster(
            self.instance.data("postgres"), self.ports["postgres"], password, durable=self.settings.durable
        )

    @property
    def server(self) -> postgres.Server:
        """PostgreSQL, ours or outside."""
        outside = self.settings.outside.get("postgres")
        return postgres.Server(outside) if outside else self.cluster.server

    @property
    def mock_kafka_file(self) -> Path:
        """Where the mock cluster says which port it took."""
        return self.instance.data("kafka") / "mock-address"

    @property
    def kafka(self) -> str:
        """The broker's bootstrap address."""
        outside = self.settings.outside.get("kafka")
        if outside and not self.settings.mock_kafka:
            return outside
        if self.mock_kafka_file.exists():
            return self.mock_kafka_file.read_text()
        return f"{_HOST}:{self.ports['kafka']}" if "kafka" in self.ports else ""

    def endpoints(self, service: Service) -> list[str]:
        """Every address of a service: one a worker."""
        outside = self.settings.outside.get(service.name)
        if outside:
            return outside.split(",")
        return [f"{_HOST}:{self.ports[worker_name(service, worker)]}" for worker in range(service.workers)]

    def database_url(self, role: str, database: str) -> str:
        """One role's URL in one database; the role's password is the stack's own."""
        return self.server.url(role, self.secrets[role], database)

    def audit_environment(self) -> dict[str, str]:
        """What the auditor needs: every database by its own read-only role, and the provider."""
        urls = {
            f"BERTH_AUDIT_{name.upper()}_URL": self.database_url(postgres.AUDITOR, service.database)
            for name, service in self.topology.services.items()
        }
        return {
            **urls,
            STRIPE_API_KEY: self.secrets[STRIPE_API_KEY],
            "BERTH_STRIPE_API_BASE": self.stripe_url,
        }

    def service_environment(self, service: Service, worker: int = 0) -> dict[str, str]:
        """The environment of one service process that serves."""
        name, own = worker_name(service, worker), pki.pair(self.instance.tls, service.name)
        peers = {called: self.endpoints(self.topology.services[called]) for called in service.calls}
        values = {
            "BERTH_ENVIRONMENT": "local",
            "BERTH_LISTEN": f"{_HOST}:{self.ports[name]}",
            "BERTH_METRICS_LISTEN": f"{_HOST}:{self.ports[f'{name}.metrics']}",
            "BERTH_DATABASE_URL": self.database_url(service.app_role, service.database),
            "BERTH_WORKER_DATABASE_URL": self.database_url(service.worker_role, service.database),
            "BERTH_KAFKA": self.kafka,
            "BERTH_REDIS_URL": self.redis_url,
            "BERTH_TLS_CA": str(pki.pair(self.instance.tls, pki.CA).certificate),
            "BERTH_TLS_CERT": str(own.certificate),
            "BERTH_TLS_KEY": str(own.key),
            "BERTH_PEERS": ";".join(f"{peer}={','.join(found)}" for peer, found in peers.items()),
            "BERTH_JWKS_FILE": str(self.instance.data("jwks") / f"{name}.json"),
        }
        values |= {secret: self.secrets[secret] for secret in service.secrets}
        values |= {variable: text.format_map(self._places()) for variable, text in service.env.items()}
        return self.python_environment() | values

    def migration_environment(self, service: Service) -> dict[str, str]:
        """The same for `migrate`, which alone is told the owner's URL."""
        url = self.database_url(service.owner_role, service.database)
        return self.service_environment(service) | {"BERTH_OWNER_DATABASE_URL": url}

    def python_environment(self) -> dict[str, str]:
        """What every Python process of ours needs, and nothing else of the developer's own environment."""
        passed = {name: self.environment[name] for name in _PASSED_ON if name in self.environment}
        return passed | {"PYTHONPATH": f"{ROOT}:{ROOT / 'generated' / 'python'}", "PYTHONUNBUFFERED": "1"}

    def _places(self) -> dict[str, str]:
        host, _, port = self.smtp.rpartition(":")
        return {"stripe_url": self.stripe_url, "smtp_host": host, "smtp_port": port, "gateway_url": self.gateway_url}


def attach(instance: Instance, topology: Topology, environment: Mapping[str, str], ports: Mapping[str, int]) -> Stack:
    """The plan of a stack that is already up, as whoever talks to it needs it."""
    return Stack(
        topology=topology,
        settings=settings.read(environment, topology),
        instance=instance,
        ports=ports,
        secrets=instance.secrets(topology, environment),
        environment=environment,
    )
