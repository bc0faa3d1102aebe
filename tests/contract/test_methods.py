"""Every method says who may call it, how, and what a retry does."""

from google.protobuf.descriptor_pb2 import MethodOptions

from gateway.contract import Contract, Method
from infra.local.topology import read

OWN_CLIENTS = {"gateway", "operator"}


def named(methods: list[Method]) -> list[str]:
    """Their paths, for a message that names them."""
    return [method.path for method in methods]


def idempotency_level(method: Method) -> str:
    """What the method says of retries."""
    options = MethodOptions.FromString(method.descriptor.GetOptions().SerializeToString())
    return MethodOptions.IdempotencyLevel.Name(options.idempotency_level)


def test_every_method_has_a_policy(contract: Contract) -> None:
    # Reading them refuses a method without one; the number tells that something was read.
    assert len(contract.methods) > 30


def test_external_methods_have_a_rest_path_and_internal_ones_none(contract: Contract) -> None:
    assert named([method for method in contract.methods if bool(method.bindings) != method.external]) == []


def test_internal_methods_name_their_callers(contract: Contract) -> None:
    assert named([m for m in contract.methods if not m.external and not m.policy.callers]) == []


def test_callers_and_topology_agree(contract: Contract) -> None:
    topology = read()
    wrong = [
        f"{caller} calls {method.path}, but not {method.owner} by topology.toml"
        for method in contract.methods
        for caller in method.policy.callers
        if caller not in OWN_CLIENTS
        and (caller not in topology.services or method.owner not in topology.services[caller].calls)
    ]
    assert wrong == []


def test_what_the_gateway_calls_and_what_is_external_agree(contract: Contract) -> None:
    assert {method.owner for method in contract.external_methods} == set(read().gateway.calls)


def test_reads_say_that_they_change_nothing(contract: Contract) -> None:
    reads = [
        method
        for method in contract.methods
        if method.policy.rate_class == "READ" or any(binding.verb == "GET" for binding in method.bindings)
    ]
    assert reads
    assert named([method for method in reads if idempotency_level(method) != "NO_SIDE_EFFECTS"]) == []


def test_internal_writes_are_idempotent(contract: Contract) -> None:
    # Sagas send them again; each is keyed by the booking and its step.
    unsafe = [m for m in contract.methods if not m.external and idempotency_level(m) == "IDEMPOTENCY_UNKNOWN"]
    assert named(unsafe) == []


def test_a_write_that_is_not_safe_takes_a_key(contract: Contract) -> None:
    without = [
        method
        for method in contract.external_methods
        if method.policy.rate_class == "WRITE"
        and idempotency_level(method) == "IDEMPOTENCY_UNKNOWN"
        and method.policy.key_use == "KEY_USE_UNSPECIFIED"
    ]
    assert named(without) == []


def test_only_posts_create(contract: Contract) -> None:
    odd = [
        method
        for method in contract.external_methods
        if method.policy.http_success != 200
        and (method.policy.http_success != 201 or {binding.verb for binding in method.bindings} != {"POST"})
    ]
    assert named(odd) == []


def test_no_two_methods_share_a_path(contract: Contract) -> None:
    taken = [(b.verb, b.template) for method in contract.methods for b in method.bindings]
    assert len(taken) == len(set(taken))
