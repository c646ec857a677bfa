"""The tier in the process."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from gateway.changes.change_log import ChangeLog, Source
from gateway.changes.heartbeat import LEASE
from gateway.presign.signer import PresignedUrl, SignedImage
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.settings import Live, UrlCacheSettings
from gateway.urls.local_tier import ImageMissing, LocalTier
from tests.heard_changes import quiet_log
from tests.signed_images import signed_image
from tests.tier import NOW, Clock, record

LONG = 3600.0  # a URL that outlives every test


def image(image_id: str, style: str | None = None) -> SignedImage:
    return signed_image(record(image_id), PresignedUrl("https://host/a", NOW, NOW + 3600), style)


@pytest.fixture
def log() -> ChangeLog:
    return quiet_log()


def made(log: ChangeLog, clock: Clock, **settings: Any) -> LocalTier:
    renditions = Live(Renditions({"thumb": "imageMogr2/thumbnail/10x"}))
    return LocalTier(Live(UrlCacheSettings(local_ttl=30, **settings)), renditions, log, unknown_ttl=3, steady=clock)


@pytest.fixture
def tier(log: ChangeLog, clock: Clock) -> LocalTier:
    tier = made(log, clock, max_size=3)
    log.add_cache(tier)
    return tier


@pytest.mark.parametrize(("usable_for", "life"), [(LONG, 30.0), (5.0, 5.0)])
def test_an_entry_is_fresh_for_its_time_and_stale_after(
    tier: LocalTier, clock: Clock, usable_for: float, life: float
) -> None:
    """Reading does not prolong it (superseriousbusiness/gotosocial#1208), nor is a URL served beyond its life.

    Entries kept within a sixteenth of a second share the time at which they become stale.
    """
    clock.now += 0.05
    tier.put(image("a"), tier.mark(), usable_for)
    while clock.now + 1 <= NOW + 0.05 + life - 1 / 16:
        clock.now += 1
        assert tier.get(ImageVariant("a")) == image("a")
    clock.now = NOW + 0.05 + life
    assert tier.get(ImageVariant("a")) is None
    assert tier.get_stale(ImageVariant("a")) == image("a")


def test_the_least_recently_used_entry_is_evicted_first(tier: LocalTier) -> None:
    for image_id in "abc":
        tier.put(image(image_id), tier.mark(), LONG)
    tier.get(ImageVariant("a"))
    tier.put(image("d"), tier.mark(), LONG)
    assert tier.get(ImageVariant("b")) is None
    assert {name for name in "acd" if tier.get(ImageVariant(name))} == set("acd")
    assert len(tier) == 3


def test_an_unknown_image_is_remembered_for_a_while(tier: LocalTier, clock: Clock) -> None:
    began = tier.now()
    clock.now += 1  # while the row was read
    tier.put_unknown(ImageVariant("a"), tier.mark(), began)
    with pytest.raises(ImageMissing):
        tier.get(ImageVariant("a"))
    assert tier.get_stale(ImageVariant("a")) is None
    clock.now += 2
    assert tier.get(ImageVariant("a")) is None
    clock.now += 3
    tier.put_unknown(ImageVariant("a"), tier.mark(), began)  # the process was paused
    assert tier.get(ImageVariant("a")) is None


def test_unknown_ids_push_no_image_out_and_are_bounded(clock: Clock) -> None:
    tier = made(quiet_log(), clock, max_size=30)
    for number in range(30):
        tier.put(image(f"known-{number}"), tier.mark(), LONG)
    for number in range(12_000):
        tier.put_unknown(ImageVariant(f"unknown-{number}"), tier.mark(), tier.now())
    assert all(tier.get(ImageVariant(f"known-{number}")) is not None for number in range(30))
    remembered = [number for number in range(12_000) if tier.inspect(ImageVariant(f"unknown-{number}")) is not None]
    assert remembered == [11_997, 11_998, 11_999]


def test_an_image_that_comes_or_goes_is_remembered_as_it_was_last(tier: LocalTier) -> None:
    tier.put_unknown(ImageVariant("a"), tier.mark(), tier.now())
    tier.put(image("a"), tier.mark(), LONG)
    assert tier.get(ImageVariant("a")) == image("a")
    tier.put_unknown(ImageVariant("a"), tier.mark(), tier.now())
    assert tier.get_stale(ImageVariant("a")) is None
    with pytest.raises(ImageMissing):
        tier.get(ImageVariant("a"))


@pytest.mark.parametrize("rendition", [None, "thumb"])
@pytest.mark.parametrize(
    "forget",
    [
        lambda tier, _: tier.drop("a"),
        lambda tier, _: tier.drop_all(),
        lambda tier, rendition: tier.drop_renditions({rendition}),
    ],
    ids=["drop", "stale", "renditions"],
)
def test_a_missing_image_is_looked_up_again_once_it_is_dropped(
    tier: LocalTier, forget: Callable[[LocalTier, str | None], None], rendition: str | None
) -> None:
    tier.put_unknown(ImageVariant("a", rendition), tier.mark(), tier.now())
    forget(tier, rendition)
    assert tier.get(ImageVariant("a", rendition)) is None


def test_a_tier_of_size_zero_stores_nothing(clock: Clock) -> None:
    tier = made(quiet_log(), clock, enabled=False)
    tier.put(image("a"), tier.mark(), LONG)
    assert tier.get(ImageVariant("a")) is None


def test_a_look_up_that_began_before_a_change_does_not_bring_the_image_back(
    tier: LocalTier, log: ChangeLog, clock: Clock
) -> None:
    mark = tier.mark()
    log.image_changed("a", clock())
    tier.put(image("a"), mark, LONG)
    tier.put_unknown(ImageVariant("a"), mark, tier.now())
    assert tier.get(ImageVariant("a")) is None
    tier.put(image("b"), mark, LONG)
    assert tier.get(ImageVariant("b")) == image("b")
    tier.put(image("a"), tier.mark(), LONG)
    assert tier.get(ImageVariant("a")) == image("a")


def test_after_missed_changes_entries_are_kept_for_stale_reads(tier: LocalTier, log: ChangeLog, clock: Clock) -> None:
    mark = tier.mark()
    tier.put(image("a"), mark, LONG)
    clock.now += 1
    log.missed(Source.ROWS, clock())
    assert tier.get(ImageVariant("a")) is None
    assert tier.get_stale(ImageVariant("a")) == image("a")
    tier.put(image("b"), mark, LONG)  # looked up before: as stale as the rest
    assert tier.get(ImageVariant("b")) is None
    assert tier.get_stale(ImageVariant("b")) == image("b")
    tier.put(image("c"), tier.mark(), LONG)
    assert tier.get(ImageVariant("c")) == image("c")


def test_a_look_up_during_which_changes_were_missed_twice_is_kept_for_stale_reads(
    tier: LocalTier, log: ChangeLog, clock: Clock
) -> None:
    """As at a start: the feeds of Postgres and of the replicas both begin."""
    mark = tier.mark()
    log.image_changed("changed", clock())
    log.missed(Source.ROWS, clock())
    log.missed(Source.REPLICAS, clock())
    for image_id in ("a", "changed"):
        tier.put(image(image_id), mark, LONG)
    assert tier.get(ImageVariant("a")) is None
    assert tier.get_stale(ImageVariant("a")) == image("a")
    assert tier.get_stale(ImageVariant("changed")) is None, "an earlier change counts on"


def test_without_heartbeats_only_an_entry_whose_row_could_not_be_read_is_fresh(clock: Clock) -> None:
    log = ChangeLog([Source.ROWS], "test", clock())
    tier = made(log, clock)
    log.listens(Source.ROWS, clock())
    heartbeat = log.heartbeats[Source.ROWS].send(clock())
    tier.put(image("a"), tier.mark(), LONG)
    assert tier.get(ImageVariant("a")) is None, "no heartbeat has come back yet"
    log.heartbeat(Source.ROWS, heartbeat)
    assert tier.get(ImageVariant("a")) is not None
    clock.now += LEASE
    assert tier.get(ImageVariant("a")) is None
    tier.put(image("a").as_unread(), tier.mark(), LONG)
    assert tier.get(ImageVariant("a")) is not None


def test_garbage_collections_look_at_no_image_that_is_kept(clock: Clock) -> None:
    """A full one would hold the event loop for a millisecond for every thousand."""
    tier = made(quiet_log(), clock, max_size=1000)
    before = len(gc.get_objects())
    for number in range(1000):
        tier.put(image(f"a{number}", "thumb"), tier.mark(), LONG)
        kept = tier.get(ImageVariant(f"a{number}", "thumb"))
        assert kept is not None
        assert kept.object_id.bucket
    assert len(gc.get_objects()) - before < 100


def test_renditions_are_dropped_without_a_look_at_each_image(tier: LocalTier) -> None:
    """The tier may have a million, and a step over all of them would hold the event loop."""

    class Asked(frozenset[str | None]):
        asked = 0

        def __contains__(self, rendition: object) -> bool:
            self.asked += 1
            return super().__contains__(rendition)

    for number in range(3):
        tier.put(image(f"a{number}", "thumb"), tier.mark(), LONG)
        tier.put_unknown(ImageVariant(f"b{number}", "thumb"), tier.mark(), tier.now())
    tier.drop_renditions(renditions := Asked({"thumb"}))
    assert renditions.asked == 0
    assert not any(tier.get_stale(ImageVariant(f"a{number}", "thumb")) for number in range(3))
    assert not any(tier.was_missing(ImageVariant(f"b{number}", "thumb")) for number in range(3))


def test_originals_and_renditions_of_an_id_are_apart_and_dropped_together(tier: LocalTier) -> None:
    for style in (None, "thumb"):
        tier.put(image("a", style), tier.mark(), LONG)
    tier.drop_renditions([None])
    assert tier.get(ImageVariant("a")) is None
    assert tier.get_stale(ImageVariant("a")) is None
    assert tier.inspect(ImageVariant("a")) is None
    assert list(tier.recent(2)) == [image("a", "thumb")]
    assert tier.get(ImageVariant("a", "thumb")) == image("a", "thumb")
    tier.put(image("a"), tier.mark(), LONG)
    tier.drop("a")
    assert tier.get(ImageVariant("a")) is None
    assert tier.get(ImageVariant("a", "thumb")) is None
