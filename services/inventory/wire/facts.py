"""What is stored as messages: the events that are published, and the answers that a key is given again."""

from __future__ import annotations

from dataclasses import dataclass

from berth.inventory.events.v1 import events_pb2
from berth.inventory.v1 import resource_pb2
from google.protobuf.message import Message

from services.inventory.domain.catalog import Resource, Vendor
from services.inventory.wire.catalog import resource_from, resource_to, vendor_from, vendor_to


@dataclass(frozen=True, slots=True)
class Fact:
    """An event's message, by its name and its bytes."""

    type: str
    payload: bytes


def vendor_changed(vendor: Vendor) -> Fact:
    """The fact that a vendor is now so."""
    return _fact(events_pb2.VendorChanged(vendor=vendor_to(vendor)))


def resource_changed(resource: Resource) -> Fact:
    """The fact that a resource is now so."""
    return _fact(events_pb2.ResourceChanged(resource=resource_to(resource)))


def vendor_answer(vendor: Vendor) -> bytes:
    """A vendor as it was answered."""
    return vendor_to(vendor).SerializeToString()


def vendor_answered(answer: bytes) -> Vendor:
    """The vendor that was answered."""
    return vendor_from(resource_pb2.Vendor.FromString(answer))


def resource_answer(resource: Resource) -> bytes:
    """A resource as it was answered."""
    return resource_to(resource).SerializeToString()


def resource_answered(answer: bytes) -> Resource:
    """The resource that was answered."""
    return resource_from(resource_pb2.Resource.FromString(answer))


def _fact(message: Message) -> Fact:
    return Fact(message.DESCRIPTOR.full_name, message.SerializeToString(deterministic=True))
