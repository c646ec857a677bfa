"""The shared cache, in a real Redis."""

from dataclasses import replace

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.presign.signer import SignedImage
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.redis_entries.url_entries import EntryCodec, EntryLookUp, EntryMac, Made, UrlEntries
from gateway.settings import Live, StyleSettings
from tests.signed_images import signed_image
from tests.tier import NOW, Tier, also_in_a_cluster, make_tier, record
from tests.url_settings import lifetime_of

KEY = "image:url:a"
A = ImageVariant("a")
NOTHING = EntryLookUp()


def signed(
    tier: Tier, style: str | None = None, *, at: int = NOW, image_id: str = "a", public: bool = True
) -> SignedImage:
    tier.clock.now = at
    row = record(image_id, f"{image_id}.png", public=public)
    return tier.signer.sign_image(row, style, read_at=at, fresh=True)


async def found(cache: UrlEntries) -> EntryLookUp:
    return (await cache.find([A]))[A]


def holding(image: SignedImage) -> EntryLookUp:
    return EntryLookUp(image, expires_at=image.presigned.expires_at)


def is_foreign(there: EntryLookUp) -> bool:
    return there.foreign is not None and (there.image, there.tombstone) == (None, b"")


async def put(tier: Tier, *images: SignedImage, there: EntryLookUp = NOTHING) -> dict[ImageVariant, bool]:
    """Return for each image whether it was kept."""
    lifetime = lifetime_of(3600, 3500, 3550)
    entries = replace(tier.cache, lifetime=lifetime, renews=False)
    await entries.keep([Made(image, there) for image in images])
    by_variant = {ImageVariant(image.record.image_id, image.rendition): image for image in images}
    kept = await entries.find(list(by_variant))
    return {variant: kept[variant].image == image for variant, image in by_variant.items()}


async def test_an_entry_is_read_until_it_expires(tier: Tier, redis_client: "redis.Redis") -> None:
    image, thumb = signed(tier), signed(tier, "thumb")
    kept = await put(tier, image, thumb)
    assert kept == {A: True, ImageVariant("a", "thumb"): True}
    assert await tier.cache.find([A, ImageVariant("a", "thumb"), ImageVariant("b")]) == {
        A: holding(image),
        ImageVariant("a", "thumb"): holding(thumb),
        ImageVariant("b"): EntryLookUp(),
    }
    assert 50 < redis_client.ttl(KEY) <= 100
    assert redis_client.exists("image:url:a:thumb")


@pytest.mark.parametrize("rendition", ["thumb", "card@320.webp"])
async def test_an_image_whose_id_spells_a_variant_of_another_shares_nothing_with_it(
    tier: Tier, redis_client: "redis.Redis", rendition: str
) -> None:
    sized = Renditions({"thumb": "imageMogr2/thumbnail/10x", "card": StyleSettings(widths=(320,), formats=("webp",))})
    tier = make_tier(tier.shards, tier.clock, renditions=Live(sized))
    original = signed(tier, image_id=f"pub:{rendition}")
    variant = signed(tier, rendition, image_id="pub")
    both = {ImageVariant(f"pub:{rendition}"): holding(original), ImageVariant("pub", rendition): holding(variant)}
    assert await put(tier, original, variant) == dict.fromkeys(both, True)
    assert await tier.cache.find(list(both)) == both
    await tier.cache.drop([f"pub:{rendition}"])
    assert (await tier.cache.find(list(both)))[ImageVariant("pub", rendition)] == holding(variant)
    assert redis_client.exists(f"image:url:pub:{rendition}"), "the key of the variant stays as it was"


@pytest.mark.parametrize("image_id", ["a", "a.b", "a:B", "a:b.png", "a@2x", "a:", "a:card@320.gif"])
async def test_an_image_whose_id_spells_no_variant_has_the_key_of_its_id(
    tier: Tier, redis_client: "redis.Redis", image_id: str
) -> None:
    await put(tier, signed(tier, image_id=image_id))
    assert redis_client.exists(f"image:url:{image_id}")


@also_in_a_cluster
async def test_i4_the_expiry_of_a_url_never_decreases(tier: Tier) -> None:
    earlier, later = signed(tier, at=NOW), signed(tier, at=NOW + 100)
    await put(tier, later)
    assert await put(tier, earlier) == {A: False}
    assert (await found(tier.cache)).image == later


@pytest.mark.parametrize(("ahead", "is_replaced"), [(60, False), (61, True), (3600, True)])
async def test_a_url_whose_signature_is_not_valid_yet_is_replaced(tier: Tier, ahead: int, *, is_replaced: bool) -> None:
    early, image = signed(tier, at=NOW + ahead), signed(tier, at=NOW)
    await put(tier, early)
    assert await put(tier, image) == {A: is_replaced}


