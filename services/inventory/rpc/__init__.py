"""Inventory's servicers: wire in, use case, wire out."""

from services.inventory.rpc.availability import AvailabilityRpc, BookingHoldRpc, HoldRpc
from services.inventory.rpc.catalog import ResourceRpc, VendorRpc

__all__ = ["AvailabilityRpc", "BookingHoldRpc", "HoldRpc", "ResourceRpc", "VendorRpc"]
