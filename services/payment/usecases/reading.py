"""What a payer, a vendor's people and administrators may see."""

from __future__ import annotations

from services.chassis.errors import NotFound
from services.chassis.principal import Principal
from services.payment.domain.payments import Payment
from services.payment.ports import Ports

SEES_ALL = "bookings.read_all"  # of support and administrators; whoever may see every booking may see what it cost


async def get_payment(ports: Ports, caller: Principal, payment_id: str) -> Payment:
    """One payment; somebody else's answers as a missing one."""
    return await visible_payment(ports, caller, payment_id)


async def list_booking_payments(ports: Ports, caller: Principal, booking_id: str) -> list[Payment]:
    """A booking's payments, oldest first, as far as the caller may see them."""
    payments = await ports.payments.of_booking(caller.tenant_id, booking_id)
    return [payment for payment in payments if _may_see(caller, payment)]


async def visible_payment(ports: Ports, caller: Principal, payment_id: str) -> Payment:
    """The payment, if it is there and the caller's to see."""
    payment = await ports.payments.get(caller.tenant_id, payment_id)
    if payment is None or not _may_see(caller, payment):
        raise NotFound(resource="payment")
    return payment


def _may_see(caller: Principal, payment: Payment) -> bool:
    return caller.is_user(payment.user_id) or caller.works_for(payment.vendor_id) or caller.may(SEES_ALL)
