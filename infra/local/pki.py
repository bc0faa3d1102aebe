"""The development CA: one certificate per name of the mesh, made where missing and again before it expires."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA = "ca"
GATEWAY = "gateway"
OPERATOR = "operator"
_CA_LIFE = dt.timedelta(days=365)
_LIFE = dt.timedelta(days=90)
# Made again when less than this is left: longer than anybody leaves a stack running without a restart.
_MARGIN = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Pair:
    """The PEM paths of one name."""

    certificate: Path
    key: Path


def pair(directory: Path, name: str) -> Pair:
    """Where a name's certificate and key lie."""
    return Pair(directory / f"{name}.crt", directory / f"{name}.key")


def ensure(directory: Path, names: Iterable[str], now: dt.datetime) -> None:
    """Makes the CA and a certificate for each name, where it is missing, near its end, or of another CA."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca = pair(directory, CA)
    if _ends_soon(ca.certificate, now) or not ca.key.exists():
        _write(ca, *_new_ca(now))
    ca_certificate = x509.load_pem_x509_certificate(ca.certificate.read_bytes())
    ca_key = serialization.load_pem_private_key(ca.key.read_bytes(), password=None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{ca.key} is not ours: another kind of key")
    for name in names:
        own = pair(directory, name)
        if _ends_soon(own.certificate, now) or not own.key.exists() or not _issued_by(own.certificate, ca_certificate):
            _write(own, *_new_leaf(name, ca_certificate, ca_key, now))


def _ends_soon(certificate: Path, now: dt.datetime) -> bool:
    if not certificate.exists():
        return True
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc < now + _MARGIN


def _issued_by(certificate: Path, ca: x509.Certificate) -> bool:
    try:
        x509.load_pem_x509_certificate(certificate.read_bytes()).verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the answer is a new one
        return False
    return True


def _new_ca(now: dt.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Berth development CA")])
    builder = _builder(name, name, key, now, _CA_LIFE).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    usage = _key_usage(signs_certificates=True)
    certificate = builder.add_extension(usage, critical=True).add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    return certificate.sign(key, hashes.SHA256()), key


def _new_leaf(
    name: str, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, ca.subject, key, now, _LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    # Every name is both a server and a client; its one SAN is its identity, checked by both sides.
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
    )
    return builder.sign(ca_key, hashes.SHA256()), key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime, life: dt.timedelta
) -> x509.CertificateBuilder:
    # Valid from a little earlier: a test that turns one service's clock back must still trust the others.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + life)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write(where: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    where.key.unlink(missing_ok=True)
    with os.fdopen(os.open(where.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
    where.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
