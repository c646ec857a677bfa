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


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
@pytest.mark.parametrize("made_into", ["avif", "bmp", "gif", "jpg", "png", "webp"])
def test_every_picture_mode_becomes_every_format_in_its_brightness(mode: str, made_into: str) -> None:
    image = Image.new("L", (8, 8), 255).convert(mode) if mode != "I;16" else Image.new(mode, (8, 8), 65535)
    shown = processed(encoded(image, "JPEG" if mode == "CMYK" else "PNG"), f"format/{made_into}")
    assert shown.convert("L").getextrema() == (255, 255)
    if mode == "I;16":
        half = processed(encoded(Image.new(mode, (8, 8), 32768)), f"format/{made_into}").convert("L")
        assert abs(half.tobytes()[0] - 128) <= 2


def test_the_quality_sets_the_number_of_bytes() -> None:
    noise = encoded(Image.effect_noise((200, 200), 80).convert("RGB"))
    for kind in ("jpg", "webp", "avif"):
        low, high = (parse_rule(f"imageMogr2/format/{kind}/quality/{quality}") for quality in (10, 90))
        assert low is not None
        assert high is not None
        assert len(apply(noise, low)[0]) < len(apply(noise, high)[0]) / 2


@pytest.mark.parametrize("made_into", ["webp", "avif", "png", "gif"])
def test_transparency_is_kept_where_the_format_has_it(made_into: str) -> None:
    half = Image.new("RGBA", (80, 40), (255, 0, 0, 0))
    half.paste((0, 0, 255, 255), (40, 0, 80, 40))
    alpha = processed(encoded(half), f"thumbnail/40x/format/{made_into}").convert("RGBA").getchannel("A")
    assert (alpha.getpixel((5, 10)), alpha.getpixel((35, 10))) == (0, 255)


def test_a_transparent_picture_becomes_white_where_the_format_has_no_transparency() -> None:
    image = processed(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 0))), "format/jpg")
    assert image.getpixel((4, 4)) == (255, 255, 255)


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_neither_turned_nor_stripped_unless_the_rule_says_so(kind: str) -> None:
    image = processed(encoded(quarters(80, 40), kind, exif=exif(6)), "thumbnail/40x")
    assert (image.size, corners(image)) == ((40, 20), ORIENTED[1])
    assert (image.getexif()[0x0112], image.getexif()[0x010F]) == (6, "Camera")


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


@pytest.mark.parametrize("made_into", ["gif", "webp"])
def test_each_frame_of_an_animation_keeps_its_own_transparency(made_into: str) -> None:
    frames = []
    for left in (0, 40):
        frame = Image.new("RGBA", (80, 40), (0, 0, 0, 0))
        frame.paste((0, 0, 255, 255), (left, 0, left + 40, 40))
        frames.append(frame)
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50, disposal=2)
    image = processed(data, f"thumbnail/40x/format/{made_into}")
    alphas = []
    for number in range(2):
        image.seek(number)
        alpha = image.convert("RGBA").getchannel("A")
        alphas.append((alpha.getpixel((10, 10)), alpha.getpixel((30, 10))))
    assert alphas == [(255, 0), (0, 255)]


def test_a_camera_picture_with_a_second_one_inside_is_a_jpeg() -> None:
    data = encoded(quarters(80, 40), "MPO", save_all=True, append_images=[quarters(8, 4)])
    assert opened(data).format == "MPO"
    image = processed(data, "thumbnail/40x")
    assert (image.format, image.size, corners(image)) == ("JPEG", (40, 20), ORIENTED[1])
    assert getattr(processed(data, "format/webp"), "n_frames", 1) == 1


@pytest.mark.parametrize("rule", ["auto-orient/thumbnail/100x", "crop/100x100", "thumbnail/!5p", "thumbnail/9000@"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_photo_is_decoded_small_and_has_the_same_size_and_colours(rule: str, orientation: int) -> None:
    picture = quarters(2001, 1003)
    small = processed(encoded(picture, "JPEG", exif=exif(orientation), quality=95), rule)
    exact = processed(encoded(picture, "PNG", exif=exif(orientation)), rule)
    assert (small.size, corners(small)) == (exact.size, corners(exact))
