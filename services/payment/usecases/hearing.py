"""What comes by itself: the provider's webhooks, and payments that have stood still."""

from __future__ import annotations

from services.chassis.errors import DependencyUnavailable
from services.payment.domain.payments import FINAL, Payment, Status
from services.payment.ports import DuePayment, OutcomeUnknown, Ports, WaitingEvent
from services.payment.usecases.settling import cancel_open, recover_start, sync

# What may change a payment or a refund; everything else is kept and left alone.
RELEVANT = ("payment_intent.", "refund.", "charge.refund", "charge.updated", "charge.captured")


async def keep_event(ports: Ports, payload: bytes, signature: str) -> bool:
    """Stores a webhook's event before anything else happens; returns whether it is to be applied at once."""
    event = ports.provider.read_event(payload, signature)
    relevant = event.type.startswith(RELEVANT) and bool(event.intent_id or event.payment_id)
    due_time = await ports.events.keep(event, ports.clock.now(), relevant=relevant)
    # Asked again: what was kept together with later ones is due when they are.
    return due_time is not None and due_time <= ports.clock.now()


async def apply_event(ports: Ports, event: WaitingEvent) -> bool:
    """Brings the event's payment up to the provider's object; False when it has to wait."""
    payment = await ports.payments.get(event.tenant_id, event.payment_id) if event.payment_id else None
    if payment is None:
        return False
    try:
        await check(ports, payment)
    except (DependencyUnavailable, OutcomeUnknown):
        return False
    await ports.events.settle([event.event_id], ports.clock.now())
    return True


async def reconcile(ports: Ports, due: DuePayment) -> None:
    """Asks the provider about a payment that nobody has told us about; what fails comes again."""
    payment = await ports.payments.get(due.tenant_id, due.payment_id)
    if payment is None:
        return
    try:
        await check(ports, payment)
    except (DependencyUnavailable, OutcomeUnknown):
        return


async def check(ports: Ports, payment: Payment) -> Payment:
    """Brings a payment up to the provider, whatever was lost on the way."""
    if payment.status is Status.PROCESSING and payment.provider_intent_id is None:
        payment = await recover_start(ports, payment, token="")
    else:
        payment = await sync(ports, payment)
    if payment.cancel_wanted and payment.status not in FINAL:
        payment = await cancel_open(ports, payment)
    return payment
