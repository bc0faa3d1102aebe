"""What cannot be served is refused when the contract is read, with the method's name."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto, MethodOptions

from gateway.contract import DESCRIPTOR_SET, Contract, ContractError

SERVICE, METHOD = "berth.booking.v1.BookingService", "GetBooking"


@pytest.fixture
def files() -> FileDescriptorSet:
    """The descriptor set, to be spoilt."""
    return FileDescriptorSet.FromString(DESCRIPTOR_SET.read_bytes())


def method(files: FileDescriptorSet) -> MethodDescriptorProto:
    """One method in the set."""
    for file in files.file:
        for service in file.service:
            for each in service.method:
                if (f"{file.package}.{service.name}", each.name) == (SERVICE, METHOD):
                    return each
    raise LookupError(METHOD)


def policy(files: FileDescriptorSet, **changes: object) -> None:
    """Replaces the method's options by a policy with the changes, and a REST path."""
    contract = Contract(files)
    good = {"public": True, "deadline": {"seconds": 1}, "rate_class": 1}
    option = contract.message_class("berth.options.v1.MethodPolicy")(**(good | changes))
    options = contract.message_class("google.protobuf.MethodOptions")()
    options.Extensions[contract.pool.FindExtensionByName("berth.options.v1.policy")].CopyFrom(option)
    options.Extensions[contract.pool.FindExtensionByName("google.api.http")].get = "/api/v1/x"
    method(files).options.ParseFromString(options.SerializeToString())


def refused(files: FileDescriptorSet) -> str:
    """What reading the methods is refused with."""
    with pytest.raises(ContractError) as caught:
        _ = Contract(files).methods
    return str(caught.value)


def test_the_contract_as_it_is() -> None:
    contract = Contract.read()
    [found] = [each for each in contract.methods if (each.service, each.name) == (SERVICE, METHOD)]
    assert (found.owner, found.path, found.external) == ("booking", f"/{SERVICE}/{METHOD}", True)
    assert found.policy.permission == "bookings.read"
    assert [(binding.verb, binding.template) for binding in found.bindings] == [
        ("GET", "/api/v1/bookings/{booking_id}")
    ]


def test_no_policy(files: FileDescriptorSet) -> None:
    method(files).options.CopyFrom(MethodOptions())
    assert refused(files) == f"{SERVICE}.{METHOD} has no (berth.options.v1.policy)"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"public": None}, "the policy names no access"),
        ({"deadline": None}, "the policy has no deadline"),
        ({"rate_class": 0}, "the policy names no rate class"),
        ({"public": None, "internal": True}, "is internal, yet has a REST path"),
    ],
)
def test_half_a_policy(files: FileDescriptorSet, changes: dict[str, object], said: str) -> None:
    policy(files, **changes)
    assert f"{SERVICE}.{METHOD}" in refused(files)
    assert said in refused(files)
