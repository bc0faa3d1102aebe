"""Payment's composition root: configuration, adapters, use cases, server."""

from __future__ import annotations

from berth.payment.v1.payment_service_pb2_grpc import (
    add_ChargeServiceServicer_to_server,
    add_PaymentServiceServicer_to_server,
    add_WebhookServiceServicer_to_server,
)

from services.chassis.retention import CHASSIS_JOBS, Job, Retention
from services.chassis.rpc.context import current_or_none
from services.chassis.service import Built, Foundation, ServiceSpec, run
from services.payment import rpc
from services.payment.clients.stripe import StripeProvider
from services.payment.config import PaymentConfig
from services.payment.ports import Ports
from services.payment.store.payments import StoredPayments
from services.payment.store.standing import KEEP, StoredDuties, StoredProviderEvents, purge_events
from services.payment.store.tables import METADATA
from services.payment.workers import event_worker, reconciler


def connect(config: PaymentConfig, foundation: Foundation) -> Ports:
    """The ports over the real world."""
    wake = foundation.relay.wake if foundation.relay is not None else _nobody_waits
    provider = StripeProvider(
        config.stripe_api_key,
        config.stripe_api_base,
        tuple(secret.strip() for secret in config.stripe_webhook_secret.split(",")),
        foundation.clock,
    )
    foundation.closing.push_async_callback(provider.close)
    return Ports(
        payments=StoredPayments(foundation.database, wake=wake, traceparent=_traceparent),
        provider=provider,
        events=StoredProviderEvents(foundation.worker_database),
        clock=foundation.clock,
    )


async def build(config: PaymentConfig, foundation: Foundation) -> Built:
    """Payment's parts."""
    ports = connect(config, foundation)
    applying = event_worker(ports)
    checking = reconciler(ports, StoredDuties(foundation.worker_database))
    jobs = (*CHASSIS_JOBS, Job("provider_events", KEEP, purge_events))
    retention = Retention(foundation.worker_database, foundation.clock, METADATA, jobs)
    return Built(
        servicers=[
            (add_PaymentServiceServicer_to_server, rpc.PaymentRpc(ports)),
            (add_WebhookServiceServicer_to_server, rpc.WebhookRpc(ports, applying.wake)),
            (add_ChargeServiceServicer_to_server, rpc.ChargeRpc(ports)),
        ],
        background=[applying.run, checking.run, retention.run],
    )


def _traceparent() -> str:
    call = current_or_none()
    return call.traceparent if call is not None else ""


def _nobody_waits() -> None:
    """Without Kafka there is no relay to wake; the events stay in the outbox."""


SPEC = ServiceSpec(name="payment", config=PaymentConfig, build=build, metadata=METADATA)

if __name__ == "__main__":
    run(SPEC)
