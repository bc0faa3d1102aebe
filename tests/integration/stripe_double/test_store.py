"""The double's saved answers: replayed for a day, then forgotten."""

from __future__ import annotations

from infra.doubles.stripe.store import KEYS_LIVE_SECONDS, SavedResult, Store


def test_a_key_is_free_again_when_its_answer_has_outlived_its_day() -> None:
    store = Store(None)
    first = SavedResult("/v1/refunds", "{}", "req_1", 200, "first")
    store.save_result("key", first, 100)
    assert store.saved_result("key", 100 + KEYS_LIVE_SECONDS) == first
    assert store.saved_result("key", 101 + KEYS_LIVE_SECONDS) is None
    second = first._replace(body="second")
    store.save_result("key", second, 101 + KEYS_LIVE_SECONDS)
    assert store.saved_result("key", 101 + KEYS_LIVE_SECONDS) == second
    store.close()
