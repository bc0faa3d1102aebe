"""Notification's servicer: wire in, use case, wire out."""

from __future__ import annotations

from typing import Any, Final

from berth.notification.v1 import notification_service_pb2 as api
from berth.notification.v1.notification_service_pb2_grpc import NotificationServiceServicer

from services.chassis import paging
from services.chassis.errors import PageTokenInvalid
from services.chassis.ids import is_id
from services.chassis.rpc.context import current
from services.notification import usecases, wire
from services.notification.ports import Ports

PAGE_DEFAULT: Final = 50
PAGE_MOST: Final = 200


class NotificationRpc(NotificationServiceServicer):
    """NotificationService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def ListNotifications(self, request: api.ListNotificationsRequest, _: Any) -> api.ListNotificationsResponse:
        caller = current().principal
        size = paging.page_size(request.page_size, default=PAGE_DEFAULT, maximum=PAGE_MOST)
        arguments = f"notifications {caller.tenant_id} {caller.subject} {request.unread}".encode()
        after = _after(request.page_token, "ntf", arguments)
        found, more = await usecases.list_notifications(self._ports, caller, after, size, unread=request.unread)
        return api.ListNotificationsResponse(
            notifications=[wire.notification_message(notification) for notification in found],
            next_page_token=paging.encode({"after": found[-1].notification_id}, arguments) if more else "",
        )

    async def ReadNotification(self, request: api.ReadNotificationRequest, _: Any) -> api.Notification:
        call = current()
        found = await usecases.read_notification(self._ports, call.principal, request.notification_id, call.idempotency)
        return wire.notification_message(found)

    async def ListDeliveries(self, request: api.ListDeliveriesRequest, _: Any) -> api.ListDeliveriesResponse:
        caller = current().principal
        size = paging.page_size(request.page_size, default=PAGE_DEFAULT, maximum=PAGE_MOST)
        arguments = f"deliveries {caller.tenant_id} {request.status}".encode()
        after = _after(request.page_token, "dlv", arguments)
        found, more = await usecases.list_deliveries(self._ports, caller, after, size, wire.status(request.status))
        return api.ListDeliveriesResponse(
            deliveries=[wire.delivery_message(delivery) for delivery in found],
            next_page_token=paging.encode({"after": found[-1].delivery_id}, arguments) if more else "",
        )


def _after(page_token: str, prefix: str, arguments: bytes) -> str:
    if not page_token:
        return ""
    after = paging.decode(page_token, arguments).get("after")
    if not isinstance(after, str) or not is_id(prefix, after):
        raise PageTokenInvalid
    return after
