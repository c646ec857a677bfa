"""Rules from the names of query parameters, and what they make of a picture of 400 x 200 pixels."""

import pytest

from gateway_dev.cos_emulator.image_geometry import AutoOrient, Box, Crop, Cut, Operation, Rotate, Scale, Size
from gateway_dev.cos_emulator.image_rules import Report, Rule, parse_rule
from gateway_dev.cos_emulator.refusals import Refusal

PICTURE = (400, 200)


def operation(text: str) -> Operation:
    """Return the only operation of a rule of imageMogr2 or, with its name, of imageView2."""
    parsed = parse_rule(text if text.startswith("imageView2") else f"imageMogr2/{text}")
    assert parsed is not None
    (only,) = parsed.operations
    return only


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("thumbnail/100x", (100, 50)),
        ("thumbnail/x100", (200, 100)),
        ("thumbnail/100x10", (20, 10)),
        ("thumbnail/800x", (800, 400)),
        ("thumbnail/800x300", (600, 300)),
        ("thumbnail/640x>", (400, 200)),
        ("thumbnail/320x>", (320, 160)),
        ("thumbnail/x480>", (400, 200)),
        ("thumbnail/800x100>", (200, 100)),
        ("thumbnail/800x800<", (800, 400)),
        ("thumbnail/100x100<", (400, 200)),
        ("thumbnail/!100x100r", (200, 100)),
        ("thumbnail/!800x800r", (1600, 800)),
        ("thumbnail/30x70!", (30, 70)),
        ("thumbnail/30x!", (30, 200)),
        ("thumbnail/1x", (1, 1)),
        ("thumbnail/!50p", (200, 100)),
        ("thumbnail/!25px", (100, 200)),
        ("thumbnail/!x150p", (400, 300)),
        ("thumbnail/20000@", (200, 100)),
        ("thumbnail/1000000@", (400, 200)),
        ("imageView2/2/w/40", (40, 20)),
        ("imageView2/3/w/800/h/800", (400, 200)),
        ("imageView2/3/w/100/h/100", (200, 100)),
    ],
)
def test_each_documented_scaling_makes_its_size(text: str, size: Size) -> None:
    scaling = operation(text)
    assert not isinstance(scaling, Crop | Cut | Rotate | AutoOrient)
    assert scaling.size(PICTURE) == size


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("crop/100x100", ((200, 100), (0, 0, 100, 100))),
        ("crop/100x100/gravity/north", ((200, 100), (50, 0, 150, 100))),
        ("gravity/Center/crop/100x100", ((200, 100), (50, 0, 150, 100))),
        ("crop/100x100/gravity/southeast", ((200, 100), (100, 0, 200, 100))),
        ("crop/400x100/gravity/west", ((400, 200), (0, 50, 400, 150))),
        ("crop/400x100/gravity/southwest", ((400, 200), (0, 100, 400, 200))),
        ("crop/100x/gravity/east", ((400, 200), (300, 0, 400, 200))),
        ("crop/x50/gravity/south", ((400, 200), (0, 150, 400, 200))),
        ("imageView2/1/w/100/h/100", ((200, 100), (50, 0, 150, 100))),
        ("crop/401x", None),
        ("crop/x201", None),
        ("crop/500x100", None),
    ],
)
def test_a_crop_scales_to_cover_and_cuts_at_its_gravity(text: str, plan: tuple[Size, Box] | None) -> None:
    crop = operation(text)
    assert isinstance(crop, Crop)
    if plan is None:
        with pytest.raises(Refusal, match="400 InvalidArgument"):
            crop.plan(PICTURE)
    else:
        assert crop.plan(PICTURE) == plan


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("cut/100x50x10x20", (10, 20, 110, 70)),
        ("cut/100x50x350x180", (350, 180, 400, 200)),
        ("cut/10x10x400x0", None),
        ("cut/10x10x0x200", None),
    ],
)
def test_a_cut_keeps_the_part_inside_the_picture(text: str, box: Box | None) -> None:
    cut = operation(text)
    assert isinstance(cut, Cut)
    if box is None:
        with pytest.raises(Refusal, match="400 InvalidArgument"):
            cut.box(PICTURE)
    else:
        assert cut.box(PICTURE) == box


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("imageMogr2/rotate/90", Rule((Rotate(90),))),
        ("imageMogr2/format/avif/quality/50", Rule(kind="AVIF", quality=50)),
        ("imageMogr2/format/jpg/quality/90!", Rule(kind="JPEG", quality=90)),
        ("imageMogr2/ignore-error/1/strip", Rule(strip=True, ignore_error=True)),
        ("imageMogr2/strip/ignore-error/0", Rule(strip=True)),
        ("imageMogr2/interlace/1", Rule()),
        ("watermark/2/text/5Zu+", Rule()),
        ("imageAve", Rule(report=Report.AVERAGE)),
        ("imageView2/0", Rule()),
        ("imageView2/1/w/40/h/10/format/gif/q/85", Rule((Crop(40, 10, "center"),), "GIF", 85)),
        (
            "imageMogr2/auto-orient/thumbnail/640x/strip|imageMogr2/crop/300x200/format/webp/quality/75/|imageInfo",
            Rule((AutoOrient(), Scale(640, None), Crop(300, 200)), "WEBP", 75, strip=True, report=Report.INFO),
        ),
        *((text, None) for text in ("x", "", "ci-process", "imageMogr", "response-content-type", "x|imageMogr2/x")),
    ],
)
def test_settings_are_parsed_in_their_order_and_other_parameters_are_no_rules(text: str, rule: Rule | None) -> None:
    assert parse_rule(text) == rule


INVALID_THUMBNAILS = [
    *("x", "x>", "640", "640x480r", "!640x480", "!640x480>", "!640x480!", "640x480>>", "640x480x1", "!0p", "!p"),
    *("!50p>", "0x", "x0", "0@", "@", "-5x", "1.5x", " 5x", "٣x", f"{10**9}x", "9" * 5000 + "x"),
]


@pytest.mark.parametrize(
    "text",
    [
        *(f"imageMogr2/thumbnail/{value}" for value in INVALID_THUMBNAILS),
        *(f"imageMogr2/{name}" for name in ("explode/1", "x", "thumbnail", "thumbnail/", "strip|explode/1")),
        *(f"imageMogr2/crop/{value}" for value in ("300", "x", "0x4", "3x0", "3x4x5", "3x4>", "3x4/gravity/middle")),
        *(f"imageMogr2/cut/{value}" for value in ("", "600x500", "6x5x0x", "0x5x0x0", "6x0x0x0", "6x5x-1x0")),
        *(f"imageMogr2/rotate/{value}" for value in ("361", "left", "+1", "1_0")),
        *(f"imageMogr2/{setting}" for setting in ("format/tpg", "format/WEBP", "quality/0", "quality/101")),
        *("imageMogr2/ignore-error/2", "imageInfo|imageMogr2/strip", "imageInfo/1", "imageView2"),
        *("imageView2/6/w/40", "imageView2/2/w/a"),
    ],
)
def test_an_invalid_rule_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="400 InvalidArgument"):
        parse_rule(text)
