"""Variants that COS did not make are not requested again for ten minutes."""

from collections.abc import Callable

from gateway.catalog.record import ImageRecord
from gateway.errors import ImageTooLarge, OriginRejected
from gateway.objects.variant_source import RefusedVariants
from gateway.presign.signer import PresignedUrl, SignedImage
from gateway.presign.style_variants import Renditions
from gateway.settings import Live, StyleSettings
from tests.signed_images import signed_image
from tests.tier import Clock

REFUSAL = OriginRejected("COS answered 400")
STYLE = StyleSettings.model_validate({"process": "imageMogr2/thumbnail/{width}x", "widths": [160], "formats": ["avif"]})


def variant_of(key: str, image_format: str = "avif") -> SignedImage:
    """Return the variant of an image whose object has that key."""
    record = ImageRecord(key, None, True, "bucket", "region", key, "image/jpeg")
    return signed_image(record, PresignedUrl(key, 0, 0), f"card@160.{image_format}")


def refused_variants(clock: Clock, changed_at: Callable[[str], float] = lambda _: float("-inf")) -> RefusedVariants:
    """Return an empty memory; no row has ever changed."""
    return RefusedVariants(Live(Renditions({"card": STYLE})), changed_at, clock)


def test_a_refusal_is_held_for_ten_minutes() -> None:
    clock = Clock()
    refused = refused_variants(clock)
    refused.refused(variant_of("cat"), REFUSAL, clock())
    clock.now += 600 - 1 / 64
    assert refused.holds(variant_of("cat"))
    assert not refused.holds(variant_of("cat", "original")), "another variant"
    assert not refused.holds(variant_of("dog"))
    clock.now += 1 / 64
    assert not refused.holds(variant_of("cat"))


def test_a_refusal_of_a_request_up_to_the_change_of_the_row_does_not_count() -> None:
    clock = Clock()
    refused = refused_variants(clock, lambda _: clock())
    refused.refused(variant_of("cat"), REFUSAL, clock())
    assert not refused.holds(variant_of("cat"))


def test_an_original_that_is_too_large_has_no_variant() -> None:
    clock = Clock()
    refused = refused_variants(clock)
    refused.refused(variant_of("cat"), ImageTooLarge("COS answered 400"), clock())
    assert refused.holds(variant_of("cat", "original"))
    assert refused.substitute_for(variant_of("cat"), None) is None, "the original is sent"


def test_a_format_that_five_objects_lack_is_off_for_ten_minutes_unless_one_is_made() -> None:
    clock = Clock()
    refused = refused_variants(clock)
    for number in range(4):
        refused.refused(variant_of(str(number)), REFUSAL, clock())
    refused.made(variant_of("cat"))
    for number in range(5):
        assert not refused.holds(variant_of("dog"))
        refused.refused(variant_of(f"new-{number}"), REFUSAL, clock())
    clock.now += 600 - 1 / 64
    assert refused.holds(variant_of("dog"))
    clock.now += 1 / 64
    assert not refused.holds(variant_of("dog"))


def test_the_number_of_refused_variants_is_bounded_and_the_oldest_is_forgotten_first() -> None:
    clock = Clock()
    refused = refused_variants(clock)
    for key in ("cat", "dog", "cat", *map(str, range(9_999))):
        refused.refused(variant_of(key, "original"), REFUSAL, clock())
    assert not refused.holds(variant_of("dog", "original"))
    assert refused.holds(variant_of("cat", "original"))
