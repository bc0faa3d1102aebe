"""Owns the list of what is audited, in the product's own numbering."""

from __future__ import annotations

from scripts.audit import delivery, money, stories, tenants, units
from scripts.audit.findings import Invariant

# I9 (an acknowledged answer that is not in the database) and I13 (a secret in a log) need a client's history and the
# log files: tests count them.
INVARIANTS: tuple[Invariant, ...] = (
    Invariant("I1", "never more held and sold than there is", units.oversold),
    Invariant("I2", "captured less refunded is what is owed", money.kept_is_owed),
    Invariant("I3", "nobody pays for nothing", money.nobody_pays_for_nothing),
    Invariant("I4", "no hold outlives its time or its booking", units.outlived),
    Invariant("I5", "every event is published", delivery.published),
    Invariant("I6", "every transition has its event, and the reverse", delivery.true_to_transitions),
    Invariant("I7", "every event takes effect once", delivery.applied_once),
    Invariant("I8", "every history is legal", stories.legal),
    Invariant("I10", "our ledger is the provider's", money.ledgers_agree),
    Invariant("I11", "tenants do not touch", tenants.crossing),
    Invariant("I12", "everybody is told once, and nobody else", delivery.told_once),
)
