"""Servicers of vendors and resources."""

from __future__ import annotations

from typing import Any, Final

from berth.inventory.v1 import catalog_service_pb2 as messages
from berth.inventory.v1 import resource_pb2
from berth.inventory.v1.catalog_service_pb2_grpc import ResourceServiceServicer, VendorServiceServicer

from services.chassis import paging
from services.chassis.errors import PageTokenInvalid
from services.chassis.ids import is_id
from services.chassis.rpc.context import current
from services.inventory.ports import Ports
from services.inventory.usecases import resources, vendors
from services.inventory.wire import catalog as wire
from services.inventory.wire.fields import name_from

PAGE_DEFAULT: Final = 50
PAGE_MOST: Final = 200


class VendorRpc(VendorServiceServicer):
    """VendorService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def CreateVendor(self, request: messages.CreateVendorRequest, _: Any) -> resource_pb2.Vendor:
        call = current()
        name = name_from(request.display_name, "display_name")
        vendor = await vendors.create_vendor(self._ports, call.principal, name, call.idempotency)
        call.location = f"/api/v1/vendors/{vendor.vendor_id}"
        return wire.vendor_to(vendor)

    async def GetVendor(self, request: messages.GetVendorRequest, _: Any) -> resource_pb2.Vendor:
        return wire.vendor_to(await vendors.get_vendor(self._ports, current().principal, request.vendor_id))

    async def ListVendors(self, request: messages.ListVendorsRequest, _: Any) -> messages.ListVendorsResponse:
        size = paging.page_size(request.page_size, default=PAGE_DEFAULT, maximum=PAGE_MOST)
        arguments = f"vendors {request.status}".encode()
        before = _before("vnd", request.page_token, arguments)
        status = wire.vendor_status_from(request.status)
        found = await vendors.list_vendors(self._ports, current().principal, status, before, size + 1)
        return messages.ListVendorsResponse(
            vendors=[wire.vendor_to(vendor) for vendor in found[:size]],
            next_page_token=_next(found[size - 1].vendor_id if len(found) > size else "", arguments),
        )

    async def UpdateVendor(self, request: messages.UpdateVendorRequest, _: Any) -> resource_pb2.Vendor:
        call = current()
        command = wire.vendor_update_from(request)
        return wire.vendor_to(await vendors.update_vendor(self._ports, call.principal, command, call.idempotency))

    async def SubmitVendor(self, request: messages.SubmitVendorRequest, _: Any) -> resource_pb2.Vendor:
        call = current()
        vendor = await vendors.submit_vendor(self._ports, call.principal, request.vendor_id, call.idempotency)
        return wire.vendor_to(vendor)

    async def ApproveVendor(self, request: messages.ApproveVendorRequest, _: Any) -> resource_pb2.Vendor:
        call = current()
        vendor = await vendors.approve_vendor(self._ports, call.principal, request.vendor_id, call.idempotency)
        return wire.vendor_to(vendor)

    async def RejectVendor(self, request: messages.RejectVendorRequest, _: Any) -> resource_pb2.Vendor:
        call = current()
        vendor = await vendors.reject_vendor(
            self._ports, call.principal, request.vendor_id, request.reason, call.idempotency
        )
        return wire.vendor_to(vendor)


class ResourceRpc(ResourceServiceServicer):
    """ResourceService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def CreateResource(self, request: messages.CreateResourceRequest, _: Any) -> resource_pb2.Resource:
        call = current()
        command = wire.resource_creation_from(request)
        resource = await resources.create_resource(self._ports, call.principal, command, call.idempotency)
        call.location = f"/api/v1/resources/{resource.resource_id}"
        return wire.resource_to(resource)

    async def GetResource(self, request: messages.GetResourceRequest, _: Any) -> resource_pb2.Resource:
        return wire.resource_to(await resources.get_resource(self._ports, current().principal, request.resource_id))

    async def ListResources(self, request: messages.ListResourcesRequest, _: Any) -> messages.ListResourcesResponse:
        size = paging.page_size(request.page_size, default=PAGE_DEFAULT, maximum=PAGE_MOST)
        arguments = f"resources {request.vendor_id}".encode()
        before = _before("res", request.page_token, arguments)
        found = await resources.list_resources(self._ports, current().principal, request.vendor_id, before, size + 1)
        return messages.ListResourcesResponse(
            resources=[wire.resource_to(resource) for resource in found[:size]],
            next_page_token=_next(found[size - 1].resource_id if len(found) > size else "", arguments),
        )

    async def UpdateResource(self, request: messages.UpdateResourceRequest, _: Any) -> resource_pb2.Resource:
        call = current()
        command = wire.resource_update_from(request)
        return wire.resource_to(await resources.update_resource(self._ports, call.principal, command, call.idempotency))

    async def ArchiveResource(self, request: messages.ArchiveResourceRequest, _: Any) -> resource_pb2.Resource:
        call = current()
        resource = await resources.archive_resource(
            self._ports, call.principal, request.resource_id, request.etag, call.idempotency
        )
        return wire.resource_to(resource)


def _before(prefix: str, page_token: str, arguments: bytes) -> str:
    """The id that a page comes after; empty for the first page."""
    if not page_token:
        return ""
    before = paging.decode(page_token, arguments).get("before")
    if not isinstance(before, str) or not is_id(prefix, before):
        raise PageTokenInvalid
    return before


def _next(last: str, arguments: bytes) -> str:
    return paging.encode({"before": last}, arguments) if last else ""
