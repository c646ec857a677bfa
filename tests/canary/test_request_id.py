"""The mark by which gateways know the canary's requests."""

from gateway.canary.request_id import CanaryMark
from gateway.settings import Live


def test_a_mark_counts_for_gateways_with_the_secret_and_for_two_minutes_and_what_users_write_is_none() -> None:
    now = 1_000_000.0
    mark, other, stranger = (CanaryMark(Live(secret), lambda: now) for secret in ("secret", "secret", "another"))
    made = mark.make()
    assert other.is_on(made)
    assert not stranger.is_on(made)
    now += 121
    assert not other.is_on(made)
    for text in ("canary-", "canary-12345678", f"canary-00000000-{'0' * 32}", f"{mark.make()}x", ""):
        assert not mark.is_on(text)
