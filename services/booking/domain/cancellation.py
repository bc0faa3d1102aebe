"""The cancellation policies: what is given back, by how long before the start it is cancelled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.booking.domain.items import Policy, PricedItem
from services.chassis.money import Money

EVERYTHING = 10_000  # hundredths of a percent


@dataclass(frozen=True, slots=True)
class Tier:
    """What is given back until `notice` before the start."""

    notice: timedelta
    basis_points: int


# In order; after a policy's last tier nothing is given back.
TIERS: Mapping[Policy, tuple[Tier, ...]] = {
    Policy.FLEXIBLE: (Tier(timedelta(hours=24), EVERYTHING), Tier(timedelta(), 5_000)),
    Policy.MODERATE: (Tier(timedelta(days=5), EVERYTHING), Tier(timedelta(hours=24), 5_000)),
    Policy.STRICT: (Tier(timedelta(days=7), 5_000),),
}


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What a cancellation gives back."""

    refund: Money
    penalty: Money
    basis_points: int
    next_change: datetime | None  # when less is given back


def cancellation(items: Iterable[PricedItem], now: datetime, *, in_full: bool = False) -> Cancellation:
    """What cancelling these items now gives back: each by its own policy and start, or everything."""
    sold = tuple(items)
    total = sum((item.total for item in sold[1:]), start=sold[0].total)
    if in_full:
        return Cancellation(total, Money.zero(total.currency), EVERYTHING, None)
    refund = Money.zero(total.currency)
    changes: list[datetime] = []
    for item in sold:
        tier = _tier(item, now)
        if tier is not None:
            refund += _share(item.total, tier.basis_points)
            changes.append(item.begin_time - tier.notice)
    basis_points = refund.minor * EVERYTHING // total.minor if total.minor else EVERYTHING
    return Cancellation(refund, total - refund, basis_points, min(changes, default=None))


def _tier(item: PricedItem, now: datetime) -> Tier | None:
    return next((tier for tier in TIERS[item.policy] if now < item.begin_time - tier.notice), None)


def _share(amount: Money, basis_points: int) -> Money:
    # A part of the smallest unit is rounded in favour of the person who gets it.
    return Money(amount.currency, -(-amount.minor * basis_points // EVERYTHING))
