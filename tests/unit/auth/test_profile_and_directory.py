"""Profiles, tenants and the directory: what may change, and who sees what."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.auth.domain.errors import TenantExists
from services.auth.domain.roles import Role
from services.auth.domain.tenants import TenantStatus
from services.auth.domain.users import Profile, User
from services.auth.usecases.directory import get_contact, get_otp, grant_vendor, resolve_tenant
from services.auth.usecases.profile import UpdateMe, get_me, update_me
from services.auth.usecases.registration import Register, ResendOtp, VerifyEmail, register, resend_otp, verify_email
from services.auth.usecases.retention import purge
from services.auth.usecases.tenants import CreateTenant, create_tenant, get_tenant, list_tenants, move_tenant
from services.chassis.errors import EtagMismatch, InvalidField, NotFound, TenantUnknown, UpdateMaskInvalid
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.principal import Principal
from tests.ports.auth.fakes import START, World

EMAIL = "cara@example.com"


@pytest.fixture
async def world() -> World:
    world = World()
    profile = Profile(email=EMAIL, first_name="Cara", last_name="Customer", phone="+4940123456")
    await register(world.ports, world.anybody, Register(profile, "harbour-lights-42"), None)
    return world


def me(world: World) -> Principal:
    return Principal("user", world.tenant.tenant_id, world.only_user().user_id)


def notification(world: World) -> Principal:
    return Principal("service", world.tenant.tenant_id, "notification")


async def update(world: World, changes: dict[str, str], etag: str = "", key: IdempotencyKey | None = None) -> User:
    return await update_me(world.ports, me(world), UpdateMe(changes, etag), key)


async def test_changes_what_is_named_and_nothing_else(world: World) -> None:
    before = await get_me(world.ports, me(world))
    world.clock.advance(timedelta(minutes=1))
    after = await update(world, {"first_name": " Carola ", "phone": ""}, before.etag)
    assert after == await get_me(world.ports, me(world))
    assert (after.profile.first_name, after.profile.last_name, after.profile.phone) == ("Carola", "Customer", "")
    assert after.update_time == START + timedelta(minutes=1)
    assert after.etag != before.etag


async def test_a_stale_etag_is_refused(world: World) -> None:
    before = world.only_user()
    await update(world, {"first_name": "Carola"}, before.etag)
    with pytest.raises(EtagMismatch):
        await update(world, {"first_name": "Carla"}, before.etag)
    assert world.only_user().profile.first_name == "Carola"


async def test_changing_nothing_changes_nothing(world: World) -> None:
    assert (await update(world, {"first_name": "Cara"})).etag == (await update(world, {})).etag


@pytest.mark.parametrize("path", ["email", "roles", "status", "user_id", "nonsense"])
async def test_other_fields_cannot_be_changed(world: World, path: str) -> None:
    with pytest.raises(UpdateMaskInvalid) as refused:
        await update(world, {path: "x"})
    assert refused.value.metadata == {"path": path}


async def test_a_name_cannot_be_removed(world: World) -> None:
    with pytest.raises(InvalidField):
        await update(world, {"last_name": " "})


async def test_a_removed_language_is_the_default_one(world: World) -> None:
    assert (await update(world, {"locale": ""})).profile.locale == "en"


async def test_a_key_changes_once(world: World) -> None:
    key = IdempotencyKey(world.tenant.tenant_id, me(world).subject, "/UpdateMe", "k", b"body")
    await update(world, {"first_name": "Carola"}, key=key)
    await update(world, {"first_name": "Carla"})
    assert (await update(world, {"first_name": "Carola"}, key=key)).profile.first_name == "Carla"


async def test_nobody_is_found_in_another_tenant(world: World) -> None:
    elsewhere = Principal("user", new_id("ten", at=START), world.only_user().user_id)
    with pytest.raises(NotFound):
        await get_me(world.ports, elsewhere)
    with pytest.raises(NotFound):
        await update_me(world.ports, elsewhere, UpdateMe({"first_name": "Eve"}), None)


async def test_contacts_and_codes_for_mails(world: World) -> None:
    (challenge,) = world.work.state.challenges.values()
    contact = await get_contact(world.ports, notification(world), world.only_user().user_id)
    assert (contact.user.profile.email, contact.tenant.display_name) == (EMAIL, "Demo")
    assert await get_otp(world.ports, notification(world), challenge.challenge_id) == (
        world.otp(),
        START + timedelta(minutes=10),
    )


@pytest.mark.parametrize("end", ["used", "replaced", "expired"])
async def test_a_dead_code_is_not_mailed(world: World, end: str) -> None:
    (challenge,) = world.work.state.challenges.values()
    if end == "used":
        await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL, world.otp()), None)
    elif end == "replaced":
        await resend_otp(world.ports, world.anybody, ResendOtp(EMAIL), None)
    else:
        world.clock.advance(timedelta(minutes=10))
    with pytest.raises(NotFound):
        await get_otp(world.ports, notification(world), challenge.challenge_id)


async def test_a_service_that_acts_for_nobody_sees_nobody(world: World) -> None:
    (challenge,) = world.work.state.challenges.values()
    for tenant_id in ("", new_id("ten", at=START)):
        service = Principal("service", tenant_id, "notification")
        with pytest.raises(NotFound):
            await get_contact(world.ports, service, world.only_user().user_id)
        with pytest.raises(NotFound):
            await get_otp(world.ports, service, challenge.challenge_id)
        with pytest.raises(NotFound):
            await grant_vendor(world.ports, service, world.only_user().user_id, new_id("vnd", at=START))


async def test_granting_a_vendor_twice_is_granting_it(world: World) -> None:
    vendor_id = new_id("vnd", at=START)
    for _ in range(2):
        await grant_vendor(world.ports, notification(world), world.only_user().user_id, vendor_id)
    assert world.only_user().roles == (Role.CUSTOMER, Role.VENDOR_OWNER)
    assert len(world.work.state.vendors) == 1


@pytest.mark.parametrize("slug", ["nowhere", "", "DEMO", "demo\x00", "demo\n", "ｄemo", "-demo", "x" * 41, "demo' --"])
async def test_slugs_of_no_tenant(world: World, slug: str) -> None:
    with pytest.raises(TenantUnknown):
        await resolve_tenant(world.ports, slug)


async def test_a_suspended_tenant_is_unknown_until_it_resumes(world: World) -> None:
    admin = me(world)
    for _ in range(2):
        await move_tenant(world.ports, admin, world.tenant.tenant_id, TenantStatus.SUSPENDED, None)
    with pytest.raises(TenantUnknown):
        await resolve_tenant(world.ports, "demo")
    await move_tenant(world.ports, admin, world.tenant.tenant_id, TenantStatus.ACTIVE, None)
    assert await resolve_tenant(world.ports, "demo") == world.tenant


async def test_a_repeated_suspension_does_not_stop_what_resumed(world: World) -> None:
    key = IdempotencyKey(world.tenant.tenant_id, me(world).subject, "/SuspendTenant", "k", b"body")
    tenant_id = world.tenant.tenant_id
    await move_tenant(world.ports, me(world), tenant_id, TenantStatus.SUSPENDED, key)
    await move_tenant(world.ports, me(world), tenant_id, TenantStatus.ACTIVE, None)
    again = await move_tenant(world.ports, me(world), tenant_id, TenantStatus.SUSPENDED, key)
    assert again.status is TenantStatus.ACTIVE


async def test_tenants_are_created_once_by_slug_and_by_key(world: World) -> None:
    key = IdempotencyKey(world.tenant.tenant_id, me(world).subject, "/CreateTenant", "k", b"body")
    created = await create_tenant(world.ports, me(world), CreateTenant("harbour", " Harbour "), key)
    assert created.display_name == "Harbour"
    assert await create_tenant(world.ports, me(world), CreateTenant("harbour", "Harbour"), key) == created
    with pytest.raises(TenantExists) as refused:
        await create_tenant(world.ports, me(world), CreateTenant("harbour", "Harbour"), None)
    assert refused.value.metadata == {"slug": "harbour"}
    with pytest.raises(InvalidField):
        await create_tenant(world.ports, me(world), CreateTenant("blank", "  "), None)


async def test_tenants_by_pages(world: World) -> None:
    for number in range(3):
        world.clock.advance(timedelta(seconds=1))
        await create_tenant(world.ports, me(world), CreateTenant(f"tenant-{number}", "T"), None)
    first, more = await list_tenants(world.ports, me(world), "", 3)
    assert ([tenant.slug for tenant in first], more) == (["demo", "tenant-0", "tenant-1"], True)
    second, more = await list_tenants(world.ports, me(world), first[-1].tenant_id, 3)
    assert ([tenant.slug for tenant in second], more) == (["tenant-2"], False)
    with pytest.raises(NotFound):
        await get_tenant(world.ports, me(world), new_id("ten", at=START))


async def test_what_ended_long_ago_is_forgotten_and_nothing_else(world: World) -> None:
    assert await purge(world.ports) == 0
    world.clock.advance(timedelta(days=1, minutes=11))
    assert await purge(world.ports) == 2, "the code, and the count of codes"
    assert len(world.work.state.users) == 1
