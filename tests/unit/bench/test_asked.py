"""Owns the proof that the monolith validates as the contract does: a yardstick that checks less would be too fast."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from scripts.bench.monolith.asked import CreateBooking

GOOD: dict[str, Any] = {
    "resourceId": "res_01kdwcj2m5faaspryz8sdw8sd1",
    "startDate": "2030-01-01",
    "endDate": "2030-01-03",
    "userDetails": {"firstName": "Gwen", "lastName": "Guest", "email": "gwen@mail.example"},
}


def test_a_stay_is_asked_for() -> None:
    asked = CreateBooking.model_validate(GOOD)
    assert asked.order().items[0].start_date == "2030-01-01"
    assert asked.item().quantity == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"resourceId": "res_1"},
        {"endDate": "2030-01-01"},
        {"endDate": None},
        {"startTime": "2030-01-01T10:00:00Z"},
        {"startDate": None, "endDate": None, "startTime": "2030-01-01T10:00:00", "endTime": "2030-01-01T11:00:00"},
        {"quantity": -1},
        {"quantity": 1001},
        {"paymentMethod": "cheque"},
        {"paymentDetails": {"token": "pm card"}},
        {"userDetails": {"firstName": "", "lastName": "Guest", "email": "gwen@mail.example"}},
        {"userDetails": {"firstName": "<b>", "lastName": "Guest", "email": "gwen@mail.example"}},
        {"userDetails": {"firstName": "Gwen", "lastName": "Guest", "email": "nobody"}},
    ],
)
def test_what_the_contract_refuses_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CreateBooking.model_validate(GOOD | wrong)
