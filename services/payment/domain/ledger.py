"""The money ledger: accounts, and entries whose lines add up to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.chassis.money import Money


class AccountKind(StrEnum):
    """What an account stands for."""

    PROVIDER_CLEARING = "PROVIDER_CLEARING"  # an asset: what lies with the provider
    PROVIDER_FEES = "PROVIDER_FEES"  # an expense: what the provider keeps
    VENDOR_PAYABLE = "VENDOR_PAYABLE"  # a liability: what is owed to one vendor


class EntryKind(StrEnum):
    """What an entry records."""

    CAPTURE = "CAPTURE"
    FEE = "FEE"
    REFUND = "REFUND"
    REFUND_FAILURE = "REFUND_FAILURE"


@dataclass(frozen=True, slots=True)
class Line:
    """One account's part of an entry; debits are positive, credits negative."""

    account: AccountKind
    amount: Money
    vendor_id: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement of money. A payment has each kind once, a refund likewise: the database keeps it so."""

    kind: EntryKind
    lines: tuple[Line, ...]
    refund_id: str | None = None

    def __post_init__(self) -> None:
        totals: dict[str, int] = {}
        for line in self.lines:
            totals[line.amount.currency] = totals.get(line.amount.currency, 0) + line.amount.minor
        if len(self.lines) < 2 or any(totals.values()):
            raise ValueError(f"The entry {self.kind} does not balance: {totals}.")


def capture_entry(vendor_id: str, amount: Money) -> Entry:
    """The payer's money has come to the provider: we hold it, and owe it to the vendor."""
    return _between(EntryKind.CAPTURE, amount, vendor_id)


def fee_entry(fee: Money) -> Entry:
    """The provider has kept its fee."""
    lines = (Line(AccountKind.PROVIDER_FEES, fee), Line(AccountKind.PROVIDER_CLEARING, -fee))
    return Entry(EntryKind.FEE, lines)


def refund_entry(vendor_id: str, amount: Money, refund_id: str) -> Entry:
    """Money has left the provider for the payer: we hold less, and owe the vendor less."""
    return _between(EntryKind.REFUND, -amount, vendor_id, refund_id)


def refund_failure_entry(vendor_id: str, amount: Money, refund_id: str) -> Entry:
    """A refund has come back."""
    return _between(EntryKind.REFUND_FAILURE, amount, vendor_id, refund_id)


def _between(kind: EntryKind, amount: Money, vendor_id: str, refund_id: str | None = None) -> Entry:
    lines = (Line(AccountKind.PROVIDER_CLEARING, amount), Line(AccountKind.VENDOR_PAYABLE, -amount, vendor_id))
    return Entry(kind, lines, refund_id)
