"""Single values on the wire: money, dates, instants, durations, times of a day, and masks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from berth.type.v1 import money_pb2
from google.protobuf import duration_pb2, timestamp_pb2

from services.chassis.errors import InvalidField, UpdateMaskInvalid, Violation
from services.chassis.instants import EPOCH
from services.chassis.money import AmountInexact, CurrencyUnknown, Money

MINUTES_AN_HOUR = 60


def money_from(sent: money_pb2.Money, field: str) -> Money:
    """Read an amount."""
    try:
        return Money.parse(sent.currency_code, sent.amount)
    except CurrencyUnknown as error:
        raise invalid(f"{field}.currency_code", str(error)) from error
    except AmountInexact as error:
        raise invalid(f"{field}.amount", str(error)) from error


def money_to(amount: Money) -> money_pb2.Money:
    """Write an amount."""
    return money_pb2.Money(currency_code=amount.currency, amount=amount.amount)


def date_from(text: str, field: str) -> date:
    """Read a civil date, which the calendar must have."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise invalid(field, "must be a date that exists, such as 2028-02-29") from error


def instant_from(sent: timestamp_pb2.Timestamp, field: str) -> datetime:
    """Read an instant; no calendar here counts less than microseconds."""
    try:
        return EPOCH + timedelta(seconds=sent.seconds, microseconds=sent.nanos // 1000)
    except OverflowError as error:
        raise invalid(field, "must lie in the years 1 to 9999") from error


def duration_from(sent: duration_pb2.Duration) -> timedelta:
    """Read a duration whose limits were checked."""
    return timedelta(seconds=sent.seconds, microseconds=sent.nanos // 1000)


def minutes_from(text: str) -> int:
    """Read a time of a day, `09:30`, as minutes after midnight."""
    hours, _, minutes = text.partition(":")
    return int(hours) * MINUTES_AN_HOUR + int(minutes)


def minutes_to(minutes: int) -> str:
    """Write minutes after midnight as a time of a day."""
    hours, rest = divmod(minutes, MINUTES_AN_HOUR)
    return f"{hours:02}:{rest:02}"


def masked(paths: Iterable[str], changeable: frozenset[str], present: Iterable[str]) -> frozenset[str]:
    """The fields to change: those of the mask, or without one those that are present."""
    wanted = frozenset(paths)
    for path in sorted(wanted):
        if path not in changeable:
            raise UpdateMaskInvalid(path=_json_name(path))
    return wanted or frozenset(present) & changeable


def name_from(text: str, field: str) -> str:
    """Read a name for people, without space around it; one that is nothing else is none."""
    name = text.strip()
    if not name:
        raise invalid(field, "must not be blank")
    return name


def invalid(field: str, description: str) -> InvalidField:
    """The refusal of one field."""
    return InvalidField(violations=[Violation(field, description)])


def _json_name(path: str) -> str:
    first, *rest = path.split("_")
    return first + "".join(word.capitalize() for word in rest)
