"""What the stack writes and reads: certificates, secrets, the lock of Kafka's jars, a lock's lines for one package."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from cryptography import x509

from infra.local import kafka_jars, pki, topology
from infra.local.instance import Instance
from scripts.bootstrap import pinned

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
MESH = topology.read()


def _serial(directory: Path, name: str) -> int:
    return x509.load_pem_x509_certificate(pki.pair(directory, name).certificate.read_bytes()).serial_number


def test_a_certificate_carries_its_one_name_and_the_ca_vouches_for_it(tmp_path: Path) -> None:
    pki.ensure(tmp_path, ["booking"], NOW)
    ca = x509.load_pem_x509_certificate(pki.pair(tmp_path, pki.CA).certificate.read_bytes())
    own = x509.load_pem_x509_certificate(pki.pair(tmp_path, "booking").certificate.read_bytes())
    own.verify_directly_issued_by(ca)
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["booking"]
    assert not own.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert pki.pair(tmp_path, "booking").key.stat().st_mode & 0o077 == 0


def test_certificates_are_kept_until_their_end_is_near(tmp_path: Path) -> None:
    pki.ensure(tmp_path, ["booking"], NOW)
    first, ca = _serial(tmp_path, "booking"), _serial(tmp_path, pki.CA)
    pki.ensure(tmp_path, ["booking"], NOW + dt.timedelta(days=50))
    assert _serial(tmp_path, "booking") == first
    pki.ensure(tmp_path, ["booking"], NOW + dt.timedelta(days=70))
    assert _serial(tmp_path, "booking") != first
    assert _serial(tmp_path, pki.CA) == ca


def test_a_new_ca_renews_every_certificate(tmp_path: Path) -> None:
    pki.ensure(tmp_path, ["booking"], NOW)
    first = _serial(tmp_path, "booking")
    pki.pair(tmp_path, pki.CA).key.unlink()
    pki.ensure(tmp_path, ["booking"], NOW)
    assert _serial(tmp_path, "booking") != first


def test_secrets_are_made_once_and_are_for_the_owner_alone(tmp_path: Path) -> None:
    first = Instance(tmp_path).secrets(MESH, {})
    assert Instance(tmp_path).secrets(MESH, {}) == first
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert first["BERTH_STRIPE_API_KEY"].startswith("sk_test_")
    assert len(set(first.values())) == len(first)


def test_a_secret_of_the_environment_wins_and_is_not_kept(tmp_path: Path) -> None:
    assert (
        Instance(tmp_path).secrets(MESH, {"BERTH_STRIPE_API_KEY": "sk_test_own"})["BERTH_STRIPE_API_KEY"]
        == "sk_test_own"
    )
    assert "sk_test_own" not in (tmp_path / "secrets.json").read_text()


def test_one_supervisor_holds_a_folder(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    assert not instance.is_held()
    held = instance.hold()
    assert instance.is_held()
    os.close(held)
    assert not instance.is_held()


def test_the_committed_lock_names_every_jar_with_its_sum() -> None:
    jars = kafka_jars.locked()
    assert len(jars) > 40
    assert all(len(jar.sha256) == 64 for jar in jars)
    (broker,) = [jar for jar in jars if jar.artifact == "kafka_2.13"]
    assert kafka_jars.ENDPOINT.startswith(f"{broker.group}:{broker.artifact}:{broker.version}")
    assert broker.path(Path("/c")) == Path(
        f"/c/org/apache/kafka/kafka_2.13/{broker.version}/kafka_2.13-{broker.version}.jar"
    )


def test_one_packages_lines_are_cut_from_a_lock() -> None:
    wanted = "uv==2.0 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
    lock = f"uv-build==1 \\\n    --hash=sha256:aa\n{wanted}zz==3 \\\n    --hash=sha256:dd\n"
    assert pinned(lock, "uv") == wanted
    with pytest.raises(ValueError, match="pip is not in the lock"):
        pinned(lock, "pip")
