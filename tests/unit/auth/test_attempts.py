"""Limits: the attempt that is one too many hears when the window ends."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.auth.domain.attempts import Count, Limit
from services.auth.domain.errors import TooManyAttempts
from tests.ports.auth.fakes import START

LIMIT = Limit(3, timedelta(minutes=1))


def test_as_many_as_allowed_are_admitted() -> None:
    for count in (1, 2, 3):
        LIMIT.admit(Count(count, START), START)


@pytest.mark.parametrize(
    ("now", "wait"), [(0, 60), (59, 1), (59.9, 1), (61, 1), (-0.5, 60)], ids=["start", "end", "last", "past", "before"]
)
def test_one_more_waits_for_the_window_never_longer_and_never_not_at_all(now: float, wait: float) -> None:
    with pytest.raises(TooManyAttempts) as refused:
        LIMIT.admit(Count(4, START), START + timedelta(seconds=now))
    assert refused.value.retry_after == timedelta(seconds=wait)
