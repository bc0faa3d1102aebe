"""Envoy's clusters: the services behind the gateway, over mutual TLS, with health checks and circuit breakers."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    Cluster,
    ClusterCommonLbConfig,
    ClusterDiscoveryType,
    ClusterLbPolicy,
    OutlierDetection,
)
from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    DataSource,
    HealthCheck,
    HealthCheckGrpcHealthCheck,
    Http2ProtocolOptions,
    KeepaliveSettings,
    SocketAddress,
    TransportSocket,
)
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    CommonTlsContext,
    SubjectAltNameMatcher,
    SubjectAltNameMatcherSanType,
    TlsCertificate,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsExplicitHttpConfig,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.envoy.type.v3 import Percent
from envoy_data_plane.google.protobuf import Any

from gateway.limits import (
    CONNECTION_BUFFER_BYTES,
    UPSTREAM_CONNECT,
    UPSTREAM_CONNECTIONS,
    UPSTREAM_PENDING_REQUESTS,
    UPSTREAM_REQUESTS,
)

# The gateway's own listener as a cluster: the way by which it fetches auth's keys.
ITSELF = "gateway"
# A service that is busy answers late and is not sick.
HEALTH_TIMEOUT = timedelta(seconds=3)
PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def service_clusters(endpoints: Mapping[str, Sequence[str]], tls_dir: Path) -> list[Cluster]:
    """A cluster for each service, named after it."""
    return [_service_cluster(name, addresses, tls_dir) for name, addresses in sorted(endpoints.items())]


def own_cluster(port: int) -> Cluster:
    """The gateway's own listener."""
    return Cluster(
        name=ITSELF,
        type=ClusterDiscoveryType.STATIC,
        connect_timeout=UPSTREAM_CONNECT,
        load_assignment=_assignment(ITSELF, [f"127.0.0.1:{port}"]),
    )


def address(text: str) -> Address:
    """`host:port` as an address."""
    host, _, port = text.rpartition(":")
    return Address(socket_address=SocketAddress(address=host, port_value=int(port)))


def _service_cluster(name: str, addresses: Sequence[str], tls_dir: Path) -> Cluster:
    http2 = Http2ProtocolOptions(
        connection_keepalive=KeepaliveSettings(interval=timedelta(seconds=30), timeout=timedelta(seconds=5))
    )
    protocol = HttpProtocolOptions(
        explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=http2)
    )
    return Cluster(
        name=name,
        type=ClusterDiscoveryType.STATIC,
        lb_policy=ClusterLbPolicy.ROUND_ROBIN,
        connect_timeout=UPSTREAM_CONNECT,
        per_connection_buffer_limit_bytes=CONNECTION_BUFFER_BYTES,
        load_assignment=_assignment(name, addresses),
        typed_extension_protocol_options={PROTOCOL_OPTIONS: Any.pack(protocol)},
        transport_socket=_mutual_tls(name, tls_dir),
        health_checks=[_health_check(name)],
        # Where none says in time that it is well, all are tried: in an overload they are late, and without them
        # everybody would be refused. Where nothing listens any more, a call is refused at once by itself.
        common_lb_config=ClusterCommonLbConfig(healthy_panic_threshold=Percent(value=1)),
        # Five failures (UNAVAILABLE, INTERNAL, DEADLINE_EXCEEDED) in a row take an endpoint out for a while.
        outlier_detection=OutlierDetection(
            interval=timedelta(seconds=2),
            base_ejection_time=timedelta(seconds=3),
            max_ejection_time=timedelta(seconds=30),
            # The last endpoints stay: a service that answers UNAVAILABLE everywhere is sick, not an outlier.
            max_ejection_percent=50,
            always_eject_one_host=False,
            enforcing_success_rate=0,
        ),
        circuit_breakers=CircuitBreakers(
            thresholds=[
                CircuitBreakersThresholds(
                    max_connections=UPSTREAM_CONNECTIONS,
                    max_pending_requests=UPSTREAM_PENDING_REQUESTS,
                    max_requests=UPSTREAM_REQUESTS,
                    # The gateway never retries: one layer does, and that is the client.
                    max_retries=0,
                )
            ]
        ),
    )


def _assignment(name: str, addresses: Sequence[str]) -> ClusterLoadAssignment:
    endpoints = [LbEndpoint(endpoint=Endpoint(address=address(text))) for text in addresses]
    return ClusterLoadAssignment(cluster_name=name, endpoints=[LocalityLbEndpoints(lb_endpoints=endpoints)])


def _mutual_tls(service: str, tls_dir: Path) -> TransportSocket:
    certificate = TlsCertificate(
        certificate_chain=DataSource(filename=str(tls_dir / "gateway.crt")),
        private_key=DataSource(filename=str(tls_dir / "gateway.key")),
    )
    only_this_service = SubjectAltNameMatcher(
        san_type=SubjectAltNameMatcherSanType.DNS, matcher=StringMatcher(exact=service)
    )
    context = UpstreamTlsContext(
        sni=service,
        common_tls_context=CommonTlsContext(
            alpn_protocols=["h2"],
            tls_certificates=[certificate],
            validation_context=CertificateValidationContext(
                trusted_ca=DataSource(filename=str(tls_dir / "ca.crt")),
                match_typed_subject_alt_names=[only_this_service],
            ),
        ),
    )
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=Any.pack(context))


def _health_check(service: str) -> HealthCheck:
    return HealthCheck(
        timeout=HEALTH_TIMEOUT,
        interval=timedelta(seconds=1),
        no_traffic_interval=timedelta(seconds=1),
        no_traffic_healthy_interval=timedelta(seconds=2),
        interval_jitter_percent=10,
        unhealthy_threshold=2,
        healthy_threshold=1,
        grpc_health_check=HealthCheckGrpcHealthCheck(authority=service),
    )
