"""Pixels that rules make: sizes, formats, colours, orientation, metadata and animations."""

import pytest
from PIL import Image, ImageCms

from gateway_dev.cos_emulator.image_pixels import apply
from gateway_dev.cos_emulator.image_rules import parse_rule

from .pictures import corners, encoded, exif, gradient, opened, quarters

KINDS = ["AVIF", "BMP", "GIF", "JPEG", "PNG", "WEBP"]


def processed(data: bytes, rule: str) -> Image.Image:
    """Return the result of the rule on the picture; check its content type."""
    parsed = parse_rule(f"imageMogr2/{rule}")
    assert parsed is not None
    result, content_type = apply(data, parsed)
    image = opened(result)
    assert content_type == f"image/{str(image.format).lower()}"
    return image


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rule", "size"),
    [
        ("thumbnail/640x", (640, 320)),
        ("crop/50x50/gravity/center", (50, 50)),
        ("cut/30x20x10x10", (30, 20)),
        ("rotate/90", (200, 400)),
        ("thumbnail/!50p|imageMogr2/crop/20x", (20, 100)),
    ],
)
def test_a_rule_sets_the_size_and_keeps_the_format(kind: str, rule: str, size: tuple[int, int]) -> None:
    image = processed(gradient(400, 200, kind), rule)
    assert (image.size, image.format) == (size, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made_into", KINDS)
def test_each_format_becomes_each_other_with_its_colours(kind: str, made_into: str) -> None:
    image = processed(encoded(quarters(80, 40), kind), f"format/{made_into.lower()}")
    assert (image.size, image.format) == ((80, 40), made_into)
    assert corners(image) == ("red", "green", "blue", "grey")


@pytest.mark.parametrize("made_into", ["webp", "avif", "png", "gif"])
def test_transparency_is_kept_where_the_format_has_it(made_into: str) -> None:
    half = Image.new("RGBA", (80, 40), (255, 0, 0, 0))
    half.paste((0, 0, 255, 255), (40, 0, 80, 40))
    alpha = processed(encoded(half), f"thumbnail/40x/format/{made_into}").convert("RGBA").getchannel("A")
    assert (alpha.getpixel((5, 10)), alpha.getpixel((35, 10))) == (0, 255)


ORIENTED = {
    1: ("red", "green", "blue", "grey"),
    2: ("green", "red", "grey", "blue"),
    3: ("grey", "blue", "green", "red"),
    4: ("blue", "grey", "red", "green"),
    5: ("red", "blue", "green", "grey"),
    6: ("blue", "red", "grey", "green"),
    7: ("grey", "green", "blue", "red"),
    8: ("green", "grey", "red", "blue"),
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_auto_orient_turns_the_picture_upright(kind: str, orientation: int) -> None:
    data = encoded(quarters(1600, 800), kind, exif=exif(orientation))
    image = processed(data, "auto-orient/thumbnail/100x/format/png")
    assert image.size == ((100, 200) if orientation >= 5 else (100, 50))
    assert corners(image) == ORIENTED[orientation]
    assert image.getexif().get(0x0112, 1) == 1
    assert image.getexif()[0x010F] == "Camera"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("made_into", ["jpg", "png", "webp", "avif"])
def test_strip_removes_the_metadata_and_keeps_the_colour_profile(kind: str, made_into: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    secret = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>Paris</x:xmpmeta>"
    data = encoded(quarters(80, 40), kind, exif=exif(), xmp=secret, comment=b"Camera", icc_profile=profile)
    parsed = parse_rule(f"imageMogr2/thumbnail/40x/strip/format/{made_into}")
    assert parsed is not None
    stripped, _ = apply(data, parsed)
    image = opened(stripped)
    assert not image.getexif()
    assert b"Camera" not in stripped
    assert b"Paris" not in stripped
    assert image.info["icc_profile"] == profile
    kept = processed(data, f"thumbnail/40x/format/{made_into}")
    assert kept.getexif()[0x010F] == "Camera"


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_stays_one_where_the_format_has_it(kind: str) -> None:
    frames = [Image.new("RGB", (80, 40), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=[40, 80, 120], loop=3)
    for made_into in ("gif", "webp"):
        image = processed(data, f"thumbnail/40x/format/{made_into}")
        assert (image.size, image.n_frames, image.info["loop"]) == ((40, 20), 3, 3)  # type: ignore[attr-defined]
        shown = []
        for number in range(3):
            image.seek(number)
            image.load()
            shown.append((corners(image)[0], image.info["duration"]))
        assert shown == [("red", 40), ("green", 80), ("blue", 120)]
    still = processed(data, "format/jpg")
    assert getattr(still, "n_frames", 1) == 1
    assert corners(still)[0] == "red"
