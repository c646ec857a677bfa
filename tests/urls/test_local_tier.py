"""The tier in the process."""

import pytest

from gateway.urls.local_tier import KnownUnknown, LocalTier
from gateway.urls.presigned import PresignedUrl, SignedImage
from tests.urls.conftest import NOW, Clock, record


def image(image_id: str, style: str | None = None) -> SignedImage:
    return SignedImage(record(image_id), PresignedUrl("https://host/a", NOW, NOW + 3600), style)


@pytest.fixture
def tier(clock: Clock) -> LocalTier:
    return LocalTier(3, local_ttl=30, unknown_ttl=3, monotonic=clock)


def test_an_entry_is_fresh_for_its_time_and_stale_after(tier: LocalTier, clock: Clock) -> None:
    tier.put(image("a"))
    clock.now += 29
    assert tier.get("a", None) == image("a")
    clock.now += 1
    assert tier.get("a", None) is None
    assert tier.get_stale("a", None) == image("a")


def test_reading_does_not_prolong_a_life(tier: LocalTier, clock: Clock) -> None:
    """superseriousbusiness/gotosocial#1208"""
    tier.put(image("a"))
    for _ in range(30):
        tier.get("a", None)
        clock.now += 1
    assert tier.get("a", None) is None


def test_the_least_recently_used_goes_first(tier: LocalTier) -> None:
    for image_id in "abc":
        tier.put(image(image_id))
    tier.get("a", None)
    tier.put(image("d"))
    assert tier.get("b", None) is None
    assert {one for one in "acd" if tier.get(one, None)} == set("acd")
    assert len(tier) == 3


def test_an_unknown_image_is_remembered_for_a_while(tier: LocalTier, clock: Clock) -> None:
    tier.put_unknown("a", None)
    with pytest.raises(KnownUnknown):
        tier.get("a", None)
    assert tier.get_stale("a", None) is None
    clock.now += 3
    assert tier.get("a", None) is None


def test_styles_are_apart_and_dropped_together(tier: LocalTier) -> None:
    tier.put(image("a"))
    tier.put(image("a", "thumb"))
    tier.drop("a", (None, "thumb"))
    assert tier.get("a", None) is None
    assert tier.get("a", "thumb") is None


def test_a_tier_of_size_zero_keeps_nothing(clock: Clock) -> None:
    tier = LocalTier(0, local_ttl=30, unknown_ttl=3, monotonic=clock)
    tier.put(image("a"))
    assert tier.get("a", None) is None
