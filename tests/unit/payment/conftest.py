"""Owns a world of fakes for each test."""

import pytest

from tests.ports.payment.fakes import World, new_world


@pytest.fixture
def world() -> World:
    return new_world()
