"""Renders Envoy's whole configuration: what the gateway is made of, as one JSON document."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from envoy_data_plane.envoy.config.bootstrap.v3 import Admin, Bootstrap, BootstrapStaticResources
from envoy_data_plane.envoy.config.core.v3 import Node
from envoy_data_plane.envoy.config.overload.v3 import OverloadManager, ResourceMonitor
from envoy_data_plane.envoy.extensions.resource_monitors.downstream_connections.v3 import DownstreamConnectionsConfig
from envoy_data_plane.google.protobuf import Any

from gateway.clusters import address, own_cluster, service_clusters
from gateway.contract import DESCRIPTOR_SET, Contract, ContractError
from gateway.limits import DOWNSTREAM_CONNECTIONS
from gateway.listener import listener
from infra.local.topology import Topology


def render(
    topology: Topology,
    endpoints: Mapping[str, Sequence[str]],
    *,
    tls_dir: Path,
    port: int,
    admin_port: int,
    jwks: str | None = None,
    default_tenant: str = "demo",
    host: str = "127.0.0.1",
    descriptor_set: Path = DESCRIPTOR_SET,
) -> str:
    """The configuration as JSON.

    `endpoints` gives each service's `host:port` pairs; `tls_dir` holds ca.crt, gateway.crt and gateway.key; `jwks` is
    the last key set that was known, for a start while auth is out. The admin port listens on the loopback alone.
    """
    contract = Contract.read(descriptor_set)
    served = {method.owner for method in contract.external_methods}
    for missing in sorted(served - set(topology.gateway.calls)):
        raise ContractError(f"{missing} has public methods, but topology.toml does not let the gateway call it")
    for missing in sorted(name for name in served if not endpoints.get(name)):
        raise ContractError(f"{missing} has public methods, but no endpoint was given for it")
    front = listener(
        contract,
        host=host,
        port=port,
        descriptor_set=descriptor_set,
        jwks=jwks if jwks and _has_keys(jwks) else None,
        default_tenant=default_tenant,
    )
    clusters = service_clusters({name: endpoints[name] for name in served}, tls_dir)
    bootstrap = Bootstrap(
        node=Node(id="gateway", cluster="berth"),
        static_resources=BootstrapStaticResources(listeners=[front], clusters=[*clusters, own_cluster(port)]),
        admin=Admin(address=address(f"127.0.0.1:{admin_port}")),
        overload_manager=_overload_manager(),
    )
    return bootstrap.to_json(indent=2) + "\n"


def _has_keys(jwks: str) -> bool:
    # A set that was half written must not keep the gateway from starting: it then waits for auth.
    try:
        read = json.loads(jwks)
    except json.JSONDecodeError:
        return False
    return isinstance(read, dict) and bool(read.get("keys"))


def _overload_manager() -> OverloadManager:
    connections = DownstreamConnectionsConfig(max_active_downstream_connections=DOWNSTREAM_CONNECTIONS)
    name = "envoy.resource_monitors.global_downstream_max_connections"
    return OverloadManager(resource_monitors=[ResourceMonitor(name=name, typed_config=Any.pack(connections))])
