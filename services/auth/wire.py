"""Auth's contract and auth's domain, each in the other's words; nothing else knows both."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from berth.auth.events.v1 import events_pb2 as events
from berth.auth.v1 import auth_service_pb2 as auth
from berth.auth.v1 import tenant_service_pb2 as tenant_messages
from berth.auth.v1 import user_pb2, user_service_pb2
from google.protobuf.message import Message

from services.auth.domain.challenges import Purpose
from services.auth.domain.facts import Fact, OtpIssued, UserRegistered, UserVerified
from services.auth.domain.keys import SigningKey
from services.auth.domain.tenants import Tenant, TenantStatus
from services.auth.domain.users import DEFAULT_LOCALE, MUTABLE, Profile, User, UserStatus
from services.auth.usecases.directory import Contact
from services.auth.usecases.profile import UpdateMe
from services.auth.usecases.registration import Register
from services.auth.usecases.sessions import Login, Tokens
from services.chassis.errors import UpdateMaskInvalid
from services.chassis.ids import new_id
from services.chassis.instants import instant_to
from services.chassis.outbox import OutboxEvent
from services.chassis.rpc.errors import json_path

TOPIC: Final = "berth.auth.v1"
TOKEN_TYPE: Final = "Bearer"  # noqa: S105 - a kind of token, not a token

_USER_STATUS: Final = {
    UserStatus.UNVERIFIED: user_pb2.User.UNVERIFIED,
    UserStatus.ACTIVE: user_pb2.User.ACTIVE,
    UserStatus.SUSPENDED: user_pb2.User.SUSPENDED,
}
_TENANT_STATUS: Final = {
    TenantStatus.ACTIVE: tenant_messages.Tenant.ACTIVE,
    TenantStatus.SUSPENDED: tenant_messages.Tenant.SUSPENDED,
}
_PURPOSE: Final = {
    Purpose.VERIFY_EMAIL: events.OtpIssued.VERIFY_EMAIL,
    Purpose.ALREADY_REGISTERED: events.OtpIssued.ALREADY_REGISTERED,
}


def register_command(request: auth.RegisterRequest) -> Register:
    """Somebody who wants an account."""
    profile = Profile(
        email=request.email,
        first_name=request.first_name,
        last_name=request.last_name,
        phone=request.phone,
        locale=request.locale or DEFAULT_LOCALE,
    )
    return Register(profile, request.password)


def login_command(request: auth.LoginRequest) -> Login:
    """Who somebody says they are."""
    return Login(request.email, request.password, request.device_name)


def update_me_command(request: user_service_pb2.UpdateMeRequest) -> UpdateMe:
    """What to change: the masked fields, emptied where they are absent; without a mask, the fields that are present."""
    paths = list(request.update_mask.paths)
    for path in paths:
        if path not in MUTABLE:
            raise UpdateMaskInvalid(path=json_path(path))
    if not paths:
        paths = [path for path in MUTABLE if request.HasField(path)]
    return UpdateMe({path: getattr(request, path) for path in paths}, request.etag)


def user_message(user: User) -> user_pb2.User:
    """A person."""
    profile = user.profile
    return user_pb2.User(
        user_id=user.user_id,
        tenant_id=user.tenant_id,
        email=profile.email,
        first_name=profile.first_name,
        last_name=profile.last_name,
        phone=profile.phone,
        locale=profile.locale,
        status=_USER_STATUS[user.status],
        roles=[role.value for role in user.roles],
        create_time=instant_to(user.create_time),
        update_time=instant_to(user.update_time),
        etag=user.etag,
    )


def tokens_message(tokens: Tokens) -> auth.TokenPair:
    """A pair of tokens."""
    return auth.TokenPair(
        access_token=tokens.access_token,
        access_expire_time=instant_to(tokens.access_expire_time),
        refresh_token=tokens.refresh_token,
        refresh_expire_time=instant_to(tokens.refresh_expire_time),
        token_type=TOKEN_TYPE,
    )


def tenant_message(tenant: Tenant) -> tenant_messages.Tenant:
    """A marketplace."""
    return tenant_messages.Tenant(
        tenant_id=tenant.tenant_id,
        slug=tenant.slug,
        display_name=tenant.display_name,
        status=_TENANT_STATUS[tenant.status],
        create_time=instant_to(tenant.create_time),
    )


def contact_message(contact: Contact) -> tenant_messages.Contact:
    """How to write to a person."""
    profile = contact.user.profile
    return tenant_messages.Contact(
        user_id=contact.user.user_id,
        email=profile.email,
        first_name=profile.first_name,
        last_name=profile.last_name,
        locale=profile.locale,
        tenant_display_name=contact.tenant.display_name,
    )


def jwk_message(key: SigningKey) -> tenant_messages.Jwk:
    """The public half of a key (RFC 8037)."""
    return tenant_messages.Jwk(kty="OKP", crv="Ed25519", x=key.public, kid=key.key_id, use="sig", alg="EdDSA")


def outbox_event(fact: Fact, tenant_id: str, version: int, at: datetime) -> OutboxEvent:
    """A fact as it is published."""
    message = _event(fact)
    return OutboxEvent(
        event_id=new_id("evt", at=at),
        tenant_id=tenant_id,
        topic=TOPIC,
        key=fact.user_id,
        type=message.DESCRIPTOR.full_name,
        payload=message.SerializeToString(),
        version=version,
        time=at,
    )


def _event(fact: Fact) -> Message:
    match fact:
        case UserRegistered():
            return events.UserRegistered(user_id=fact.user_id)
        case UserVerified():
            return events.UserVerified(user_id=fact.user_id)
        case OtpIssued():
            return events.OtpIssued(
                user_id=fact.user_id,
                challenge_id=fact.challenge_id,
                purpose=_PURPOSE[fact.purpose],
                expire_time=instant_to(fact.expire_time),
            )
