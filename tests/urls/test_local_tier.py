"""The tier in the process."""

from collections.abc import Callable

import pytest

from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import ImageVariant, PresignedUrl, SignedImage
from gateway.settings import UrlCacheSettings
from gateway.urls.local_tier import ImageMissing, LocalTier
from tests.signed_images import signed_image
from tests.tier import NOW, Clock, record

LONG = 3600.0  # a URL that outlives every test


def image(image_id: str, style: str | None = None) -> SignedImage:
    return signed_image(record(image_id), PresignedUrl("https://host/a", NOW, NOW + 3600), style)


@pytest.fixture
def tier(clock: Clock) -> LocalTier:
    return LocalTier(
        UrlCacheSettings(max_size=3, local_ttl=30),
        Renditions({"thumb": "imageMogr2/thumbnail/10x"}),
        unknown_ttl=3,
        monotonic=clock,
    )


def test_an_entry_is_fresh_for_its_time_and_stale_after(tier: LocalTier, clock: Clock) -> None:
    tier.put(image("a"), tier.mark(), LONG)
    clock.now += 29
    assert tier.get(ImageVariant("a")) == image("a")
    clock.now += 1
    assert tier.get(ImageVariant("a")) is None
    assert tier.get_stale(ImageVariant("a")) == image("a")


def test_a_life_ends_within_a_sixteenth_of_a_second(clock: Clock) -> None:
    """Entries kept together share the time at which they become stale."""
    tier = LocalTier(UrlCacheSettings(max_size=3, local_ttl=2), Renditions({}), unknown_ttl=3, monotonic=clock)
    clock.now += 0.05
    tier.put(image("a"), tier.mark(), LONG)
    clock.now += 2 - 1 / 16
    assert tier.get(ImageVariant("a")) is not None
    clock.now += 1 / 16
    assert tier.get(ImageVariant("a")) is None


def test_reading_does_not_prolong_a_life(tier: LocalTier, clock: Clock) -> None:
    """superseriousbusiness/gotosocial#1208"""
    tier.put(image("a"), tier.mark(), LONG)
    for _ in range(30):
        tier.get(ImageVariant("a"))
        clock.now += 1
    assert tier.get(ImageVariant("a")) is None


def test_the_least_recently_used_entry_is_evicted_first(tier: LocalTier) -> None:
    for image_id in "abc":
        tier.put(image(image_id), tier.mark(), LONG)
    tier.get(ImageVariant("a"))
    tier.put(image("d"), tier.mark(), LONG)
    assert tier.get(ImageVariant("b")) is None
    assert {name for name in "acd" if tier.get(ImageVariant(name))} == set("acd")
    assert len(tier) == 3


def test_an_unknown_image_is_remembered_for_a_while(tier: LocalTier, clock: Clock) -> None:
    tier.put_unknown(ImageVariant("a"), tier.mark())
    with pytest.raises(ImageMissing):
        tier.get(ImageVariant("a"))
    assert tier.get_stale(ImageVariant("a")) is None
    clock.now += 3
    assert tier.get(ImageVariant("a")) is None


def test_unknown_ids_push_no_image_out_and_are_bounded(clock: Clock) -> None:
    tier = LocalTier(UrlCacheSettings(max_size=30, local_ttl=30), Renditions({}), unknown_ttl=3, monotonic=clock)
    for number in range(30):
        tier.put(image(f"known-{number}"), tier.mark(), LONG)
    for number in range(12_000):
        tier.put_unknown(ImageVariant(f"unknown-{number}"), tier.mark())
    assert all(tier.get(ImageVariant(f"known-{number}")) is not None for number in range(30))
    remembered = [number for number in range(12_000) if tier.inspect(ImageVariant(f"unknown-{number}")) is not None]
    assert remembered == [11_997, 11_998, 11_999]


def test_an_image_that_comes_or_goes_is_remembered_as_it_was_last(tier: LocalTier) -> None:
    tier.put_unknown(ImageVariant("a"), tier.mark())
    tier.put(image("a"), tier.mark(), LONG)
    assert tier.get(ImageVariant("a")) == image("a")
    tier.put_unknown(ImageVariant("a"), tier.mark())
    assert tier.get_stale(ImageVariant("a")) is None
    with pytest.raises(ImageMissing):
        tier.get(ImageVariant("a"))


@pytest.mark.parametrize("rendition", [None, "thumb"])
@pytest.mark.parametrize(
    "forget",
    [
        lambda tier, _: tier.drop("a"),
        lambda tier, _: tier.mark_all_stale(),
        lambda tier, rendition: tier.drop_renditions({rendition}),
    ],
    ids=["drop", "stale", "renditions"],
)
def test_a_missing_image_is_looked_up_again_once_it_is_dropped(
    tier: LocalTier, forget: Callable[[LocalTier, str | None], None], rendition: str | None
) -> None:
    tier.put_unknown(ImageVariant("a", rendition), tier.mark())
    forget(tier, rendition)
    assert tier.get(ImageVariant("a", rendition)) is None


def test_styles_are_stored_apart_and_dropped_together(tier: LocalTier) -> None:
    tier.put(image("a"), tier.mark(), LONG)
    tier.put(image("a", "thumb"), tier.mark(), LONG)
    tier.drop("a")
    assert tier.get(ImageVariant("a")) is None
    assert tier.get(ImageVariant("a", "thumb")) is None


