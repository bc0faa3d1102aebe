"""One gateway before scripted services for all tests of this folder; the script is fresh for each test."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import grpc
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract import Contract
from infra.local import pki
from infra.local.topology import read
from tests.integration.gateway.echo import EchoService, Script
from tests.integration.gateway.envoy import Gateway, running

JWKS_METHOD = "/berth.auth.v1.KeyService/GetJwks"
Sign = Callable[..., str]


@pytest.fixture(scope="session")
def contract() -> Contract:
    """The contracts as generated."""
    return Contract.read()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the certificates of the gateway and of every service, and the gateway's configuration and log."""
    folder = tmp_path_factory.mktemp("gateway")
    pki.ensure(folder, [pki.GATEWAY, *read().services], datetime.now(UTC))
    return folder


@pytest.fixture(scope="session")
def signing_key() -> Ed25519PrivateKey:
    """The key by which auth signs."""
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def jwks(signing_key: Ed25519PrivateKey) -> str:
    """The key set that auth publishes."""
    return json.dumps({"keys": [public_jwk(signing_key)]})


def public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    """The public half of a key as a JWK."""
    public: dict[str, str] = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return public | {"kid": "k1", "use": "sig", "alg": "EdDSA"}


@pytest.fixture(scope="session")
def services(contract: Contract, folder: Path) -> Iterator[tuple[Script, dict[str, list[str]]]]:
    """The scripted services and their endpoints."""
    script = Script(contract)
    with ExitStack() as stack:
        running_services = [stack.enter_context(EchoService(name, script, folder)) for name in read().services]
        yield script, {service.name: [f"127.0.0.1:{service.port}"] for service in running_services}


@pytest.fixture(scope="session")
def gateway(
    services: tuple[Script, dict[str, list[str]]], folder: Path, signing_key: Ed25519PrivateKey
) -> Iterator[Gateway]:
    """A gateway before all services, which has fetched auth's keys."""
    script, endpoints = services
    publish_keys(script, signing_key)
    with running(folder, endpoints, awaited={method.owner for method in script.contract.external_methods}) as started:
        _await_keys(script)
        yield started


def publish_keys(script: Script, key: Ed25519PrivateKey) -> None:
    """Makes auth answer with the key."""
    jwk = script.message("berth.auth.v1.Jwk", **public_jwk(key))
    script.answers[JWKS_METHOD] = lambda request, context: script.message("berth.auth.v1.Jwks", keys=[jwk])


def _await_keys(script: Script) -> None:
    give_up = time.monotonic() + 15
    while script.key_fetches == 0:
        if time.monotonic() > give_up:
            raise RuntimeError("the gateway never asked auth for its keys")
        time.sleep(0.05)


@pytest.fixture
def script(services: tuple[Script, dict[str, list[str]]], gateway: Gateway, signing_key: Ed25519PrivateKey) -> Script:
    """The script, as if nothing had happened."""
    script, _ = services
    script.answers.clear()
    publish_keys(script, signing_key)
    script.seen.clear()
    return script


@pytest.fixture
def rest(gateway: Gateway) -> Iterator[httpx.Client]:
    """A REST client."""
    with httpx.Client(base_url=gateway.url, timeout=20) as client:
        yield client


@pytest.fixture
def channel(gateway: Gateway) -> Iterator[grpc.Channel]:
    """A gRPC channel."""
    with grpc.insecure_channel(gateway.target) as channel:
        yield channel


@pytest.fixture(scope="session")
def sign(signing_key: Ed25519PrivateKey) -> Sign:
    """Signs tokens as auth does; keyword arguments change claims, `key` the key."""

    def make(*, key: Ed25519PrivateKey = signing_key, kid: str = "k1", **changes: object) -> str:
        now = int(time.time())
        claims: dict[str, object] = {"iss": "berth", "aud": "berth", "sub": "usr_1", "iat": now, "exp": now + 300}
        return jwt.encode(claims | changes, key, algorithm="EdDSA", headers={"kid": kid})

    return make
