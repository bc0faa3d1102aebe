"""Notification's composition root: configuration, adapters, use cases, server."""

from __future__ import annotations

from berth.notification.v1.notification_service_pb2_grpc import add_NotificationServiceServicer_to_server

from services.chassis.inbox.consumer import Consumer
from services.chassis.retention import Retention
from services.chassis.service import Background, Built, Foundation, ServiceSpec, run
from services.notification.clients.bookings import RemoteBookings
from services.notification.clients.people import RemotePeople
from services.notification.clients.smtp import SmtpMailer
from services.notification.clients.templates import FileTemplates
from services.notification.config import NotificationConfig
from services.notification.consumers import NAME, TOPICS, handlers
from services.notification.ports import Ports
from services.notification.rpc import NotificationRpc
from services.notification.store import METADATA, RETENTION_JOBS, DeliveryRows, InboxRows
from services.notification.workers import DeliveryWorker


async def build(config: NotificationConfig, foundation: Foundation) -> Built:
    """Notification's parts."""
    ports = Ports(
        clock=foundation.clock,
        deliveries=DeliveryRows(foundation.database, foundation.worker_database),
        inbox=InboxRows(foundation.database),
        people=RemotePeople(foundation.channels),
        bookings=RemoteBookings(foundation.channels),
        templates=FileTemplates(),
        mailer=SmtpMailer(
            config.smtp_host, config.smtp_port, config.mail_from, user=config.smtp_user, password=config.smtp_password
        ),
        mail_domain=config.mail_domain,
    )
    worker = DeliveryWorker(ports, per_second=config.mails_per_second)
    retention = Retention(foundation.worker_database, foundation.clock, METADATA, RETENTION_JOBS)
    background: list[Background] = [worker.run, retention.run]
    if config.kafka:
        background.append(Consumer(NAME, TOPICS, handlers(ports, worker.wake), bootstrap=config.kafka).run)
    return Built(servicers=[(add_NotificationServiceServicer_to_server, NotificationRpc(ports))], background=background)


SPEC = ServiceSpec(name="notification", config=NotificationConfig, build=build, metadata=METADATA)

if __name__ == "__main__":
    run(SPEC)