def test_a_tier_of_size_zero_stores_nothing(clock: Clock) -> None:
    tier = LocalTier(UrlCacheSettings(enabled=False, local_ttl=30), Renditions({}), unknown_ttl=3, monotonic=clock)
    tier.put(image("a"), tier.mark(), LONG)
    assert tier.get(ImageVariant("a")) is None


def test_a_look_up_that_began_before_a_drop_does_not_bring_the_image_back(tier: LocalTier) -> None:
    mark = tier.mark()
    tier.drop("a")
    tier.put(image("a"), mark, LONG)
    tier.put_unknown(ImageVariant("a"), mark)
    assert tier.get(ImageVariant("a")) is None
    tier.put(image("b"), mark, LONG)
    assert tier.get(ImageVariant("b")) == image("b")
    tier.put(image("a"), tier.mark(), LONG)
    assert tier.get(ImageVariant("a")) == image("a")


def test_a_drop_is_remembered_however_many_follow(tier: LocalTier) -> None:
    mark = tier.mark()
    tier.drop("a")
    for number in range(2000):
        tier.drop(f"other-{number}")
    tier.put(image("a"), mark, LONG)
    assert tier.get(ImageVariant("a")) is None


def test_mark_all_stale_keeps_entries_for_stale_reads(tier: LocalTier, clock: Clock) -> None:
    mark = tier.mark()
    tier.put(image("a"), mark, LONG)
    clock.now += 1
    tier.mark_all_stale()
    assert tier.get(ImageVariant("a")) is None
    assert tier.get_stale(ImageVariant("a")) == image("a")
    tier.put(image("b"), mark, LONG)  # looked up before: as stale as the rest
    assert tier.get(ImageVariant("b")) is None
    assert tier.get_stale(ImageVariant("b")) == image("b")
    tier.put(image("c"), tier.mark(), LONG)
    assert tier.get(ImageVariant("c")) == image("c")


def test_a_look_up_during_which_all_became_stale_twice_is_kept_for_stale_reads(tier: LocalTier) -> None:
    """As at a start: the feeds of Postgres and of the replicas both begin."""
    mark = tier.mark()
    tier.mark_all_stale()
    tier.mark_all_stale()
    tier.put(image("a"), mark, LONG)
    assert tier.get(ImageVariant("a")) is None
    assert tier.get_stale(ImageVariant("a")) == image("a")


def test_mark_all_stale_does_not_undo_an_earlier_drop(tier: LocalTier) -> None:
    mark = tier.mark()
    tier.drop("a")
    tier.mark_all_stale()
    tier.put(image("a"), mark, LONG)
    assert tier.get_stale(ImageVariant("a")) is None


def test_a_url_is_not_served_beyond_its_life(tier: LocalTier, clock: Clock) -> None:
    tier.put(image("a"), tier.mark(), usable_for=5.0)
    assert tier.get(ImageVariant("a")) is not None
    clock.now += 5
    assert tier.get(ImageVariant("a")) is None


def drop_others(tier: LocalTier, number: int) -> None:
    for index in range(number):
        tier.drop(f"other-{index}")


@pytest.mark.parametrize(("max_size", "tracked"), [(3, 1000), (1500, 1500)])
def test_a_look_up_is_kept_while_every_drop_since_its_mark_is_tracked(
    clock: Clock, max_size: int, tracked: int
) -> None:
    tier = LocalTier(UrlCacheSettings(max_size=max_size, local_ttl=30), Renditions({}), unknown_ttl=3, monotonic=clock)
    mark = tier.mark()
    drop_others(tier, tracked)
    tier.put(image("a"), mark, LONG)
    assert tier.get(ImageVariant("a")) == image("a")
    tier.drop("one-more")
    tier.put(image("b"), mark, LONG)
    assert tier.get(ImageVariant("b")) is None, "the first drop is untracked: it may have been of this image"


def test_the_oldest_drop_becomes_untracked_first(tier: LocalTier) -> None:
    drop_others(tier, 1)
    mark = tier.mark()
    drop_others(tier, 1001)  # the first of them drops the same image again
    tier.put(image("a"), mark, LONG)
    assert tier.get(ImageVariant("a")) is None
    tier.put(image("a"), mark + 1, LONG)
    assert tier.get(ImageVariant("a")) == image("a")


def test_an_image_that_is_dropped_again_is_tracked_by_its_last_drop(tier: LocalTier) -> None:
    tier.drop("a")
    drop_others(tier, 999)
    mark = tier.mark()
    tier.drop("a")
    tier.drop("one-more")  # "other-0", dropped second, becomes untracked
    tier.put(image("a"), mark, LONG)
    assert tier.get(ImageVariant("a")) is None
    tier.put(image("b"), 2, LONG)
    assert tier.get(ImageVariant("b")) == image("b")


def test_originals_and_renditions_of_one_id_are_apart(tier: LocalTier) -> None:
    for style in (None, "thumb"):
        tier.put(image("a", style), tier.mark(), LONG)
    tier.drop_renditions([None])
    assert tier.get(ImageVariant("a")) is None
    assert tier.get(ImageVariant("a", "thumb")) == image("a", "thumb")
