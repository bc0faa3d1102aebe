"""The contracts, compiled once, with their comments."""

import pytest

from gateway.contract import Contract
from scripts.gen.descriptors import descriptor_set


@pytest.fixture(scope="session")
def contract() -> Contract:
    """The contracts as the .proto files say them now."""
    return Contract(descriptor_set(with_comments=True))