@also_in_a_cluster
async def test_i6_a_dropped_entry_is_not_written_after_an_earlier_read(tier: Tier) -> None:
    before = await found(tier.cache)
    await tier.cache.drop(["a"])
    image = signed(tier)
    assert await put(tier, image, there=before) == {A: False}
    after = await found(tier.cache)
    assert after.image is None
    assert after.tombstone
    assert await put(tier, image, there=after) == {A: True}
    assert (await found(tier.cache)).image == image


@also_in_a_cluster
async def test_a_second_drop_invalidates_reads_since_the_first(tier: Tier) -> None:
    await tier.cache.drop(["a"])
    first = await found(tier.cache)
    await tier.cache.drop(["a"])
    assert await put(tier, signed(tier), there=first) == {A: False}


@also_in_a_cluster
@pytest.mark.parametrize("later", [0, 600], ids=["a look-up", "a renewal"])
async def test_i6_a_row_read_before_a_drop_does_not_replace_what_was_written_after_it(tier: Tier, later: int) -> None:
    before = await found(tier.cache)
    await tier.cache.drop(["a"])
    after = await found(tier.cache)
    made_private = signed(tier, public=False)
    assert await put(tier, made_private, there=after) == {A: True}
    still_public = signed(tier, at=NOW + later)
    assert await put(tier, still_public, there=before) == {A: False}
    kept = await found(tier.cache)
    assert kept.image == made_private
    # Entries read since then may be renewed, again and again.
    assert (await tier.cache.read_headers([A]))[A].tombstone == after.tombstone
    for minutes in (20, 30):
        renewed = signed(tier, at=NOW + 60 * minutes, public=False)
        kept = await found(tier.cache)
        assert await put(tier, renewed, there=kept) == {A: True}


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(garbage=st.binary(min_size=1).filter(lambda data: not data.startswith(b"-")))
async def test_garbage_is_foreign_and_is_replaced(tier: Tier, redis_client: "redis.Redis", garbage: bytes) -> None:
    redis_client.set(KEY, garbage, ex=100)
    there = await found(tier.cache)
    assert is_foreign(there)
    assert await put(tier, signed(tier), there=there) == {A: True}


async def test_garbage_hides_no_other_entry(tier: Tier, redis_client: "redis.Redis") -> None:
    image = signed(tier)
    await put(tier, image)
    redis_client.set("image:url:b", b"garbage", ex=60)
    both = await tier.cache.find([A, ImageVariant("b")])
    assert both[A] == holding(image)
    assert is_foreign(both[ImageVariant("b")])


@pytest.mark.parametrize("end", [NOW + 3660, 99999999999], ids=["the latest of a URL", "of no URL"])
async def test_a_forged_expiry_does_not_lock_the_entry(tier: Tier, redis_client: "redis.Redis", end: int) -> None:
    redis_client.set(KEY, f"{end} {{}}", ex=100)
    image = signed(tier)
    there = await found(tier.cache)
    assert await put(tier, image, there=there) == {A: True}


async def test_an_entry_header_has_the_expiry_and_the_tombstone(tier: Tier, redis_client: "redis.Redis") -> None:
    await put(tier, signed(tier))
    await tier.cache.drop(["b"])
    redis_client.set("image:url:c", b"99999999999999 x", ex=9)
    redis_client.set("image:url:d", b"garbage", ex=9)
    seen = await tier.cache.read_headers([ImageVariant(name) for name in "abcde"])
    assert seen[A] == EntryLookUp(expires_at=NOW + 3600)
    assert seen[ImageVariant("b")].expires_at is None
    assert seen[ImageVariant("b")].tombstone.startswith(b"-")
    assert [seen[ImageVariant(name)] for name in "cde"] == [EntryLookUp()] * 3


@also_in_a_cluster
async def test_a_foreign_entry_leaves_the_tombstone_that_it_replaced(tier: Tier) -> None:
    """As of a replica of another release: a row that was read before the drop must not come back."""
    before = await found(tier.cache)
    await tier.cache.drop(["a"])
    after = await found(tier.cache)
    other = replace(tier.cache, codec=EntryCodec(EntryMac(Live(("another secret", None))), tier.signer))
    made_private = signed(tier, public=False)
    await other.keep([Made(made_private, after)])
    assert (await found(other)).image == made_private
    there = await found(tier.cache)
    assert (there.image, there.tombstone) == (None, after.tombstone)
    assert await put(tier, signed(tier), there=before) == {A: False}
    assert await put(tier, made_private, there=there) == {A: True}
    await tier.cache.drop(["a"])
    assert await put(tier, made_private, there=there) == {A: False}, "it has been dropped again since"


async def test_with_signed_links_an_entry_without_a_count_of_killed_links_is_a_miss(tier: Tier) -> None:
    with_links = replace(tier.cache, with_links=True)
    image = signed(tier)
    await put(tier, image)
    assert await found(tier.cache) == holding(image)
    assert is_foreign(await found(with_links))
    for killed in (0, 1):
        image_with_count = signed_image(record("a", links_killed=killed), image.presigned, None, NOW)
        await put(tier, image_with_count)
        for cache in (with_links, tier.cache):
            assert await found(cache) == holding(image_with_count)
