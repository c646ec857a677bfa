"""The mark by which gateways know the canary's requests."""

from gateway.access.canary_mark import CanaryMark
from gateway.settings import Live


def test_a_mark_counts_for_gateways_with_the_secret_and_for_two_minutes_and_what_users_write_is_none() -> None:
    now = 1_000_000.0
    mark, other, stranger = (CanaryMark(Live(secret), lambda: now) for secret in ("secret", "secret", "another"))
    made = mark.make()
    assert other.shown(made) is not None
    assert stranger.shown(made) is None
    now += 121
    assert other.shown(made) is None
    for text in ("canary-", "canary-12345678", f"canary-00000000-{'0' * 32}", f"{mark.make()}x", ""):
        assert mark.shown(text) is None


def test_what_answers_show_of_a_mark_is_none() -> None:
    mark = CanaryMark(Live("secret"), lambda: 1_000_000.0)
    shown = mark.shown(mark.make())
    assert shown is not None
    assert shown.startswith("canary-000f4240-")
    assert mark.shown(shown) is None
