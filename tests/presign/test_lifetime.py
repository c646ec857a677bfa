"""The budget of a URL's life."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.presign.lifetime import Lifetime
from gateway.presign.signed_image import PresignedUrl

signed_at = st.integers(10**9, 2 * 10**9)
ttls = st.integers(1, 604_800)


@given(signed_at, ttls, st.floats(0, 0.9), st.floats(0, 1.5))
def test_no_url_is_returned_with_less_than_the_margin(
    signed: int, ttl: int, margin_share: float, moment: float
) -> None:
    margin = int(ttl * margin_share)
    lifetime = Lifetime(ttl, margin, max(1, ttl // 4))
    presigned = PresignedUrl("https://host/a", signed, signed + ttl)
    now = signed + ttl * moment
    assert lifetime.is_usable(presigned, now) == (presigned.expires_at - now >= margin)
    if lifetime.is_usable(presigned, now):
        max_age = lifetime.redirect_max_age(presigned, 10**9, now)
        assert now + max_age + margin <= presigned.expires_at
    else:
        assert lifetime.redirect_max_age(presigned, 10**9, now) == 0


@given(signed_at, ttls, st.floats(0.01, 1), st.floats(0, 1, exclude_max=True))
def test_a_renewal_is_due_within_the_life_and_never_later_than_the_threshold(
    signed: int, ttl: int, share: float, luck: float
) -> None:
    threshold = max(1, int(ttl * share))
    lifetime = Lifetime(ttl, 0, threshold, random=lambda: luck)
    due = lifetime.due_at(PresignedUrl("https://host/a", signed, signed + ttl))
    assert signed <= due <= signed + ttl - min(threshold, ttl)


def test_a_url_whose_signature_is_not_valid_yet_is_not_returned() -> None:
    presigned = PresignedUrl("https://host/a", 1060, 4660)
    assert Lifetime(3600, 60, 900).is_usable(presigned, 1000)
    assert not Lifetime(3600, 60, 900).is_usable(presigned, 999)


def test_a_redirect_is_cached_no_longer_than_configured() -> None:
    presigned = PresignedUrl("https://host/a", 1000, 4600)
    assert Lifetime(3600, 60, 900).redirect_max_age(presigned, 300, 1000) == 300
