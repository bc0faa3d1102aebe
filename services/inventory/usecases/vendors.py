"""Verbs of vendors: onboarding, from a draft to an approved seller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.chassis.errors import EtagMismatch, NotFound, Refusal
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.principal import Principal
from services.inventory.domain.catalog import Vendor, VendorStatus, etag_of
from services.inventory.ports import Grant, Ports, VendorFilter

REVIEW = "vendors.review"  # the permission that shows vendors in every state


@dataclass(frozen=True, slots=True)
class UpdateVendor:
    """What to change of a vendor; what is None stays."""

    vendor_id: str
    display_name: str | None
    etag: str = ""


async def create_vendor(ports: Ports, caller: Principal, display_name: str, key: IdempotencyKey | None) -> Vendor:
    """Create a vendor in DRAFT, and make the caller its owner."""
    now = ports.clock.now()
    vendor = Vendor(
        vendor_id=new_id("vnd", at=now),
        display_name=display_name,
        status=VendorStatus.DRAFT,
        owner_user_id=caller.subject,
        create_time=now,
        update_time=now,
    )
    async with ports.catalog.begin(caller.tenant_id) as work:
        replayed = await work.replayed_vendor(key, vendor.vendor_id)
        if replayed is not None:
            return replayed
        await work.add_vendor(vendor)
    await tell_owner(ports, Grant(caller.tenant_id, vendor.vendor_id, vendor.owner_user_id))
    return vendor


async def tell_owner(ports: Ports, grant: Grant) -> bool:
    """Tell auth who owns a vendor; whether it heard. What it did not hear is told again by a worker."""
    try:
        await ports.directory.grant_vendor(grant.tenant_id, grant.user_id, grant.vendor_id)
    except Refusal:
        return False
    await ports.grants.done(grant)
    return True


async def get_vendor(ports: Ports, caller: Principal, vendor_id: str) -> Vendor:
    """Read a vendor: an approved one for everybody, others for their people and reviewers."""
    vendor = await ports.catalog.vendor(caller.tenant_id, vendor_id)
    visible = vendor is not None and (
        vendor.status is VendorStatus.APPROVED or is_theirs(caller, vendor) or caller.may(REVIEW)
    )
    if vendor is None or not visible:
        raise NotFound(resource="vendor")
    return vendor


async def list_vendors(
    ports: Ports, caller: Principal, status: VendorStatus | None, before: str, limit: int
) -> Sequence[Vendor]:
    """List vendors that the caller may see, newest first."""
    which = VendorFilter(
        status=status,
        everything=caller.may(REVIEW),
        user_id=caller.subject if caller.kind == "user" else "",
        vendor_ids=caller.vendor_ids,
    )
    return await ports.catalog.vendors(caller.tenant_id, which, before, limit)


async def update_vendor(ports: Ports, caller: Principal, command: UpdateVendor, key: IdempotencyKey | None) -> Vendor:
    """Change a vendor's name."""
    async with ports.catalog.begin(caller.tenant_id) as work:
        replayed = await work.replayed_vendor(key, command.vendor_id)
        if replayed is not None:
            return replayed
        vendor = await work.vendor(command.vendor_id)
        if vendor is None or not is_theirs(caller, vendor):
            raise NotFound(resource="vendor")
        if command.etag and command.etag != etag_of(vendor.version):
            raise EtagMismatch
        name = vendor.display_name if command.display_name is None else command.display_name
        changed = replace(vendor, display_name=name, version=vendor.version + 1, update_time=ports.clock.now())
        await work.save_vendor(changed)
    return changed


async def submit_vendor(ports: Ports, caller: Principal, vendor_id: str, key: IdempotencyKey | None) -> Vendor:
    """DRAFT or REJECTED → SUBMITTED, by its owner."""
    return await _move(ports, caller, vendor_id, VendorStatus.SUBMITTED, key)


async def approve_vendor(ports: Ports, caller: Principal, vendor_id: str, key: IdempotencyKey | None) -> Vendor:
    """SUBMITTED → APPROVED, by a reviewer."""
    return await _move(ports, caller, vendor_id, VendorStatus.APPROVED, key)


async def reject_vendor(
    ports: Ports, caller: Principal, vendor_id: str, note: str, key: IdempotencyKey | None
) -> Vendor:
    """SUBMITTED → REJECTED, by a reviewer, who says what to change."""
    return await _move(ports, caller, vendor_id, VendorStatus.REJECTED, key, note)


def is_theirs(caller: Principal, vendor: Vendor) -> bool:
    """Whether the caller is one of the vendor's people; its owner is, even before a token says so."""
    return caller.works_for(vendor.vendor_id) or caller.is_user(vendor.owner_user_id)


async def _move(
    ports: Ports, caller: Principal, vendor_id: str, to: VendorStatus, key: IdempotencyKey | None, note: str = ""
) -> Vendor:
    async with ports.catalog.begin(caller.tenant_id) as work:
        replayed = await work.replayed_vendor(key, vendor_id)
        if replayed is not None:
            return replayed
        vendor = await work.vendor(vendor_id)
        # Reviewers, whose permission was checked before, see every vendor; submitting is for the vendor's own people.
        if vendor is None or (to is VendorStatus.SUBMITTED and not is_theirs(caller, vendor)):
            raise NotFound(resource="vendor")
        vendor.check_move(to)
        moved = replace(vendor, status=to, review_note=note, version=vendor.version + 1, update_time=ports.clock.now())
        await work.save_vendor(moved)
    return moved
