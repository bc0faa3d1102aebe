"""Payment's servicers: wire in, use case, wire out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from berth.payment.v1 import payment_pb2 as messages
from berth.payment.v1 import payment_service_pb2 as service
from berth.payment.v1.payment_service_pb2_grpc import (
    ChargeServiceServicer,
    PaymentServiceServicer,
    WebhookServiceServicer,
)
from google.api.httpbody_pb2 import HttpBody

from services.chassis.crash import crash_point
from services.chassis.rpc.context import current
from services.payment import wire
from services.payment.ports import Ports
from services.payment.usecases import charging, hearing, reading, refunding

SIGNATURE = "stripe-signature"


class PaymentRpc(PaymentServiceServicer):
    """PaymentService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def GetPayment(self, request: service.GetPaymentRequest, _: Any) -> messages.Payment:
        return wire.payment(await reading.get_payment(self._ports, current().principal, request.payment_id))

    async def ListBookingPayments(
        self, request: service.ListBookingPaymentsRequest, _: Any
    ) -> service.ListBookingPaymentsResponse:
        found = await reading.list_booking_payments(self._ports, current().principal, request.booking_id)
        return service.ListBookingPaymentsResponse(payments=[wire.payment(payment) for payment in found])

    async def CreateRefund(self, request: service.CreateRefundRequest, _: Any) -> messages.Refund:
        call = current()
        command = wire.create_refund(request)
        return wire.refund(await refunding.create_refund(self._ports, call.principal, command, call.idempotency))


class WebhookRpc(WebhookServiceServicer):
    """WebhookService."""

    def __init__(self, ports: Ports, wake: Callable[[], None]) -> None:
        """`wake` is told that an event waits to be applied."""
        self._ports = ports
        self._wake = wake

    async def HandleStripe(self, request: HttpBody, _: Any) -> service.HandleStripeResponse:
        if await hearing.keep_event(self._ports, request.data, current().metadata.get(SIGNATURE, "")):
            self._wake()
        return service.HandleStripeResponse()


class ChargeRpc(ChargeServiceServicer):
    """ChargeService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def StartPayment(self, request: service.StartPaymentRequest, _: Any) -> service.ChargeResponse:
        charge = await charging.start_payment(self._ports, current().principal, wire.start_payment(request))
        crash_point("payment.after_commit")
        return wire.charge(charge, request.booking_id)

    async def AttemptPayment(self, request: service.AttemptPaymentRequest, _: Any) -> service.ChargeResponse:
        charge = await charging.attempt_payment(
            self._ports, current().principal, request.booking_id, request.attempt, request.token
        )
        crash_point("payment.after_commit")
        return wire.charge(charge, request.booking_id)

    async def GetCharge(self, request: service.GetChargeRequest, _: Any) -> service.ChargeResponse:
        charge = await charging.get_charge(
            self._ports, current().principal, request.booking_id, refresh=request.refresh
        )
        return wire.charge(charge, request.booking_id)

    async def CancelPayment(self, request: service.CancelPaymentRequest, _: Any) -> service.ChargeResponse:
        charge = await charging.cancel_payment(self._ports, current().principal, request.booking_id)
        return wire.charge(charge, request.booking_id)

    async def RefundPayment(self, request: service.RefundPaymentRequest, _: Any) -> service.ChargeResponse:
        payment = await refunding.refund_payment(self._ports, current().principal, wire.refund_payment(request))
        return wire.charge(charging.Charge(payment), request.booking_id)
