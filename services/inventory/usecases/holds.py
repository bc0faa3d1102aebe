"""Verbs of quotes and holds: prices that stay, and units kept before they are sold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from services.chassis.errors import DependencyUnavailable, NotFound
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id, shard_of
from services.chassis.principal import Principal
from services.inventory.domain.catalog import Resource
from services.inventory.domain.errors import NotBookable, QuoteInvalid, ResourceStale
from services.inventory.domain.holds import (
    CLOCK_SLACK,
    DEFAULT_TTL,
    QUOTE_LIFE,
    Hold,
    Order,
    Quote,
    check_items,
    claims_of,
    price_items,
)
from services.inventory.domain.items import Item
from services.inventory.ports import HoldChange, Ports

MAX_ATTEMPTS = 4  # at an order whose resources change under it
RETRY_AFTER = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """What a person wants kept: items, or a quote."""

    items: Sequence[Item] = ()
    quote_id: str = ""
    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True)
class PlaceBookingHold:
    """What a booking wants kept: items, a quote, or a hold of the same person."""

    booking_id: str
    step: str
    user_id: str
    ttl: timedelta
    items: Sequence[Item] = ()
    quote_id: str = ""
    hold_id: str = ""


async def create_quote(ports: Ports, caller: Principal, items: Sequence[Item], key: IdempotencyKey | None) -> Quote:
    """Lock the prices of items that could be booked, for half an hour."""
    resources = await _resources(ports, caller.tenant_id, items, frozenset())
    now = ports.clock.now()
    async with ports.catalog.begin(caller.tenant_id) as work:
        quote_id = new_id("quo", at=now, shard=shard_of(items[0].resource_id))
        replayed = await work.replayed_quote(key, quote_id)
        if replayed is not None:
            return replayed
        at = await work.now()
        check_items(resources, items, at)
        priced = price_items(resources, items)
        quote = Quote(quote_id, caller.subject, priced, create_time=at, expire_time=at + QUOTE_LIFE)
        await work.add_quote(quote)
    return quote


async def place_hold(ports: Ports, caller: Principal, command: PlaceHold, key: IdempotencyKey | None) -> Hold:
    """Keep items for a person, all or none."""
    order = Order("", caller.subject, (), (), command.ttl or DEFAULT_TTL, key=key)
    return await _place(ports, caller.tenant_id, order, command.items, command.quote_id)


async def place_booking_hold(ports: Ports, caller: Principal, command: PlaceBookingHold) -> Hold:
    """Keep a booking's items, all or none; the same booking and step again answers the same hold."""
    order = Order(
        hold_id=command.hold_id,
        user_id=command.user_id,
        items=(),
        claims=(),
        ttl=command.ttl,
        booking_id=command.booking_id,
        step=command.step,
    )
    if command.hold_id:
        return await ports.holds.take_over(caller.tenant_id, order)
    return await _place(ports, caller.tenant_id, order, command.items, command.quote_id)


async def get_hold(ports: Ports, caller: Principal, hold_id: str) -> Hold:
    """Read one of the caller's holds."""
    hold = await ports.holds.get(caller.tenant_id, hold_id)
    if hold is None or not caller.is_user(hold.user_id):
        raise NotFound(resource="hold")
    return hold


async def extend_hold(
    ports: Ports, caller: Principal, hold_id: str, ttl: timedelta, key: IdempotencyKey | None
) -> Hold:
    """Keep a hold of the caller's longer."""
    return await ports.holds.extend(caller.tenant_id, HoldChange(hold_id, caller.subject, key), ttl)


async def release_hold(ports: Ports, caller: Principal, hold_id: str, key: IdempotencyKey | None) -> Hold:
    """Give a hold of the caller's back."""
    return await ports.holds.release(caller.tenant_id, HoldChange(hold_id, caller.subject, key))


async def post_hold(ports: Ports, caller: Principal, booking_id: str, step: str) -> Hold:
    """HELD → POSTED: the units are sold."""
    return await ports.holds.post(caller.tenant_id, booking_id, step)


async def void_hold(ports: Ports, caller: Principal, booking_id: str, step: str) -> None:
    """HELD → VOIDED; a step that never had a hold is remembered, so that it never gets one."""
    tombstone = new_id("hld", at=ports.clock.now(), shard=shard_of(booking_id))
    await ports.holds.void(caller.tenant_id, tombstone, booking_id, step)


async def cancel_posted_hold(ports: Ports, caller: Principal, booking_id: str, step: str) -> Hold:
    """POSTED → CANCELLED: the units are free again."""
    return await ports.holds.cancel(caller.tenant_id, booking_id, step)


async def _place(ports: Ports, tenant_id: str, order: Order, items: Sequence[Item], quote_id: str) -> Hold:
    quote = await _quote(ports, tenant_id, quote_id, order.user_id) if quote_id else None
    if quote is not None:
        items = [priced.item for priced in quote.items]
    stale: frozenset[str] = frozenset()
    for _ in range(MAX_ATTEMPTS):
        resources = await _resources(ports, tenant_id, items, stale)
        try:
            return await ports.holds.place(tenant_id, _complete(ports, order, resources, items, quote))
        except ResourceStale as news:
            stale = news.resource_ids
        except NotBookable:
            # What could be booked when it was first asked for may be over by now: its answer stays the same.
            before = await ports.holds.placed_before(tenant_id, order)
            if before is None:
                raise
            return before
    raise DependencyUnavailable("The resource changes too often.", retry_after=RETRY_AFTER)


def _complete(
    ports: Ports, order: Order, resources: dict[str, Resource], items: Sequence[Item], quote: Quote | None
) -> Order:
    now = ports.clock.now()
    # What lies close to now is left to the database, whose time decides.
    check_items(resources, items, now - CLOCK_SLACK)
    return replace(
        order,
        hold_id=new_id("hld", at=now, shard=shard_of(items[0].resource_id)),
        items=price_items(resources, items) if quote is None else quote.items,
        claims=claims_of(resources, items),
        quote_until=quote.expire_time if quote is not None else None,
    )


async def _quote(ports: Ports, tenant_id: str, quote_id: str, user_id: str) -> Quote:
    quote = await ports.catalog.quote(tenant_id, quote_id)
    if quote is None or quote.user_id != user_id:
        raise QuoteInvalid
    return quote


async def _resources(ports: Ports, tenant_id: str, items: Sequence[Item], stale: frozenset[str]) -> dict[str, Resource]:
    wanted = list(dict.fromkeys(item.resource_id for item in items))
    found = await ports.catalog.remembered(tenant_id, wanted, not_these=stale)
    for resource_id in wanted:
        if resource_id not in found:
            raise NotFound(resource="resource")
    return found
