"""What callers may do."""

from __future__ import annotations

import pytest

from services.chassis.errors import PermissionDenied
from services.chassis.principal import Principal

OWNER = Principal("user", "ten_1", "usr_1", frozenset({"bookings.read"}), frozenset({"vnd_1"}))


def test_permissions_are_had_or_required() -> None:
    assert OWNER.may("bookings.read")
    assert not OWNER.may("bookings.manage")
    OWNER.require("bookings.read")
    with pytest.raises(PermissionDenied) as caught:
        OWNER.require("bookings.manage")
    assert caught.value.metadata == {"permission": "bookings.manage"}


def test_whose_people_and_who() -> None:
    assert OWNER.works_for("vnd_1")
    assert not OWNER.works_for("vnd_2")
    assert OWNER.is_user("usr_1")
    assert not OWNER.is_user("usr_2")


def test_a_service_is_nobody_even_with_a_persons_name() -> None:
    assert not Principal("service", "ten_1", "usr_1").is_user("usr_1")
