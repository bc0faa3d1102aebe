"""Demo data: vendors and what they sell, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence

from services.inventory.domain.catalog import Resource, Vendor, check_rules, check_zone
from services.inventory.ports import Ports


async def plant(ports: Ports, tenant_id: str, vendors: Sequence[Vendor], resources: Sequence[Resource]) -> int:
    """Store what is not there yet; returns how many objects were new."""
    planted = 0
    for vendor in vendors:
        async with ports.catalog.begin(tenant_id) as work:
            if await work.vendor(vendor.vendor_id) is None:
                await work.add_vendor(vendor)
                planted += 1
    for resource in resources:
        check_zone(resource.time_zone)
        check_rules(resource.price, resource.stay, resource.appointment)
        async with ports.catalog.begin(tenant_id) as work:
            if await work.resource(resource.resource_id) is None:
                await work.add_resource(resource)
                planted += 1
    return planted
