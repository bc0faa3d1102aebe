"""The choice of ports: own first, then the neighbours, then a draw, never one that is taken."""

from __future__ import annotations

import itertools

import pytest

from infra.local.ports import choose


def _never() -> int:
    raise AssertionError("nothing should be drawn")


def test_the_preferred_port_is_taken_when_free() -> None:
    assert choose(8080, lambda port: False, _never) == 8080


def test_a_taken_port_moves_by_ten_thousands() -> None:
    assert choose(8080, {8080}.__contains__, _never) == 18080
    assert choose(8080, {8080, 18080}.__contains__, _never) == 28080


def test_when_all_are_taken_one_is_drawn_until_free() -> None:
    drawn = iter([20001, 20002, 20003])
    assert choose(8080, {8080, 18080, 28080, 20001}.__contains__, lambda: next(drawn)) == 20002


def test_a_step_never_leads_into_the_ports_of_outgoing_connections() -> None:
    assert choose(15000, {15000, 25000}.__contains__, lambda: 20005) == 20005


def test_no_wish_means_a_draw() -> None:
    assert choose(None, lambda port: False, lambda: 20007) == 20007


def test_a_full_machine_is_said_not_waited_for() -> None:
    with pytest.raises(RuntimeError, match="no free port"):
        choose(1, lambda port: True, itertools.count(20000).__next__)
