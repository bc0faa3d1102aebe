"""The parts of this mesh: what each needs, how it starts and what makes it count as serving."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from infra.local import envoy, health, kafka, kafka_jars, launch, postgres, redis, topology
from infra.local.instance import STRIPE_API_KEY, STRIPE_WEBHOOK_SECRET
from infra.local.part import Part, Run, Tell
from infra.local.stack import Stack, worker_name
from infra.local.topology import ROOT, Service

DEMO = ROOT / "infra" / "local" / "demo.toml"
# Everything a service may use while it serves; it outlives each of them, but a first start should find them there.
# What payment acts on: a real endpoint would be subscribed to these as well.
_STRIPE_EVENTS = (
    "payment_intent.amount_capturable_updated,payment_intent.canceled,payment_intent.payment_failed,"
    "payment_intent.requires_action,payment_intent.succeeded,refund.*,charge.refunded"
)
_SURROUNDINGS = ("postgres", "redis", "kafka", "stripe", "mail")


class PreparationError(RuntimeError):
    """A step before the start failed; the message carries the step's last words."""


@dataclass(frozen=True)
class Plan:
    """The parts in the order in which `status` shows them, and what the person at the screen must know."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...]


def plan(stack: Stack, note: Callable[[str], None]) -> Plan:
    """Every part of the stack; `note` hears later what must be told loudly."""
    notes, parts = [], [_postgres(stack), _redis(stack), _kafka(stack, note), _stripe(stack), _mail(stack)]
    present = {name for name in stack.topology.services if _exists(name)}
    for service in stack.topology.services.values():
        if service.name in stack.settings.outside:
            parts.append(_outside_service(stack, service))
        elif service.name in present:
            parts += [_service(stack, service, worker) for worker in range(service.workers)]
        else:
            notes.append(f"{service.name} is in the topology, but services/{service.name} has no __main__ yet.")
    parts.append(_gateway(stack, tuple(name for name in stack.topology.gateway.calls if name in present)))
    return Plan(tuple(parts), tuple(notes))


def _exists(service: str) -> bool:
    return (ROOT / "services" / service / "__main__.py").exists()


def _postgres(stack: Stack) -> Part:
    async def refusal() -> str | None:
        return await asyncio.to_thread(postgres.refusal, stack.server)

    async def settle(tell: Tell) -> None:
        tell("databases and roles")
        await asyncio.to_thread(postgres.provision, stack.server, stack.topology, stack.secrets)

    if "postgres" in stack.settings.outside:
        return Part(name="postgres", url=lambda: _shown(stack.server.superuser_url), refusal=refusal, settle=settle)

    async def prepare(tell: Tell) -> None:
        tell("making the data directory")
        await asyncio.to_thread(stack.cluster.initialise)

    def run() -> Run:
        stack.cluster.clear_stale_pid()
        return Run(stack.cluster.command(), postgres.ENVIRONMENT)

    return Part(
        name="postgres",
        url=lambda: _shown(stack.server.superuser_url),
        refusal=refusal,
        prepare=prepare,
        run=run,
        settle=settle,
        log=stack.instance.log("postgres"),
        stop_signal=postgres.STOP_SIGNAL,
    )


def _redis(stack: Stack) -> Part:
    def run() -> Run:
        return Run(redis.command(stack.instance.data("redis"), stack.ports["redis"], stack.secrets["redis"]))

    return Part(
        name="redis",
        url=lambda: _shown(stack.redis_url),
        refusal=lambda: redis.refusal(stack.redis_url),
        run=None if "redis" in stack.settings.outside else run,
        log=stack.instance.log("redis"),
    )


def _kafka(stack: Stack, note: Callable[[str], None]) -> Part:
    directory, settings = stack.instance.data("kafka"), stack.settings
    jars: list[Path] = []

    async def refusal() -> str | None:
        return await asyncio.to_thread(kafka.refusal, stack.kafka) if stack.kafka else "not started"

    async def prepare(tell: Tell) -> None:
        stack.mock_kafka_file.unlink(missing_ok=True)
        if settings.mock_kafka:
            note("KAFKA IS A MOCK, as BERTH_LOCAL_KAFKA=mock asks: in memory, events are lost when it stops.")
            return
        try:
            jars[:] = await asyncio.to_thread(kafka_jars.fetch, kafka_jars.cache_directory(), kafka_jars.locked(), tell)
        except kafka_jars.JarsMissingError as error:
            note(f"KAFKA IS A MOCK: {error}. In memory only, events are lost when it stops; it is no real broker.")
            return
        tell("formatting the storage")
        ports = stack.ports
        await asyncio.to_thread(kafka.prepare, directory, jars, ports["kafka"], ports["kafka.controller"])

    async def settle(tell: Tell) -> None:
        if not stack.mock_kafka_file.exists():  # the mock makes a topic when it is first named
            tell("topics")
            await asyncio.to_thread(kafka.make_topics, stack.kafka, stack.topology)

    def run() -> Run:
        if jars:
            return Run(kafka.command(directory, jars), {"PATH": os.environ.get("PATH", "")})
        directory.mkdir(parents=True, exist_ok=True)
        line = [sys.executable, "-m", "infra.local.mock_kafka", str(stack.mock_kafka_file)]
        return Run(launch.wrap(line), stack.python_environment())

    own = "kafka" not in settings.outside or settings.mock_kafka
    return Part(
        name="kafka",
        url=lambda: stack.kafka or "not known yet",
        refusal=refusal,
        prepare=prepare if own else None,
        run=run if own else None,
        settle=settle,
        log=stack.instance.log("kafka"),
    )


def _stripe(stack: Stack) -> Part:
    def run() -> Run:
        secrets, data = stack.secrets, stack.instance.data("stripe")
        data.mkdir(parents=True, exist_ok=True)
        line = [sys.executable, "-m", "infra.doubles.stripe", "--port", str(stack.ports["stripe"])]
        line += [
            "--api-key",
            secrets[STRIPE_API_KEY],
            "--webhook-secret",
            secrets[STRIPE_WEBHOOK_SECRET],
        ]
        line += ["--webhook-url", stack.webhook_url, "--webhook-events", _STRIPE_EVENTS, "--data-dir", str(data)]
        return Run(launch.wrap(line), stack.python_environment())

    own = "stripe" not in stack.settings.outside
    host = urlsplit(stack.stripe_url)
    return Part(
        name="stripe",
        url=lambda: stack.stripe_url,
        refusal=lambda: health.tcp(f"{host.hostname}:{host.port or 443}"),
        run=run if own else None,
        log=stack.instance.log("stripe"),
    )


def _mail(stack: Stack) -> Part:
    def run() -> Run:
        line = [sys.executable, "-m", "infra.doubles.mail", "--smtp-port", str(stack.ports["mail.smtp"])]
        line += ["--port", str(stack.ports["mail"])]
        return Run(launch.wrap(line, background=True), stack.python_environment())

    async def refusal() -> str | None:
        return await (health.http(stack.mail_url, "/health") if stack.mail_url else health.tcp(stack.smtp))

    return Part(
        name="mail",
        url=lambda: stack.mail_url or f"smtp://{stack.smtp}",
        refusal=refusal,
        run=run if stack.mail_url else None,
        log=stack.instance.log("mail"),
    )


def _outside_service(stack: Stack, service: Service) -> Part:
    address = stack.endpoints(service)[0]
    probe = health.ServiceProbe(address, service.name, stack.instance.tls)
    return Part(name=service.name, url=lambda: address, refusal=probe.refusal)


def _service(stack: Stack, service: Service, worker: int) -> Part:
    name = worker_name(service, worker)
    address = f"127.0.0.1:{stack.ports[name]}"
    log = stack.instance.log(name)
    probe = health.ServiceProbe(address, service.name, stack.instance.tls)

    async def prepare(tell: Tell) -> None:
        # Two starts of Python are saved where neither the service's code nor the demo data has changed since.
        code = [path for folder in (service.name, "chassis") for path in (ROOT / "services" / folder).rglob("*.py")]
        mark = await asyncio.to_thread(_fingerprint, *code, DEMO)
        if await asyncio.to_thread(postgres.prepared_mark, stack.server, service.database) == mark:
            return
        environment = stack.migration_environment(service)
        tell("migrating its database")
        await _step(log, environment, "-m", service.package, "migrate")
        tell("filling in demo data")
        await _step(log, environment, "-m", service.package, "seed", "--file", str(DEMO))
        await asyncio.to_thread(postgres.mark_prepared, stack.server, service.database, mark)

    def run() -> Run:
        line = [sys.executable, "-m", service.package, "serve"]
        return Run(launch.wrap(line, background=service.background), stack.service_environment(service, worker))

    return Part(
        name=name,
        url=lambda: address,
        refusal=probe.refusal,
        # The first worker prepares the database; the others find it prepared.
        prepare_after=("postgres",) if worker == 0 else (service.name,),
        prepare=prepare if worker == 0 else None,
        after=_SURROUNDINGS,
        run=run,
        log=log,
    )


def _gateway(stack: Stack, calls: tuple[str, ...]) -> Part:
    configuration = stack.instance.data("envoy") / "envoy.json"
    endpoints = {name: stack.endpoints(stack.topology.services[name]) for name in stack.topology.gateway.calls}
    log = stack.instance.log("gateway")

    async def prepare(tell: Tell) -> None:
        jwks = _newest(stack.instance.data("jwks"))
        line = envoy.render_command(
            configuration,
            endpoints,
            tls=stack.instance.tls,
            port=stack.ports["gateway"],
            admin_port=stack.ports["gateway.admin"],
            jwks=jwks,
        )
        # Rendering is two seconds of CPU: done where the answer could be another one than last time's.
        inputs = [*(ROOT / "gateway").rglob("*.py"), *(ROOT / "generated" / "envoy").glob("*"), topology.PATH]
        mark = _fingerprint(*inputs, *([jwks] if jwks else []), words=line)
        rendered_by = configuration.with_suffix(".mark")
        if rendered_by.exists() and rendered_by.read_text() == mark and configuration.exists():
            return
        tell("rendering Envoy's configuration")
        await _finish(launch.wrap(line), log, stack.python_environment())
        rendered_by.write_text(mark)

    return Part(
        name="gateway",
        url=lambda: stack.gateway_url,
        refusal=lambda: health.http(stack.admin_url, "/ready"),
        prepare=prepare,
        # A start while auth is out needs the newest token keys that anybody kept.
        prepare_always=True,
        # What it finds serving at its start it need not look for again a second later, with refusals until then.
        after=calls,
        run=lambda: Run(envoy.command(configuration)),
        log=log,
        stop_signal=signal.SIGTERM,
        stop_seconds=5.0,
    )


def _fingerprint(*files: Path, words: Sequence[str] = ()) -> str:
    """Of everything that decides what a preparation does: the same mark means the same outcome."""
    digest = hashlib.sha256("\0".join(words).encode())
    for path in sorted(files):
        digest.update(f"{path}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"berth {digest.hexdigest()}"


def _newest(directory: Path) -> Path | None:
    return max(directory.glob("*.json"), key=lambda path: path.stat().st_mtime, default=None)


async def _step(log: Path, environment: dict[str, str], *arguments: str) -> None:
    await _finish(launch.wrap([sys.executable, *arguments]), log, environment)


async def _finish(command: list[str], log: Path, environment: dict[str, str]) -> None:
    """Runs a step to its end; its output goes to the part's log, and a failure carries the last of it."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    stamp = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    with log.open("ab") as file:
        file.write(f"--- {stamp} {' '.join(command[-3:])}\n".encode() + output)
    if process.returncode:
        last = output.decode(errors="replace").strip().splitlines()[-6:]
        raise PreparationError(f"exit code {process.returncode}\n" + "\n".join(last))


def _shown(url: str) -> str:
    """A URL without its password."""
    parts = urlsplit(url)
    netloc = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
    return parts._replace(netloc=netloc).geturl()
