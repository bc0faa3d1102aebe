"""The contract's words and the environment's: what they become, and what is refused with which sentence."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

import pytest
from berth.auth.events.v1 import events_pb2 as events
from berth.auth.v1 import error_reason_pb2, tenant_service_pb2, user_pb2, user_service_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from services.auth import wire
from services.auth.config import AuthConfig
from services.auth.domain import errors
from services.auth.domain.challenges import Purpose
from services.auth.domain.facts import OtpIssued, UserRegistered, UserVerified
from services.auth.domain.tenants import TenantStatus
from services.auth.domain.users import UserStatus
from services.chassis.config import ConfigError, read
from services.chassis.errors import Refusal, UpdateMaskInvalid
from services.chassis.instants import instant_to
from tests.ports.auth.fakes import MASTER_KEY, START


def test_every_state_has_its_word() -> None:
    for status in UserStatus:
        assert user_pb2.User.Status.Name(wire._USER_STATUS[status]) == status.value
    for tenant_status in TenantStatus:
        assert tenant_service_pb2.Tenant.Status.Name(wire._TENANT_STATUS[tenant_status]) == tenant_status.value
    for purpose in Purpose:
        assert events.OtpIssued.Purpose.Name(wire._PURPOSE[purpose]) == purpose.value


def test_every_reason_of_the_contract_has_its_refusal_and_the_reverse() -> None:
    ours = {
        found.reason
        for found in vars(errors).values()
        if isinstance(found, type) and found.__module__ == errors.__name__ and issubclass(found, Refusal)
    }
    assert ours | {"ERROR_REASON_UNSPECIFIED"} == set(error_reason_pb2.ErrorReason.keys())


def test_without_a_mask_what_is_present_changes() -> None:
    request = user_service_pb2.UpdateMeRequest(first_name="Carola", phone="", etag="u1")
    command = wire.update_me_command(request)
    assert (command.changes, command.etag) == ({"first_name": "Carola", "phone": ""}, "u1")


def test_with_a_mask_what_it_names_changes() -> None:
    request = user_service_pb2.UpdateMeRequest(
        first_name="Carola", last_name="ignored", update_mask=FieldMask(paths=["first_name", "phone"])
    )
    assert wire.update_me_command(request).changes == {"first_name": "Carola", "phone": ""}


@pytest.mark.parametrize(
    ("path", "named"),
    [(path, path) for path in ("email", "roles", "etag", "nonsense", "*", "", "phone.x")]
    + [("user_id", "userId"), ("update_mask", "updateMask")],
)
def test_other_paths_are_refused_by_name(path: str, named: str) -> None:
    request = user_service_pb2.UpdateMeRequest(update_mask=FieldMask(paths=["phone", path]))
    with pytest.raises(UpdateMaskInvalid) as refused:
        wire.update_me_command(request)
    assert refused.value.metadata == {"path": named}


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        (UserRegistered("usr_1"), events.UserRegistered(user_id="usr_1")),
        (UserVerified("usr_1"), events.UserVerified(user_id="usr_1")),
        (
            OtpIssued("usr_1", "otp_1", Purpose.VERIFY_EMAIL, START),
            events.OtpIssued(
                user_id="usr_1",
                challenge_id="otp_1",
                purpose=events.OtpIssued.VERIFY_EMAIL,
                expire_time=instant_to(START),
            ),
        ),
    ],
)
def test_facts_are_published_under_their_person(
    fact: UserRegistered | UserVerified | OtpIssued,
    message: events.UserRegistered | events.UserVerified | events.OtpIssued,
) -> None:
    event = wire.outbox_event(fact, "ten_1", 7, START)
    assert (event.topic, event.key, event.tenant_id, event.version) == ("berth.auth.v1", "usr_1", "ten_1", 7)
    assert event.type == message.DESCRIPTOR.full_name
    assert type(message).FromString(event.payload) == message


def environment(tmp_path: Path, **changes: str) -> dict[str, str]:
    told = {
        "BERTH_ENVIRONMENT": "local",
        "BERTH_LISTEN": "127.0.0.1:7110",
        "BERTH_DATABASE_URL": "postgresql://auth_app:pw@127.0.0.1:7432/auth",
        "BERTH_WORKER_DATABASE_URL": "postgresql://auth_worker:pw@127.0.0.1:7432/auth",
        "BERTH_TLS_CA": str(tmp_path / "ca.pem"),
        "BERTH_TLS_CERT": str(tmp_path / "cert.pem"),
        "BERTH_TLS_KEY": str(tmp_path / "key.pem"),
        "BERTH_MASTER_KEY": base64.b64encode(MASTER_KEY).decode(),
    }
    return told | changes


def test_reads_its_configuration(tmp_path: Path) -> None:
    config = read(AuthConfig, environment(tmp_path, BERTH_ACCESS_TOKEN_SECONDS="60"))
    assert config.master_key == MASTER_KEY
    assert config.rules.access_life == timedelta(minutes=1)
    assert config.rules.refresh_life == timedelta(days=30)
    assert str(MASTER_KEY) not in repr(config)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("BERTH_MASTER_KEY", "", "BERTH_MASTER_KEY is not set."),
        ("BERTH_MASTER_KEY", "AAAA", "BERTH_MASTER_KEY must be 32 bytes in base64; it has 3."),
        ("BERTH_MASTER_KEY", "not base64!", "BERTH_MASTER_KEY cannot be used: it is not base64."),
        (
            "BERTH_ACCESS_TOKEN_SECONDS",
            "86400",
            "BERTH_ACCESS_TOKEN_SECONDS must lie between 30 and 1800; it is 86400.",
        ),
        ("BERTH_ARGON2_THREADS", "0", "BERTH_ARGON2_THREADS must lie between 1 and 64; it is 0."),
        ("BERTH_KEY_ROTATION_DAYS", "x", "BERTH_KEY_ROTATION_DAYS cannot be used: it is not a whole number ('x')."),
    ],
)
def test_refuses_a_bad_value_with_a_sentence(tmp_path: Path, name: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(AuthConfig, environment(tmp_path, **{name: value}))
    assert str(refused.value) == sentence


def test_production_refuses_cheap_hashes(tmp_path: Path) -> None:
    cheap = environment(tmp_path, BERTH_ARGON2_MEMORY_KIB="64")
    assert read(AuthConfig, cheap).argon2_memory_kib == 64
    with pytest.raises(ConfigError):
        read(AuthConfig, cheap | {"BERTH_ENVIRONMENT": "production"})
