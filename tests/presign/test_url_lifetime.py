"""The budget of a URL's life."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signer import PresignedUrl, Signer
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings, Live
from tests.tier import NOW, Clock, record
from tests.url_settings import lifetime_of, url_cache

signed_at = st.integers(10**9, 2 * 10**9)
ttls = st.integers(1, 604_800)


@given(signed_at, ttls, st.floats(0, 0.9), st.floats(0, 1.5))
def test_no_url_is_returned_with_less_than_the_margin(
    signed: int, ttl: int, margin_share: float, moment: float
) -> None:
    margin = int(ttl * margin_share)
    lifetime = lifetime_of(ttl, margin, max(1, ttl // 4))
    presigned = PresignedUrl("https://host/a", signed, signed + ttl)
    now = signed + ttl * moment
    assert lifetime.is_usable(presigned, now) == (presigned.expires_at - now >= margin)
    left = lifetime.usable_for(presigned, now)
    if lifetime.is_usable(presigned, now):
        assert now + int(left) + margin <= presigned.expires_at
    else:
        assert left < 0, "a redirect to it may not be cached"


@given(signed_at, ttls, st.floats(0.01, 1), st.floats(0, 1, exclude_max=True))
def test_a_renewal_is_due_within_the_life_and_never_later_than_the_threshold(
    signed: int, ttl: int, share: float, luck: float
) -> None:
    threshold = max(1, int(ttl * share))
    lifetime = lifetime_of(ttl, 0, threshold, random=lambda: luck)
    due = lifetime.due_at(PresignedUrl("https://host/a", signed, signed + ttl))
    assert signed <= due <= signed + ttl - min(threshold, ttl)


def test_a_url_whose_signature_is_not_valid_yet_is_not_returned() -> None:
    presigned = PresignedUrl("https://host/a", 1060, 4660)
    assert lifetime_of(3600, 60, 900).is_usable(presigned, 1000)
    assert not lifetime_of(3600, 60, 900).is_usable(presigned, 999)


class TestTokens:
    """A token may end a URL sooner than ``ttl``: every duration shrinks with it."""

    @given(signed_at, st.integers(1, 3599))
    def test_the_margin_shrinks_with_the_life_and_stays_above_the_difference_of_clocks(
        self, signed: int, life: int
    ) -> None:
        lifetime = lifetime_of(3600, 60, 900)
        presigned = PresignedUrl("https://host/a", signed, signed + life)
        margin = lifetime.margin(presigned)
        assert margin == max(5, 60 * life // 3600)
        assert lifetime.is_usable(presigned, max(signed - 60, signed + life - margin))
        assert not lifetime.is_usable(presigned, signed + life - margin + 1)

    @given(signed_at, st.integers(1, 3600), st.integers(1, 3599), st.floats(0, 1), st.floats(0, 1e6))
    def test_a_renewal_is_due_while_the_url_lives_and_not_as_soon_as_it_is_signed(
        self, signed: int, life: int, threshold: int, luck: float, hits: float
    ) -> None:
        lifetime = lifetime_of(3600, 60, threshold, random=lambda: luck)
        due = lifetime.due_at(PresignedUrl("https://host/a", signed, signed + life), hits)
        assert due <= signed + life - min(threshold * life / 3600, life * 0.99)
        if threshold <= 2700:
            assert due >= signed + life * 0.04

    @pytest.mark.parametrize(
        ("token_life", "lease"), [(None, 60), (7200, 60), (3600, 60), (1800, 60), (600, 50), (60, 5), (1, 1)]
    )
    def test_a_lease_is_at_most_a_third_of_the_time_for_renewal(self, token_life: float | None, lease: float) -> None:
        assert lifetime_of(3600, 60, 900).lease(60, token_life) == lease

    def test_a_million_urls_of_one_token_neither_end_nor_are_due_at_once(self) -> None:
        """Signed as requests come, until the next token signs; a sample of one in sixty."""
        clock, number_of_urls = Clock(NOW), 16_000
        credentials = Credentials("AKID", "key", "token", NOW + 7200)
        cos = CosSettings.model_validate({"secret_id": "x", "secret_key": "y", "bucket": "b-1250000000"})
        signer = Signer(lambda _: credentials, Hosts(cos), Live(url_cache()), metrics=Metrics().presign, now=clock)
        lifetime, due, ends = lifetime_of(3600, 60, 900), Counter[int](), Counter[int]()
        for number in range(number_of_urls):
            clock.now = NOW + number * 5760 / number_of_urls
            presigned = signer.sign(record(key=f"{number}.png"))
            due[int(lifetime.due_at(presigned)) // 10] += 1
            ends[presigned.expires_at // 10] += 1
        signed_in_ten_seconds = number_of_urls / 576
        assert max(due.values()) < 5 * signed_in_ten_seconds
        assert max(ends.values()) < 10 * signed_in_ten_seconds
