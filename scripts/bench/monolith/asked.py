"""Owns what the monolith is asked, and its validation: the contract's rules for the one-item form, in pydantic."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from services.booking import domain as booking
from services.inventory.domain import items as inventory

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f<>]*$")]


class _Message(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class UserDetails(_Message):
    """Who comes."""

    first_name: Name
    last_name: Name
    email: str = Field(max_length=254, pattern=r"^[^@\s]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$")
    phone: str = Field("", pattern=r"^(\+[1-9][0-9]{5,14})?$")


class PaymentDetails(_Message):
    """How it is paid."""

    token: str = Field("", max_length=255, pattern=r"^[A-Za-z0-9_]*$")


class CreateBooking(_Message):
    """One resource over one range, for somebody."""

    resource_id: str = Field(pattern=r"^res_[0-9a-hjkmnp-tv-z]{26}$")
    start_date: date | None = None
    end_date: date | None = None
    start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None
    quantity: int = Field(0, ge=0, le=1000)
    user_details: UserDetails
    payment_method: Literal["", "credit_card"] = ""
    payment_details: PaymentDetails = PaymentDetails(token="")

    @model_validator(mode="after")
    def _one_range(self) -> Self:
        dates = self.start_date is not None and self.end_date is not None and self.start_date < self.end_date
        times = self.start_time is not None and self.end_time is not None and self.start_time < self.end_time
        given = [self.start_date, self.end_date, self.start_time, self.end_time]
        if dates == times or sum(value is not None for value in given) != 2:
            raise ValueError("either startDate and endDate, or startTime and endTime, the start before the end")
        return self

    def order(self) -> booking.Order:
        """What is to be booked, as the booking keeps it."""
        item = booking.Item(
            resource_id=self.resource_id,
            start_date=self.start_date.isoformat() if self.start_date else "",
            end_date=self.end_date.isoformat() if self.end_date else "",
            start_time=self.start_time,
            end_time=self.end_time,
            quantity=self.quantity or 1,
        )
        return booking.Order(items=(item,))

    def item(self) -> inventory.Item:
        """The same, as it is priced and kept."""
        asked: inventory.Nights | inventory.Times
        if self.start_date is not None and self.end_date is not None:
            asked = inventory.Nights(self.start_date, self.end_date)
        elif self.start_time is not None and self.end_time is not None:
            asked = inventory.Times(self.start_time, self.end_time)
        else:
            raise ValueError("Validation lets nothing pass that has no range.")
        return inventory.Item(self.resource_id, asked, self.quantity or 1)

    def guest(self) -> booking.Guest:
        """Who comes."""
        details = self.user_details
        return booking.Guest(details.first_name, details.last_name, details.email, details.phone)
